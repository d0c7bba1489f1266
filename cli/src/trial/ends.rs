//! A request and a response at the ends of the chain: as the gateway shows them to filters, and as backend and client get them.

use std::cell::RefCell;
use std::net::IpAddr;

use portcullis_policy::{Origin, parse_peer};

use super::passing::{Head, Lines, Passing};
use super::record::{Header, Sent};
use crate::requests::Asked;

/// What the gateway does before the first filter sees a request.
pub(super) struct Around {
    pub(super) is_kong: bool,
    /// Of Envoy: whether a client's address is that of its connection.
    pub(super) knows_the_peer: Option<bool>,
    /// Who sends requests that do not say who.
    pub(super) client: IpAddr,
}

/// A request as the gateway shows it to the first filter.
pub(super) fn shown_first(asked: &Asked, number: usize, gateway: &Around) -> Passing {
    let client = asked.client.unwrap_or(gateway.client);
    let mut sent = asked.clone();
    let mut peer = client;
    if gateway.is_kong {
        sent.headers
            .push(("host".to_owned(), sent.authority.clone()));
    } else {
        sent.add_default("x-request-id", &format!("try-{number}"));
        if gateway.knows_the_peer.is_some() {
            sent.add_default("x-forwarded-proto", "http");
        }
        let forwarded = sent
            .headers
            .iter()
            .rposition(|(name, _)| name == "x-forwarded-for");
        let forwarded = forwarded.and_then(|at| sent.headers.get_mut(at));
        match (gateway.knows_the_peer, forwarded) {
            (Some(true), Some((_, value))) => *value = format!("{value},{client}"),
            (Some(true), None) => sent.add("x-forwarded-for", &client.to_string()),
            // Envoy believes what it is told.
            (Some(false), Some((_, value))) => {
                let last = value.rsplit(',').next().unwrap_or_default();
                peer = parse_peer(last.trim()).unwrap_or(client);
            }
            (Some(false) | None, _) => {}
        }
    }
    if !sent.body.is_empty() {
        let length = sent.body.len().to_string();
        sent.headers.retain(|(name, _)| name != "content-length");
        sent.headers.push(("content-length".to_owned(), length));
    }
    let pseudo = [
        (":method", sent.method.as_str()),
        (":scheme", "http"),
        (":authority", sent.authority.as_str()),
        (":path", sent.target.as_str()),
    ];
    let pseudo = pseudo.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
    let headers = sent.headers.iter();
    let headers = headers.map(|(name, value)| (name.clone(), value.as_bytes().to_vec()));
    Passing {
        headers: RefCell::new(pseudo.into_iter().chain(headers).collect()),
        body: RefCell::new(sent.body.clone()),
        peer,
        route: asked.route.clone(),
        changed: RefCell::default(),
        reply: RefCell::default(),
        response: RefCell::new(Head::new(0, Vec::new(), Origin::Lost)),
        response_body: RefCell::default(),
    }
}

/// A request as the backend gets it. `sent`: its headers as they came.
pub(super) fn sent_on(passing: &Passing, sent: &Lines, asked: &Asked) -> Sent {
    let headers = passing.headers.borrow();
    let changed = passing.changed.take();
    let pseudo = |wanted: &str| {
        let found = headers.iter().find(|(name, _)| name == wanted);
        found.map_or_else(String::new, |(_, value)| {
            String::from_utf8_lossy(value).into_owned()
        })
    };
    let authority = pseudo(":authority");
    let body = passing.body.borrow().clone();
    let mut removed: Vec<String> = Vec::new();
    for (name, _) in sent {
        let is_there = headers.iter().any(|(known, _)| known == name);
        if !is_there && !removed.contains(name) {
            removed.push(name.clone());
        }
    }
    let mut all = shown(&headers, |name| changed.iter().any(|set| set == name));
    // Envoy's filters know it by another name.
    if !all.iter().any(|header| header.name == "host") {
        let host = Header {
            name: "host".to_owned(),
            value: authority,
            is_set: false,
        };
        all.insert(0, host);
    }
    Sent {
        method: pseudo(":method"),
        target: pseudo(":path"),
        headers: all,
        removed,
        is_body_changed: body != asked.body,
        body,
    }
}

/// Header lines, without what is none.
pub(super) fn shown(lines: &Lines, is_set: impl Fn(&str) -> bool) -> Vec<Header> {
    let lines = lines.iter().filter(|(name, _)| !name.starts_with(':'));
    let lines = lines.map(|(name, value)| Header {
        value: String::from_utf8_lossy(value).into_owned(),
        is_set: is_set(name),
        name: name.clone(),
    });
    lines.collect()
}
