//! `envoy/rate_limit.yaml`

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyhow::Result;
use portcullis_e2e::backend::Fault;
use portcullis_e2e::{Answer, Gateway, PATIENCE};
use reqwest::StatusCode;
use serde_json::json;

use crate::common::{SEARCH, assert_problem, flood};

/// A sliding window: whenever it begins, a burst of seconds gets the quota and no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_a_minute_are_admitted_of_400_over_32_connections_and_told_where_they_stand()
-> Result<()> {
    let gateway = Gateway::with("rate_limit").workers(4).start().await?;
    for remaining in [99, 98, 97] {
        let answer = gateway.get(SEARCH).await?;
        assert_eq!(answer.status, 200);
        assert!(!answer.json()?["results"].as_array().unwrap().is_empty());
        assert_told(&answer, remaining);
        assert_eq!(answer.header("retry-after"), None);
    }
    let statuses = flood(&gateway, 32, 416, |request| request).await?;
    assert_eq!(statuses, BTreeMap::from([(200, 97), (429, 319)]));
    let refused = gateway.get(SEARCH).await?;
    assert_problem(&refused, 429, "quota-exceeded");
    assert_told(&refused, 0);
    let retry_after = refused.number("retry-after").unwrap();
    assert!((1..=120).contains(&retry_after), "{retry_after}");
    assert_eq!(gateway.requests().total(), 100);
    let admin = gateway.admin();
    for (metric, value) in [("allowed", 100), ("limited", 320)] {
        let metric = format!("rate_limit_{metric}{{limit=\"per_ip\"}}");
        admin.wait_for_metric(&metric, value).await?;
    }
    Ok(())
}

/// Checks what an answer says of the limit.
#[track_caller]
fn assert_told(answer: &Answer, remaining: u64) {
    assert_eq!(
        answer.header("ratelimit-policy"),
        Some(r#""per_ip";q=100;w=60"#)
    );
    let state = answer.header("ratelimit").unwrap();
    assert!(
        state.starts_with(&format!(r#""per_ip";r={remaining};t="#)),
        "{state}"
    );
    let reset = answer.number("x-ratelimit-reset").unwrap();
    assert!((1..=120).contains(&reset), "{answer:?}");
    for (header, value) in [
        ("x-ratelimit-limit", 100),
        ("x-ratelimit-remaining", remaining),
        ("x-ratelimit-limit-minute", 100),
        ("x-ratelimit-remaining-minute", remaining),
    ] {
        assert_eq!(answer.number(header), Some(value), "{header}");
    }
}

#[tokio::test]
async fn a_client_forges_neither_the_address_that_it_is_counted_under_nor_a_log_line() -> Result<()>
{
    let gateway = tight(3).await?;
    for n in 0..3 {
        let forged = format!("198.51.100.{n}");
        let headers = [
            ("x-forwarded-for", forged.as_str()),
            ("x-real-ip", "203.0.113.9"),
        ];
        assert_eq!(gateway.get_with(SEARCH, &headers).await?.status, 200);
    }
    let target = "/api/v1/rag/search?q=x%0arate_limit:%20forged\"=\\status=200";
    assert_eq!(gateway.raw_get(target, &[]).await?.status, 429);
    let line = gateway
        .output()
        .wait_for(&["rate_limit", "reason=quota_exceeded"])
        .await?;
    for part in [
        "limit=per_ip",
        "status=429",
        "method=GET",
        "path=",
        "request_id=",
    ] {
        assert!(line.contains(part), "{line}");
    }
    assert_eq!(gateway.output().with(&["quota_exceeded"]).len(), 1);
    let headers = [
        ("x-forwarded-for", "203.0.113.77"),
        ("x-envoy-external-address", "203.0.113.78"),
    ];
    assert_eq!(gateway.get_with(SEARCH, &headers).await?.status, 429);
    if cfg!(target_os = "linux") {
        // All of 127.0.0.0/8 is this machine: another address has a count of its own.
        let other = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
        let other = other
            .local_address("127.0.0.2".parse::<IpAddr>()?)
            .build()?;
        for status in [200, 200, 200, 429] {
            let answer = Answer::to(other.get(gateway.url(SEARCH))).await?;
            assert_eq!(answer.status, status);
        }
    }
    Ok(())
}

/// A gateway of four workers with another quota.
async fn tight(quota: u32) -> Result<Gateway> {
    let gateway = Gateway::with("rate_limit").workers(4).edit(|bootstrap| {
        let limit = &mut bootstrap.filter("rate_limit")?["limits"][0];
        limit["quota"] = json!(quota);
        limit["window"] = json!("1h");
        Ok(())
    });
    gateway.start().await
}

/// What the gateway did not serve is given back, but not where an attempt before the last one has reached the upstream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_that_the_gateway_holds_back_gives_nobody_more_than_the_quota() -> Result<()> {
    const QUOTA: usize = 10;
    let gateway = Gateway::with("rate_limit").workers(4).edit(|bootstrap| {
        let limit = &mut bootstrap.filter("rate_limit")?["limits"][0];
        limit["quota"] = json!(QUOTA);
        limit["window"] = json!("1h");
        for route in bootstrap.routes()? {
            route["route"]["retry_policy"] = json!({ "retry_on": "5xx,reset", "num_retries": 1 });
        }
        bootstrap.at("/static_resources/clusters/0")?["circuit_breakers"] =
            json!({ "thresholds": [{ "max_connections": 1, "max_pending_requests": 1 }] });
        Ok(())
    });
    let gateway = gateway.start().await?;
    gateway
        .faults()
        .set(Fault::status(StatusCode::SERVICE_UNAVAILABLE));
    for round in 0..6 {
        let ask = async |n: usize| {
            let name = format!("{round}-{n}");
            gateway.get_with(SEARCH, &[("x-number", &name)]).await
        };
        futures_util::future::try_join_all((0..50).map(ask)).await?;
    }
    let received = gateway.requests().all();
    let numbers = received
        .iter()
        .map(|received| received.values("x-number").concat());
    let reached: BTreeSet<_> = numbers.collect();
    assert!((1..=QUOTA).contains(&reached.len()), "{}", reached.len());
    Ok(())
}
