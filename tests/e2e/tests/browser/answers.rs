//! What is common to the scenarios: a gateway, tokens, and what each answer has to show a script.

use anyhow::Result;
use portcullis_e2e::{Gateway, JWT_SECRET_KEY, Token, until_some};
use serde_json::{Value, json};

use crate::page::Answer;

pub(crate) const SEARCH: &str = "/api/v1/rag/search?q=circuit+breaker";

/// `envoy/edge.yaml`, with so many requests a day.
pub(crate) async fn gateway(quota: u32) -> Result<Gateway> {
    let gateway = Gateway::with("edge").edit(|bootstrap| {
        let limit = &mut bootstrap.filter("edge")?["rate_limit"]["limits"][0];
        limit["quota"] = json!(quota);
        limit["window"] = json!("24h");
        Ok(())
    });
    gateway.start().await
}

pub(crate) fn token() -> String {
    Token::of("alice").signed(JWT_SECRET_KEY)
}

/// A token of someone who may not read.
pub(crate) fn unscoped_token() -> String {
    Token::of("bob")
        .claim("scope", json!("rag:other"))
        .signed(JWT_SECRET_KEY)
}

/// Checks that a script can read where it stands with the limit, in both families of headers, and the
/// request's id.
#[track_caller]
pub(crate) fn assert_limit_and_id(answer: &Answer) {
    assert!(answer.header("ratelimit").contains("per_ip"), "{answer:?}");
    assert!(
        answer.header("ratelimit-policy").contains("per_ip"),
        "{answer:?}"
    );
    for name in ["limit", "remaining", "reset"] {
        let value = answer.header(&format!("x-ratelimit-{name}"));
        assert!(value.parse::<u64>().is_ok(), "{answer:?}");
    }
    assert_eq!(answer.header("x-request-id").len(), 36, "{answer:?}");
}

/// Checks that a script can read a refusal: its status, its problem document and what goes with it.
#[track_caller]
pub(crate) fn assert_refusal(answer: &Answer, status: u16, kind: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let problem = answer.json();
    let kind = format!("urn:portcullis:problem/{kind}");
    assert_eq!(problem["type"], kind, "{answer:?}");
    assert_eq!(problem["status"], status, "{answer:?}");
    assert_eq!(problem["request_id"], answer.header("x-request-id"));
    assert_limit_and_id(answer);
}

/// The methods of the requests that the gateway has answered, once there are so many.
pub(crate) async fn methods(gateway: &Gateway, requests: usize) -> Result<Vec<String>> {
    let what = format!("{requests} entries in the access log");
    until_some(&what, async || {
        let entries = gateway.output().access_log();
        let methods = entries
            .iter()
            .filter_map(|entry| entry["method"].as_str().map(str::to_owned));
        let methods: Vec<String> = methods.collect();
        Ok((methods.len() >= requests).then_some(methods))
    })
    .await
}

/// A question, as the body of a POST.
pub(crate) fn question() -> Value {
    json!({ "q": "circuit breaker" })
}
