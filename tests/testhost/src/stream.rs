//! What the host knows about one request while its context lives.

use std::collections::BTreeMap;

use crate::Dialect;
use crate::calls::Calls;
use crate::headers::Headers;
use crate::local_reply::LocalReply;
use crate::request::Request;
use crate::response::{Response, ResponseOrigin};

/// Kong's `:authority` is not the client's: it is the server's own name and port.
pub(crate) const KONG_AUTHORITY: &str = "kong:8000";
/// The address of the upstream that requests are sent to.
pub(crate) const UPSTREAM_ADDRESS: &str = "10.9.0.1:8080";

// Bits of Envoy's `response.flags`: bit n is the n-th of `CoreResponseFlag` in envoy/stream_info/stream_info.h, an
// order that does not change (new flags are added at its end).
/// UpstreamRequestTimeout.
pub(crate) const FLAG_UPSTREAM_TIMEOUT: i64 = 1 << 2;
/// UpstreamConnectionFailure.
pub(crate) const FLAG_CONNECT_FAILURE: i64 = 1 << 5;
/// UpstreamConnectionTermination.
pub(crate) const FLAG_UPSTREAM_TERMINATION: i64 = 1 << 6;
/// DownstreamConnectionTermination.
pub(crate) const FLAG_DOWNSTREAM_TERMINATION: i64 = 1 << 14;

/// One request.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) peer: String,
    pub(crate) request: Headers,
    /// Envoy shows the request's headers during the request callback, and longer if that stopped the iteration.
    pub(crate) request_open: bool,
    pub(crate) response: Headers,
    /// Envoy shows the response's headers during the response callback, and longer if that stopped the iteration.
    pub(crate) response_open: bool,
    /// There is a response: the request's headers can be changed no more.
    pub(crate) response_started: bool,
    pub(crate) facts: Facts,
    pub(crate) local_reply: Option<LocalReply>,
    /// The filter said that the request goes on.
    pub(crate) resumed: bool,
    /// What answers to its calls cost, for the exchange to collect.
    pub(crate) owed: Calls,
    /// The part of the request's body that is at hand, and what was kept of it before.
    pub(crate) request_body: Vec<u8>,
    /// The part of the response's body that is at hand.
    pub(crate) response_body: Vec<u8>,
    /// The request target as the client sent it.
    pub(crate) target: String,
    /// The version of HTTP that the client speaks.
    pub(crate) protocol: &'static str,
    /// Properties set by the test or by the filter.
    pub(crate) properties: BTreeMap<String, Vec<u8>>,
}

/// How the request was answered, for the properties.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) status: Option<u32>,
    /// Envoy: `response.code_details`.
    pub(crate) details: Option<String>,
    /// Envoy: `response.trailers`.
    pub(crate) trailers: Vec<(String, Vec<u8>)>,
    /// Envoy: `response.flags`.
    pub(crate) flags: i64,
    /// Envoy: `upstream.address`.
    pub(crate) upstream: Option<&'static str>,
    /// nginx: `upstream_status`.
    pub(crate) service_status: Option<u32>,
}

impl Stream {
    /// The request as the gateway shows it to a filter.
    pub(crate) fn new(dialect: Dialect, request: &Request) -> Stream {
        let mut headers = Headers::new(dialect);
        let authority = match dialect {
            Dialect::Envoy => request.authority.as_str(),
            Dialect::Kong => KONG_AUTHORITY,
        };
        headers.add(":method", request.method.as_bytes());
        match dialect {
            Dialect::Envoy => headers.add(":path", request.path.as_bytes()),
            Dialect::Kong => headers.add(":path", nginx_uri(&request.path).as_bytes()),
        }
        headers.add(":scheme", request.scheme.as_bytes());
        headers.add(":authority", authority.as_bytes());
        if dialect == Dialect::Kong {
            headers.add("host", request.authority.as_bytes());
        }
        for (name, value) in &request.headers {
            headers.add(name, value);
        }
        Stream {
            request: headers,
            properties: request.properties.iter().cloned().collect(),
            target: request.path.clone(),
            protocol: request.protocol,
            ..Stream::unseen(dialect, &request.peer)
        }
    }

    /// A stream of which the filter sees no request.
    pub(crate) fn unseen(dialect: Dialect, peer: &str) -> Stream {
        Stream {
            peer: peer.to_owned(),
            request: Headers::new(dialect),
            request_open: false,
            response: Headers::new(dialect),
            response_open: false,
            response_started: false,
            facts: Facts::default(),
            local_reply: None,
            resumed: false,
            owed: Calls::default(),
            request_body: Vec::new(),
            response_body: Vec::new(),
            properties: BTreeMap::new(),
            target: String::new(),
            protocol: "HTTP/1.1",
        }
    }

    pub(crate) fn start_response(
        &mut self,
        status: u32,
        headers: &[(String, Vec<u8>)],
        facts: Facts,
    ) {
        self.response.add(":status", status.to_string().as_bytes());
        for (name, value) in headers {
            self.response.add(name, value);
        }
        self.response_started = true;
        self.response_open = true;
        self.facts = facts;
    }
}

/// What nginx makes of a request target, and Kong shows as `:path`: percent-decoded once, then slashes
/// merged and dots resolved; the query as it was. What goes to the upstream is made of the original.
fn nginx_uri(target: &str) -> String {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, after @ ..] = rest {
        let encoded = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let decoded = encoded.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (first, decoded) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    let decoded = String::from_utf8_lossy(&bytes).into_owned();
    let mut segments: Vec<&str> = Vec::new();
    for segment in decoded.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    let slash = if decoded.ends_with('/') && !segments.is_empty() {
        "/"
    } else {
        ""
    };
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("/{}{slash}{query}", segments.join("/"))
}

impl Facts {
    /// What goes with a response that the filter is shown.
    pub(crate) fn of(response: &Response) -> Facts {
        let status = Some(response.status);
        let facts = match response.origin {
            ResponseOrigin::Upstream => Facts {
                details: Some("via_upstream".to_owned()),
                upstream: Some(UPSTREAM_ADDRESS),
                service_status: status,
                ..Facts::default()
            },
            ResponseOrigin::OtherFilter => Facts::local(response.status, ""),
            ResponseOrigin::ConnectFailure => Facts {
                details: Some(
                    "upstream_reset_before_response_started{connection_failure}".to_owned(),
                ),
                flags: FLAG_CONNECT_FAILURE,
                upstream: Some(UPSTREAM_ADDRESS),
                ..Facts::default()
            },
            ResponseOrigin::Timeout => Facts {
                details: Some("response_timeout".to_owned()),
                flags: FLAG_UPSTREAM_TIMEOUT,
                upstream: Some(UPSTREAM_ADDRESS),
                ..Facts::default()
            },
        };
        Facts {
            status,
            details: response.details.clone().or(facts.details),
            flags: response.flags.unwrap_or(facts.flags),
            trailers: response.trailers.clone(),
            ..facts
        }
    }

    /// What goes with a local reply. Envoy puts underscores in place of white space in the details.
    pub(crate) fn local(status: u32, details: &str) -> Facts {
        Facts {
            status: Some(status),
            details: Some(
                details
                    .split_ascii_whitespace()
                    .collect::<Vec<_>>()
                    .join("_"),
            ),
            ..Facts::default()
        }
    }
}
