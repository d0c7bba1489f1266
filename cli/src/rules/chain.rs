//! What becomes of a filter among the others of its chain.

use std::collections::BTreeSet;

use super::{Around, is_at_work, is_of_kong};
use crate::chain::Kind;
use crate::configured::Configured;
use crate::document::{Node, Place};
use crate::finding::{Code, Finding};

/// A filter that requests do not come to.
pub(crate) fn not_asked(configured: &Configured) -> Option<Finding> {
    let (chain, at) = (configured.chain.as_deref()?, configured.link?);
    let own = chain.links.get(at)?;
    let name = configured.filter.name;
    if let Some(off) = own.off {
        let message = format!("{name} is switched off: requests pass as if it were not there");
        return Some(Finding::new(Code::NotAsked, off, message));
    }
    let before = chain.links.get(..at)?;
    let guards = is_at_work(configured, "jwt_auth") || is_at_work(configured, "rate_limit");
    let ends = |kind: Kind| kind == Kind::Terminal || (kind == Kind::Cache && guards);
    let first = before.iter().find(|link| ends(link.kind))?;
    let why = match first.kind {
        Kind::Terminal => {
            "sends all requests on, and Envoy refuses a chain with anything behind it"
        }
        _ => "answers out of the cache what it has there, whoever asks for it and however often",
    };
    Some(Finding {
        beside: Some((first.place, "this one comes first".to_owned())),
        ..Finding::new(
            Code::NotAsked,
            own.place,
            format!("not all requests come to {name}: the filter before it {why}"),
        )
    })
}

/// The four filters in one chain.
pub(crate) fn separate(configured: &Configured, around: Around<'_>) -> Option<Finding> {
    let link = configured.link?;
    let all: Vec<&Configured> = around.in_chain(configured).collect();
    let is_first = all.iter().all(|other| other.link >= Some(link));
    let kinds: BTreeSet<&str> = all.iter().map(|other| other.filter.name).collect();
    let four = ["jwt_auth", "rate_limit", "circuit_breaker", "service_token"];
    let are_there = four.iter().all(|kind| kinds.contains(kind));
    (is_first && are_there).then(|| {
        Finding::new(
            Code::Separate,
            place(configured),
            "`edge` is these four filters in one: it costs a third less, and limits know there who calls".to_owned(),
        )
    })
}

/// Refusals that a page of another origin can't read.
pub(crate) fn hidden_from_pages(configured: &Configured, around: Around<'_>) -> Vec<Finding> {
    let (Some(chain), Some(at)) = (configured.chain.as_deref(), configured.link) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    // The first that is asked.
    let mut links = chain.links.iter().enumerate();
    let cors = links.find(|(_, link)| link.kind == Kind::Cors && link.off.is_none());
    let cors = cors.filter(|(index, _)| *index > at).map(|(_, link)| link);
    let mut others = around.in_chain(configured).filter(|other| guards(other));
    let is_first = guards(configured) && others.all(|other| other.link >= Some(at));
    if let Some(cors) = cors.filter(|_| is_first && !is_of_kong(configured)) {
        findings.push(Finding {
            beside: Some((cors.place, "it comes too late for them".to_owned())),
            ..Finding::new(
                Code::HiddenFromPages,
                place(configured),
                "a page can't read refusals: `cors` stands behind this filter, and writes nothing into answers to requests that it has \
                 not seen"
                    .to_owned(),
            )
        });
    }
    findings.extend(chain.cors.iter().filter_map(|cors| {
        let lacking = lacking(configured, &cors.exposed)?;
        Some(Finding::new(
            Code::HiddenFromPages,
            cors.place,
            format!("a page can't read {lacking}, which {} writes; expected it among the exposed headers", configured.filter.name),
        ))
    }));
    findings
}

/// Where a filter is in its chain.
fn place(configured: &Configured) -> Place {
    let chain = configured.chain.as_deref();
    let own = chain.and_then(|chain| chain.links.get(configured.link?));
    own.map_or(configured.place, |own| own.place)
}

/// Whether it refuses what a page may well send.
fn guards(configured: &Configured) -> bool {
    let mut parts = ["jwt_auth", "rate_limit", "circuit_breaker"].iter();
    parts.any(|part| is_at_work(configured, part))
}

/// What refusals say, and a page may not read.
fn lacking(configured: &Configured, exposed: &[String]) -> Option<&'static str> {
    let limits = is_at_work(configured, "rate_limit");
    let is_told = limits || is_at_work(configured, "circuit_breaker");
    let has = |name: &str| {
        exposed
            .iter()
            .any(|exposed| exposed == name || exposed == "*")
    };
    if is_told && !has("retry-after") {
        return Some("`Retry-After`");
    }
    let headers = configured
        .part("rate_limit")
        .and_then(|part| part.get("headers"));
    let (ietf, legacy) = (has("ratelimit"), has("x-ratelimit-remaining"));
    match headers.and_then(Node::text).unwrap_or("both") {
        _ if !limits => None,
        "ietf" if !ietf => Some("`RateLimit`"),
        "legacy" if !legacy => Some("`X-RateLimit-Remaining`"),
        // One of them is enough.
        "both" if !ietf && !legacy => Some("`RateLimit`"),
        _ => None,
    }
}
