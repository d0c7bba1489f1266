//! What may not cost more for being more: limits, rules, breakers, tokens.

use serde_json::json;

use super::{Inputs, Part, Subject};
use crate::config::bootstrap::GATEWAY;
use crate::config::envoys::{self, Tokens};
use crate::config::ours::{self, ENDLESS, LimitHeaders};
use crate::scene::SEARCH_PATH;
use crate::traffic::Ask;

const BASE: &str = "scale_bare";

/// Bytes of a token: of one with little in it, and of one with a directory's groups.
const TOKENS: [usize; 2] = [300, 6_000];

pub(super) fn part(inputs: &Inputs<'_>) -> Part {
    let mut part = Part::new(
        "scale",
        "Limits, rules, breakers, and the size of tokens",
        "the bare gateway",
    );
    part.chain(
        inputs,
        Subject::new(BASE, "a bare gateway", inputs.ask()),
        &[],
    );
    limits(&mut part, inputs);
    let added = |name: &str, shown: &str| Subject::new(name, shown, inputs.ask()).over(BASE);
    for (name, shown, others) in [
        ("rules_1", "`jwt_auth`, 1 rule", 0),
        (
            "rules_200",
            "`jwt_auth`, 200 rules, of which the last holds",
            199,
        ),
    ] {
        let filter = inputs.wasm("jwt_auth", &ours::jwt_auth(others));
        let subject = added(name, shown);
        part.chain(inputs, growing(subject, "rules_1"), &[filter]);
    }
    for (name, shown, others) in [
        ("breakers_1", "`circuit_breaker`, 1 breaker", 0),
        (
            "breakers_64",
            "`circuit_breaker`, 64 breakers, of which the last guards",
            63,
        ),
    ] {
        let filter = inputs.wasm("circuit_breaker", &ours::circuit_breaker(others));
        let subject = added(name, shown);
        part.chain(inputs, growing(subject, "breakers_1"), &[filter]);
    }
    tokens(&mut part, inputs);
    part
}

fn limits(part: &mut Part, inputs: &Inputs<'_>) {
    let limit = |n: u32| ours::limit(&format!("limit_{n}"), ENDLESS);
    let elsewhere = |n: u32| {
        let mut limit = limit(n);
        limit["match"] = json!({ "paths": [{ "prefix": format!("/other/{n}") }] });
        limit
    };
    let last = |others: u32| (0..others).map(elsewhere).chain([limit(others)]).collect();
    let lists: [(&str, &str, Vec<_>); 3] = [
        ("limits_1", "`rate_limit`, 1 limit", last(0)),
        (
            "limits_32",
            "`rate_limit`, 32 limits, of which the last counts",
            last(31),
        ),
        (
            "limits_all",
            "`rate_limit`, 32 limits, all of which count",
            (0..32).map(limit).collect(),
        ),
    ];
    for (name, shown, list) in lists {
        let filter = inputs.wasm("rate_limit", &ours::limits(&list, LimitHeaders::None));
        let subject = Subject::new(name, shown, inputs.ask()).over(BASE);
        part.chain(inputs, growing(subject, "limits_1"), &[filter]);
    }
}

/// The same token each time, which is in the cache.
fn tokens(part: &mut Part, inputs: &Inputs<'_>) {
    let ours = inputs.wasm("jwt_auth", &ours::jwt_auth_of("EdDSA"));
    let theirs = envoys::jwt_authn_of("EdDSA", Tokens::Cached);
    let bare = "scale_bare_token";
    for (gateway, filter, filters) in [
        (bare, "a bare gateway", vec![]),
        ("jwt_authn_token", "`jwt_authn`", vec![theirs]),
        ("jwt_auth_token", "`jwt_auth`", vec![ours]),
    ] {
        part.gateway(gateway, inputs.bootstrap().forwarding(&filters));
        for bytes in TOKENS {
            let token = inputs.scene.token_of_bytes(bytes);
            let name = |gateway: &str| format!("{gateway}_{bytes}");
            let shown = format!("{filter}, a token of {} bytes", token.len());
            let ask = Ask::get(SEARCH_PATH).bearer(&token);
            let subject = Subject::new(&name(gateway), &shown, ask).at(gateway, GATEWAY);
            part.subjects.push(if gateway == bare {
                subject
            } else {
                let smallest = format!("{gateway}_{}", TOKENS[0]);
                growing(subject.over(&name(bare)), &smallest)
            });
        }
    }
}

/// Compared with the smallest of its kind, unless it is that.
fn growing(subject: Subject, smallest: &str) -> Subject {
    if subject.name == smallest {
        subject
    } else {
        subject.against(&[smallest])
    }
}
