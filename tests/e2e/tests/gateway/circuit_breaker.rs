//! `envoy/circuit_breaker.yaml`: closed, open, half-open.

use std::time::Duration;

use anyhow::Result;
use portcullis_e2e::backend::Fault;
use portcullis_e2e::{Answer, Bootstrap, Gateway, until};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::common::{SEARCH, assert_problem, grpc_status};

const STATUS: &str = "/api/v1/rag/status/breakers";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fifth_failure_in_a_row_opens_it_and_the_upstream_is_left_alone() -> Result<()> {
    let gateway = Gateway::with("circuit_breaker").workers(4).edit(timed);
    let gateway = gateway.start().await?;
    // Whichever of the workers see them.
    for _ in 0..3 {
        gateway
            .faults()
            .set(Fault::status(StatusCode::BAD_GATEWAY).times(4));
        for _ in 0..4 {
            assert_eq!(gateway.get(SEARCH).await?.status, 502);
        }
        assert_eq!(gateway.get(SEARCH).await?.status, 200);
    }
    assert_eq!(state(&gateway).await?, "closed");
    trip(&gateway).await?;
    assert_eq!(state(&gateway).await?, "open");
    for _ in 0..20 {
        let refused = gateway.get(SEARCH).await?;
        assert_problem(&refused, 503, "circuit-open");
        assert!((1..=30).contains(&refused.number("retry-after").unwrap()));
    }
    let admin = gateway.admin();
    for (metric, value) in [
        (r#"circuit_breaker_state{breaker="rag_service"}"#, 2),
        (r#"circuit_breaker_failures{breaker="rag_service"}"#, 17),
        (r#"circuit_breaker_rejected{breaker="rag_service"}"#, 20),
        (
            r#"circuit_breaker_transitions{breaker="rag_service",to="open"}"#,
            1,
        ),
    ] {
        admin.wait_for_metric(metric, value).await?;
    }
    let opened = [
        "circuit_breaker",
        "event=opened",
        "breaker=rag_service",
        "from=closed",
        "to=open",
    ];
    gateway.output().wait_for(&opened).await?;
    assert_eq!(gateway.output().with(&opened).len(), 1);

    let log = gateway.output();
    until("the refusals in the access log", async || {
        Ok(refusal_times(&log.access_log()).len() == 20)
    })
    .await?;
    let mut times = refusal_times(&log.access_log());
    times.sort_unstable();
    // A machine may stop one for longer; not half of them.
    assert!(times[10] < 1_000, "{times:?} µs");

    assert_eq!(grpc_status(&gateway, SEARCH).await?, (200, "14".to_owned()));
    states_are_shown(&gateway).await?;
    assert_eq!(gateway.requests().total(), 20);
    // What no breaker guards passes. The backend knows no such route, but it was asked.
    assert_eq!(gateway.get("/other").await?.status, 404);
    Ok(())
}

/// To GET and HEAD.
async fn states_are_shown(gateway: &Gateway) -> Result<()> {
    let answer = gateway.get(STATUS).await?;
    assert_eq!(answer.json()?, json!({ "rag_service": "open" }));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let head = gateway.request(Method::HEAD, STATUS).send().await?;
    assert_eq!(head.status(), 200);
    let verbose = gateway.get(&format!("{STATUS}?verbose")).await?.json()?;
    assert_eq!(verbose["rag_service"]["state"], "open");
    assert_eq!(verbose["rag_service"]["reason"], "consecutive_failures");
    Ok(())
}

/// Also when a client has left with the first probe.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_wait_exactly_one_of_20_requests_is_let_through_and_it_recovers() -> Result<()> {
    let gateway = Gateway::with("circuit_breaker").workers(4).edit(soon);
    let gateway = gateway.start().await?;
    trip(&gateway).await?;
    gateway.faults().set(Fault::black_hole());
    until_half_open(&gateway).await?;
    let request = gateway.request(Method::GET, SEARCH);
    let left = request.timeout(Duration::from_millis(300)).send().await;
    assert!(left.is_err_and(|error| error.is_timeout()));
    assert_eq!(gateway.requests().total(), 6);
    let admin = gateway.admin();
    let ignored = r#"circuit_breaker_ignored{breaker="rag_service"}"#;
    admin.wait_for_metric(ignored, 1).await?;

    // Long enough for all 20 to arrive while the probe is on its way.
    gateway
        .faults()
        .set(Fault::delay(Duration::from_millis(1_500)));
    let mut requests = JoinSet::new();
    for _ in 0..20 {
        let request = gateway.request(Method::GET, SEARCH);
        requests.spawn(async { anyhow::Ok(Answer::to(request).await?.status) });
    }
    let mut statuses = Vec::new();
    while let Some(status) = requests.join_next().await {
        statuses.push(status??);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [vec![200], vec![503; 19]].concat());
    assert_eq!(gateway.requests().total(), 7);
    gateway.faults().clear();
    assert_eq!(state(&gateway).await?, "closed");
    for _ in 0..8 {
        assert_eq!(gateway.get(SEARCH).await?.status, 200);
    }
    for to in ["open", "half_open", "closed"] {
        let metric = format!(r#"circuit_breaker_transitions{{breaker="rag_service",to="{to}"}}"#);
        admin.wait_for_metric(&metric, 1).await?;
    }
    let closed = r#"circuit_breaker_state{breaker="rag_service"}"#;
    admin.wait_for_metric(closed, 0).await
}

/// Makes the upstream fail five times, and mends it.
pub(crate) async fn trip(gateway: &Gateway) -> Result<()> {
    gateway
        .faults()
        .set(Fault::status(StatusCode::SERVICE_UNAVAILABLE).times(5));
    for _ in 0..5 {
        let failed = gateway.get(SEARCH).await?;
        assert!(is_from_upstream(&failed, 503), "{failed:?}");
    }
    gateway.faults().clear();
    Ok(())
}

/// Whether an answer has this status and is not one of a filter.
pub(crate) fn is_from_upstream(answer: &Answer, status: u16) -> bool {
    answer.status == status && answer.header("content-type") != Some("application/problem+json")
}

/// The state of the only breaker.
pub(crate) async fn state(gateway: &Gateway) -> Result<String> {
    let states = gateway.get(STATUS).await?.json()?;
    Ok(states["rag_service"]
        .as_str()
        .unwrap_or_default()
        .to_owned())
}

async fn until_half_open(gateway: &Gateway) -> Result<()> {
    until("the breaker to be half-open", async || {
        Ok(state(gateway).await? == "half_open")
    })
    .await
}

/// Shortens the wait.
fn soon(bootstrap: &mut Bootstrap) -> Result<()> {
    bootstrap.filter("circuit_breaker")?["breakers"][0]["open_for"]["initial"] = json!("1s");
    Ok(())
}

/// The access log of `envoy/edge.yaml`, which has microseconds.
fn timed(bootstrap: &mut Bootstrap) -> Result<()> {
    let log = Bootstrap::shipped("edge")?.connection_manager()?["access_log"].take();
    bootstrap.connection_manager()?["access_log"] = log;
    Ok(())
}

/// How long the breaker's refusals took at the gateway, in microseconds.
pub(crate) fn refusal_times(log: &[Value]) -> Vec<u64> {
    let refused = log
        .iter()
        .filter(|entry| entry["status"] == 503 && entry["upstream"].is_null());
    refused
        .filter_map(|entry| entry["duration_us"].as_u64())
        .collect()
}
