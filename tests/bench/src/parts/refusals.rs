//! Requests that are refused, which never reach the upstream.

use serde_json::Value;

use super::{Inputs, Part, Subject};
use crate::config::bootstrap::GATEWAY;
use crate::config::envoys::{self, Tokens};
use crate::config::ours::{self, ENDLESS, LimitHeaders};
use crate::scene::SEARCH_PATH;
use crate::traffic::{Ask, FAILING_PATH};

const BASE: &str = "answered";

/// Enough failures for any breaker here.
const FAILURES: u32 = 32;

pub(super) fn part(inputs: &Inputs<'_>) -> Part {
    let title = "Refusals";
    let mut part = Part::new(
        "refusals",
        title,
        "an answer of the gateway's own (`direct_response`)",
    );
    let answered = Subject::new(
        BASE,
        "an answer of the gateway's own",
        inputs.ask().refused(429),
    );
    part.gateway(BASE, inputs.bootstrap().answering(GATEWAY, &[], 429));
    part.subjects.push(answered);
    limits(&mut part, inputs);
    tokens(&mut part, inputs);
    breakers(&mut part, inputs);
    part
}

/// 429: one request an hour, which has been.
fn limits(part: &mut Part, inputs: &Inputs<'_>) {
    let mut add = |name: &str, shown: &str, against: &[&str], filter: Value| {
        let subject = Subject::new(name, shown, inputs.ask().refused(429)).over(BASE);
        let subject = subject.against(against).after(GATEWAY, inputs.ask(), 1);
        part.chain(inputs, subject, &[filter]);
    };
    let native = envoys::local_ratelimit(1, false);
    add(
        "local_ratelimit_429",
        "429 by `local_ratelimit`",
        &[],
        native,
    );
    let limit = inputs.wasm("rate_limit", &ours::rate_limit(1, LimitHeaders::Both));
    add(
        "rate_limit_429",
        "429 by **`rate_limit`**",
        &["local_ratelimit_429"],
        limit,
    );
    let edge = inputs.wasm("edge", &ours::edge(1));
    add(
        "edge_429",
        "429 by **`edge`**",
        &["local_ratelimit_429"],
        edge,
    );
}

/// 401: no token.
fn tokens(part: &mut Part, inputs: &Inputs<'_>) {
    let mut add = |name: &str, shown: &str, against: &[&str], filter: Value| {
        let subject = Subject::new(name, shown, Ask::get(SEARCH_PATH).refused(401)).over(BASE);
        part.chain(inputs, subject.against(against), &[filter]);
    };
    let native = envoys::jwt_authn(Tokens::Cached);
    add("jwt_authn_401", "401 by `jwt_authn`", &[], native);
    let jwt_auth = inputs.wasm("jwt_auth", &ours::jwt_auth(0));
    add(
        "jwt_auth_401",
        "401 by **`jwt_auth`**",
        &["jwt_authn_401"],
        jwt_auth,
    );
    add(
        "edge_401",
        "401 by **`edge`**",
        &["jwt_authn_401"],
        inputs.edge(),
    );
}

/// 503: the upstream has failed, and is left alone.
fn breakers(part: &mut Part, inputs: &Inputs<'_>) {
    let token = inputs.scene.token("RS256");
    // The upstream says 503, and so does whoever leaves it alone.
    let failing = Ask::get(FAILING_PATH).bearer(&token).refused(503);
    let subject = |name: &str, shown: &str| {
        let subject = Subject::new(name, shown, inputs.ask().refused(503)).over(BASE);
        subject.after(GATEWAY, failing.clone(), FAILURES)
    };
    let native = subject(
        "outlier_detection_503",
        "503 by `outlier_detection`, all hosts ejected",
    );
    let bootstrap = inputs.bootstrap().forwarding(&[]);
    let bootstrap = bootstrap
        .with_cluster("outlier_detection", envoys::outlier_detection())
        .with_cluster("common_lb_config", envoys::no_panic());
    part.gateway(&native.gateway, bootstrap);
    part.subjects.push(native);
    let others = ["outlier_detection_503"];
    let breaker = subject("circuit_breaker_503", "503 by **`circuit_breaker`**, open");
    let filter = inputs.wasm("circuit_breaker", &ours::circuit_breaker(0));
    part.chain(inputs, breaker.against(&others), &[filter]);
    let edge = subject("edge_503", "503 by **`edge`**, its breaker open");
    part.chain(
        inputs,
        edge.against(&others),
        &[inputs.wasm("edge", &ours::edge(ENDLESS))],
    );
}
