//! `envoy/circuit_breaker.yaml`: what counts as a failure of the upstream, and what does not.

use std::time::Duration;

use anyhow::Result;
use portcullis_e2e::backend::Fault;
use portcullis_e2e::{Bootstrap, Gateway, Placement};
use reqwest::StatusCode;
use serde_json::json;

use crate::circuit_breaker::{is_from_upstream, state};
use crate::circuit_breaker_scene::closes_at_once;
use crate::common::{SEARCH, assert_problem};

const QUERY: &str = "/api/v1/rag/query?q=circuit+breaker";
const FAILURES: &str = r#"circuit_breaker_failures{breaker="rag_service"}"#;

/// By the file's own bounds, but for how long they are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_way_to_fail_is_one_of_the_five_in_a_row_that_open_it() -> Result<()> {
    let gateway = Gateway::with("circuit_breaker").workers(4).edit(impatient);
    let gateway = gateway.edit(closes_at_once);
    let gateway = gateway.event_delay(Duration::from_secs(5)).start().await?;
    // Streams that break off or stall: the head has come, the rest does not.
    gateway.faults().set(Fault::break_off().times(1));
    for failures in 1..=2 {
        assert!(gateway.get(QUERY).await.is_err());
        gateway.admin().wait_for_metric(FAILURES, failures).await?;
        gateway.faults().clear();
    }
    for (fault, status) in [
        (Fault::drop_connection(), 503),
        (Fault::black_hole(), 504),
        (Fault::status(StatusCode::INTERNAL_SERVER_ERROR), 500),
    ] {
        assert_eq!(state(&gateway).await?, "closed");
        gateway.faults().set(fault);
        let failed = gateway.get(SEARCH).await?;
        assert!(is_from_upstream(&failed, status), "{failed:?}");
    }
    assert_eq!(state(&gateway).await?, "open");
    let seen = gateway.requests().total();
    assert_problem(&gateway.get(SEARCH).await?, 503, "circuit-open");
    assert_eq!(gateway.requests().total(), seen);
    gateway.admin().wait_for_metric(FAILURES, 5).await
}

/// Envoy's own filter for faults, before the breaker and behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_of_other_filters_are_neither_failures_nor_successes() -> Result<()> {
    const PLACEMENTS: [Placement; 2] = [Placement::Before, Placement::After];
    let gateway = Gateway::with("circuit_breaker").workers(4).edit(|bootstrap| {
        for placement in PLACEMENTS {
            let fault = json!({
                "name": format!("fault_{placement:?}"),
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
                    "abort": { "header_abort": {}, "percentage": { "numerator": 100 } },
                    "headers": [
                        { "name": "x-placement", "string_match": { "exact": format!("{placement:?}") } },
                    ],
                },
            });
            bootstrap.put(placement, "circuit_breaker", fault)?;
        }
        Ok(())
    });
    let gateway = gateway.start().await?;
    fail(&gateway, 4).await?;
    for placement in PLACEMENTS.map(|placement| format!("{placement:?}")) {
        for status in ["503", "500", "504", "200", "404", "503"] {
            let headers = [
                ("x-placement", placement.as_str()),
                ("x-envoy-fault-abort-request", status),
            ];
            let answer = gateway.get_with(SEARCH, &headers).await?;
            assert_eq!(answer.status.to_string(), status, "{placement}");
        }
        assert_eq!(gateway.requests().total(), 4);
        assert_eq!(state(&gateway).await?, "closed", "{placement}");
    }
    fail(&gateway, 1).await?;
    assert_eq!(state(&gateway).await?, "open");
    Ok(())
}

#[tokio::test]
async fn a_client_can_not_make_the_upstream_seem_late() -> Result<()> {
    for config in ["circuit_breaker", "edge"] {
        let gateway = Gateway::with(config).start().await?;
        gateway
            .faults()
            .set(Fault::delay(Duration::from_millis(300)));
        for _ in 0..6 {
            let headers = [
                ("x-envoy-upstream-rq-timeout-ms", "1"),
                ("x-envoy-upstream-rq-per-try-timeout-ms", "1"),
                ("x-envoy-expected-rq-timeout-ms", "1"),
                ("grpc-timeout", "1m"),
                (
                    "authorization",
                    &format!("Bearer {}", crate::common::token()),
                ),
            ];
            assert_eq!(
                gateway.get_with(SEARCH, &headers).await?.status,
                200,
                "{config}"
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_long_stream_is_no_failure() -> Result<()> {
    let gateway = Gateway::with("circuit_breaker").edit(impatient);
    let gateway = gateway
        .event_delay(Duration::from_millis(100))
        .start()
        .await?;
    let answer = gateway.get(QUERY).await?;
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("event: done"), "{answer:?}");
    // Longer than it may say nothing.
    assert!(answer.took > Duration::from_millis(400), "{answer:?}");
    assert_eq!(gateway.admin().metric(FAILURES).await?, Some(0));
    Ok(())
}

/// Makes the upstream fail some times, and mends it.
async fn fail(gateway: &Gateway, times: u32) -> Result<()> {
    gateway
        .faults()
        .set(Fault::status(StatusCode::INTERNAL_SERVER_ERROR).times(times));
    for _ in 0..times {
        assert_eq!(gateway.get(SEARCH).await?.status, 500);
    }
    gateway.faults().clear();
    Ok(())
}

/// Does not wait long for the upstream.
fn impatient(bootstrap: &mut Bootstrap) -> Result<()> {
    for route in bootstrap.routes()? {
        route["route"]["retry_policy"]["per_try_idle_timeout"] = json!("0.4s");
    }
    Ok(())
}
