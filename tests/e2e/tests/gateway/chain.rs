//! The four single filters in one chain, as a user may put them together.

use anyhow::{Context as _, Result};
use portcullis_e2e::backend::Fault;
use portcullis_e2e::{Bootstrap, Gateway, INTER_SERVICE_SECRET, Placement};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::circuit_breaker::is_from_upstream;
use crate::common::{SEARCH, assert_problem, token};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_four_work_together() -> Result<()> {
    let gateway = Gateway::with("jwt_auth").workers(4).edit(|bootstrap| {
        bootstrap.put(Placement::Before, "jwt_auth", limit(3)?)?;
        bootstrap.put(Placement::After, "jwt_auth", entry("circuit_breaker")?)?;
        bootstrap.put(Placement::After, "circuit_breaker", entry("service_token")?)
    });
    let gateway = gateway.start().await?;
    let bearer = format!("Bearer {}", token());
    let headers = [
        ("x-service-token", "forged"),
        ("authorization", bearer.as_str()),
    ];
    let good = gateway.get_with(SEARCH, &headers).await?;
    assert_eq!(
        (good.status, good.number("x-ratelimit-remaining")),
        (200, Some(2)),
        "{good:?}"
    );
    let received = &gateway.requests().last(1)[0];
    assert_eq!(
        received.only_value("x-service-token"),
        Some(INTER_SERVICE_SECRET)
    );
    assert_eq!(received.only_value("x-user-id"), Some("alice"));
    let refused = gateway.get(SEARCH).await?;
    assert_problem(&refused, 401, "unauthenticated");
    let states = gateway
        .get_as(&token(), "/api/v1/rag/status/breakers")
        .await?;
    assert_eq!(states.json()?, json!({ "rag_service": "closed" }));
    assert_problem(
        &gateway.get_as(&token(), SEARCH).await?,
        429,
        "quota-exceeded",
    );
    assert_eq!(gateway.requests().total(), 1);
    Ok(())
}

/// A client that is refused hears of the limit that refused it, and not of one of a filter before it that had enough left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_shows_the_limit_that_refused_whichever_filter_has_it() -> Result<()> {
    let gateway = Gateway::with("rate_limit").edit(|bootstrap| {
        let mut inner = limit(2)?;
        inner["name"] = json!("inner");
        let value = inner.pointer_mut("/typed_config/config/configuration/value/limits/0/name");
        *value.context("no limit")? = json!("inner");
        bootstrap.put(Placement::After, "rate_limit", inner)
    });
    let gateway = gateway.start().await?;
    for left in [1, 0] {
        let answer = gateway.get(SEARCH).await?;
        assert_eq!(answer.status, 200, "{answer:?}, {left} left");
        assert_eq!(answer.number("x-ratelimit-limit"), Some(100));
    }
    let refused = gateway.get(SEARCH).await?;
    assert_problem(&refused, 429, "quota-exceeded");
    assert_eq!(refused.number("x-ratelimit-limit"), Some(2), "{refused:?}");
    assert_eq!(refused.number("x-ratelimit-remaining"), Some(0));
    let state = refused.header("ratelimit").unwrap_or_default();
    assert!(state.starts_with(r#""inner";r=0;"#), "{state}");
    Ok(())
}

/// What another Wasm filter answers has no response code details, by which the breaker could
/// know who answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_of_the_filters_behind_it_are_no_matter_to_a_breaker() -> Result<()> {
    let gateway = Gateway::with("circuit_breaker")
        .workers(4)
        .edit(|bootstrap| {
            bootstrap.put(Placement::After, "circuit_breaker", entry("jwt_auth")?)?;
            bootstrap.put(Placement::After, "jwt_auth", limit(7)?)
        });
    let gateway = gateway.start().await?;
    let fail = async |times| {
        gateway
            .faults()
            .set(Fault::status(StatusCode::BAD_GATEWAY).times(times));
        for _ in 0..times {
            let failed = gateway.get_as(&token(), SEARCH).await?;
            assert!(is_from_upstream(&failed, 502), "{failed:?}");
        }
        gateway.faults().clear();
        anyhow::Ok(())
    };
    fail(4).await?;
    for _ in 0..6 {
        assert_problem(&gateway.get(SEARCH).await?, 401, "unauthenticated");
    }
    // Neither six successes nor six failures.
    assert_eq!(crate::circuit_breaker::state(&gateway).await?, "closed");
    fail(1).await?;
    assert_eq!(crate::circuit_breaker::state(&gateway).await?, "open");
    assert_eq!(gateway.requests().total(), 5);
    Ok(())
}

/// A filter as its own file has it.
fn entry(filter: &str) -> Result<Value> {
    let mut bootstrap = Bootstrap::shipped(filter)?;
    let filters = bootstrap.http_filters()?;
    let entry = filters.iter().find(|entry| entry["name"] == filter);
    entry
        .cloned()
        .with_context(|| format!("envoy/{filter}.yaml has no {filter}"))
}

fn limit(quota: u32) -> Result<Value> {
    let mut entry = entry("rate_limit")?;
    let limits = entry.pointer_mut("/typed_config/config/configuration/value/limits");
    let limit = &mut limits.context("no limits")?[0];
    limit["quota"] = json!(quota);
    limit["window"] = json!("1h");
    Ok(entry)
}
