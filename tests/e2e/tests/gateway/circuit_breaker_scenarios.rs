//! `envoy/circuit_breaker.yaml`: what each way in which a request can end is counted as, and how
//! Envoy describes it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use portcullis_e2e::backend::Fault;
use portcullis_e2e::{Bootstrap, Gateway, until};
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::time::Instant;

use crate::circuit_breaker_scene::{
    Before, Counts, FAILURE, IGNORED, SUCCESS, closed_port, forward, shown, trip, watched,
};
use crate::common::{SEARCH, assert_problem};

const QUERY: &str = "/api/v1/rag/query?q=circuit+breaker";

/// When the client hangs up.
#[derive(Clone, Copy, Debug)]
enum Leaves {
    WithTheAnswer,
    BeforeItsHead,
    InMidStream,
}

/// A request: the way that it takes, what the upstream does to it, how its client behaves, what it is
/// counted as, and how Envoy says that it ended: its flags and its `response.code_details`.
type Row = (&'static str, Option<Fault>, Leaves, Counts, &'static str);

#[rustfmt::skip]
fn rows() -> Vec<Row> {
    use Leaves::{BeforeItsHead, InMidStream, WithTheAnswer};
    let status = |code| Some(Fault::status(code));
    let hole = || Some(Fault::black_hole());
    let late = Some(Fault::delay(Duration::from_millis(1_100)));
    const BEFORE: &str = "UC upstream_reset_before_response_started{connection_termination}";
    const AFTER: &str = "UPE upstream_reset_after_response_started{protocol_error}";
    const LEFT: &str = "DC downstream_remote_disconnect";
    const WHOLE: &str = "/api/v1/rag/whole?q=circuit+breaker";
    const TRY: &str = "/api/v1/rag/try?q=circuit+breaker";
    const STALL: &str = "/api/v1/rag/stall?q=circuit+breaker";
    const IDLE: &str = "/api/v1/rag/idle?q=circuit+breaker";
    const LONG: &str = "/api/v1/rag/long?q=circuit+breaker";
    vec![
        // The upstream answers.
        (SEARCH, None, WithTheAnswer, SUCCESS, "- via_upstream"),
        (SEARCH, status(StatusCode::NOT_FOUND), WithTheAnswer, SUCCESS, "- via_upstream"),
        (SEARCH, status(StatusCode::SERVICE_UNAVAILABLE), WithTheAnswer, FAILURE, "- via_upstream"),
        (SEARCH, status(StatusCode::GATEWAY_TIMEOUT), WithTheAnswer, FAILURE, "- via_upstream"),
        (SEARCH, late, WithTheAnswer, SUCCESS.slow(), "- via_upstream"),
        // It can't be reached, or breaks off.
        ("/api/v1/rag/refused", None, WithTheAnswer, FAILURE,
            "UF upstream_reset_before_response_started{remote_connection_failure"),
        (SEARCH, Some(Fault::drop_connection()), WithTheAnswer, FAILURE, BEFORE),
        (SEARCH, Some(Fault::break_off()), WithTheAnswer, FAILURE, AFTER),
        (QUERY, Some(Fault::break_off()), WithTheAnswer, FAILURE, AFTER),
        // It is late, with the head or in mid-stream.
        (WHOLE, hole(), WithTheAnswer, FAILURE, "UT response_timeout"),
        (WHOLE, None, WithTheAnswer, FAILURE, "UT response_timeout"),
        (TRY, hole(), WithTheAnswer, FAILURE, "UT upstream_per_try_timeout"),
        (STALL, hole(), WithTheAnswer, FAILURE, "UT upstream_per_try_idle_timeout"),
        (STALL, None, WithTheAnswer, FAILURE, "UT upstream_per_try_idle_timeout"),
        // The gateway's own bounds on a stream: without a head the upstream was silent; with one, nobody
        // knows who kept whom waiting, and a stream may live for as long as it is let.
        (IDLE, hole(), WithTheAnswer, FAILURE, "SI stream_idle_timeout"),
        (IDLE, None, WithTheAnswer, IGNORED, "SI stream_idle_timeout"),
        (LONG, hole(), WithTheAnswer, FAILURE, "- max_duration_timeout"),
        (LONG, None, WithTheAnswer, SUCCESS, "- max_duration_timeout"),
        // It has no host that can be reached.
        ("/api/v1/rag/empty", None, WithTheAnswer, FAILURE, "UH no_healthy_upstream"),
        // The gateway answers 503 without it.
        ("/api/v1/rag/bounded", None, WithTheAnswer, IGNORED,
            "UO upstream_reset_before_response_started{overflow}"),
        ("/api/v1/rag/missing", None, WithTheAnswer, IGNORED, "NC cluster_not_found"),
        ("/api/v1/rag/direct", None, WithTheAnswer, IGNORED, "- direct_response"),
        // The client does not wait.
        (SEARCH, hole(), BeforeItsHead, IGNORED, LEFT),
        (QUERY, None, InMidStream, SUCCESS, LEFT),
    ]
}

/// One gateway with all these ways: clusters that fail, and the backend's stream under other bounds
/// than its own route has.
fn ways(bootstrap: &mut Bootstrap, refused: SocketAddr) -> Result<()> {
    watched(bootstrap)?;
    bootstrap.add_cluster("refused", &[refused])?;
    bootstrap.add_cluster("empty", &[])?;
    bootstrap.add_cluster("bounded", &[refused])?["circuit_breakers"] =
        json!({ "thresholds": [{ "max_requests": 0, "max_pending_requests": 0 }] });
    bootstrap.connection_manager()?["route_config"]["validate_clusters"] = json!(false);
    for cluster in ["refused", "empty", "bounded", "missing"] {
        bootstrap.add_route(forward(&format!("/api/v1/rag/{cluster}"), cluster))?;
    }
    bootstrap.add_route(
        json!({ "match": { "path": "/api/v1/rag/direct" }, "direct_response": { "status": 503 } }),
    )?;
    for (way, bounds) in [
        ("whole", json!({ "timeout": "0.3s" })),
        (
            "try",
            json!({ "retry_policy": { "per_try_timeout": "0.3s" } }),
        ),
        (
            "stall",
            json!({ "retry_policy": { "per_try_idle_timeout": "0.3s" } }),
        ),
        ("idle", json!({ "idle_timeout": "0.3s" })),
        (
            "long",
            json!({ "max_stream_duration": { "max_stream_duration": "0.3s" } }),
        ),
    ] {
        let mut route = json!({
            "cluster": "rag", "prefix_rewrite": "/api/v1/rag/query", "timeout": "0s",
        });
        for (key, bound) in bounds.as_object().context("an object")? {
            route[key] = bound.clone();
        }
        let path = format!("/api/v1/rag/{way}");
        bootstrap.add_route(json!({ "match": { "prefix": path }, "route": route }))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_end_of_a_request_is_counted_once_and_as_what_it_was() -> Result<()> {
    let (_held, refused) = closed_port()?;
    let gateway = Gateway::with("circuit_breaker")
        .workers(4)
        .edit(|bootstrap| ways(bootstrap, refused))
        // Streams begin at once, and then say nothing for longer than anybody waits here.
        .event_delay(Duration::from_secs(20))
        .start()
        .await?;
    let mut wrong = Vec::new();
    for (path, fault, leaves, expected, end) in rows() {
        let what = format!("{path} {fault:?} {leaves:?}");
        let before = Before::of(&gateway).await?;
        go(&gateway, path, fault, leaves).await?;
        let seen = before
            .until_settled(&gateway, 1)
            .await
            .context(what.clone())?;
        if seen.counts != expected || !seen.ends[0].starts_with(end) {
            wrong.push(format!("{what}: {seen:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}

/// Sends a request to the gateway, and a fault for it to the backend.
async fn go(gateway: &Gateway, path: &str, fault: Option<Fault>, leaves: Leaves) -> Result<()> {
    match fault {
        Some(fault) => gateway.faults().set(fault.times(1)),
        None => gateway.faults().clear(),
    }
    let reached = gateway.requests().total();
    let request = gateway.request(Method::GET, path).send();
    match leaves {
        Leaves::WithTheAnswer => {
            // Some have a head and no end.
            let _ = request.await?.bytes().await;
        }
        Leaves::BeforeItsHead => {
            let request = tokio::spawn(request);
            gateway.requests().wait_for_total(reached + 1).await;
            request.abort();
        }
        Leaves::InMidStream => drop(request.await?.chunk().await?),
    }
    Ok(())
}

/// Ten requests and more than half of them: the eleventh request is the first that exceeds both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ratio_of_failures_opens_it_once_all_workers_have_told_what_was_fine() -> Result<()> {
    let ratio = json!({ "above": 0.5, "window": "30s", "minimum_requests": 10 });
    let gateway = Gateway::with("circuit_breaker").workers(4);
    let gateway = gateway.edit(|bootstrap| trip(bootstrap, json!({ "failure_ratio": ratio })));
    let gateway = gateway.start().await?;
    for _ in 0..5 {
        assert_eq!(gateway.get(SEARCH).await?.status, 200);
    }
    until("all workers to have told their successes", async || {
        Ok(shown(&gateway).await?["failure_ratio"]["requests"] == 5)
    })
    .await?;
    gateway
        .faults()
        .set(Fault::status(StatusCode::INTERNAL_SERVER_ERROR));
    for failures in 1..=5 {
        assert_eq!(gateway.get(SEARCH).await?.status, 500);
        let state = shown(&gateway).await?;
        assert_eq!(state["state"], "closed");
        let expected = json!({ "requests": 5 + failures, "failures": failures });
        assert_eq!(state["failure_ratio"], expected);
    }
    assert_eq!(gateway.get(SEARCH).await?.status, 500);
    until("the share to be certain", async || {
        Ok(shown(&gateway).await?["state"] == "open")
    })
    .await?;
    assert_eq!(shown(&gateway).await?["reason"], "failure_ratio");
    assert_problem(&gateway.get(SEARCH).await?, 503, "circuit-open");
    assert_eq!(gateway.requests().total(), 11);
    let opened = ["event=opened", "reason=failure_ratio"];
    gateway.output().wait_for(&opened).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ratio_of_slow_answers_is_one_of_slow_heads() -> Result<()> {
    let ratio = json!({
        "above": 0.5, "slower_than": "500ms", "window": "30s", "minimum_requests": 4,
    });
    let gateway = Gateway::with("circuit_breaker").workers(4);
    let gateway = gateway.edit(|bootstrap| trip(bootstrap, json!({ "slow_ratio": ratio })));
    let gateway = gateway
        .event_delay(Duration::from_millis(200))
        .start()
        .await?;
    let all = async |path: &'static str, count: u64| {
        let requests = (0..count).map(|_| gateway.get(path));
        let answers = futures_util::future::try_join_all(requests).await?;
        assert!(
            answers.iter().all(|answer| answer.status == 200),
            "{answers:?}"
        );
        anyhow::Ok(answers)
    };
    let before = Before::of(&gateway).await?;
    let streams = all(QUERY, 4).await?;
    assert!(
        streams
            .iter()
            .all(|stream| stream.took > Duration::from_secs(1)),
        "{streams:?}"
    );
    assert_eq!(
        before.until_counted(&gateway, 4).await?,
        Counts::of(4, 0, 0)
    );
    let before = Before::of(&gateway).await?;
    gateway
        .faults()
        .set(Fault::delay(Duration::from_millis(700)));
    all(SEARCH, 4).await?;
    assert_eq!(
        shown(&gateway).await?["slow_ratio"],
        json!({ "requests": 8, "slow": 4 })
    );
    all(SEARCH, 1).await?;
    until("the share to be certain", async || {
        Ok(shown(&gateway).await?["state"] == "open")
    })
    .await?;
    assert_eq!(shown(&gateway).await?["reason"], "slow_ratio");
    assert_eq!(
        before.until_counted(&gateway, 5).await?,
        Counts::of(5, 0, 0).slow()
    );
    Ok(())
}

/// What is fine is told with the next tick of the worker that saw it, every 50 ms.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn successes_are_known_to_all_workers_within_100_ms() -> Result<()> {
    const ROUNDS: u64 = 21;
    let ratio = json!({ "above": 0.5, "window": "60s", "minimum_requests": 1_000 });
    let gateway = Gateway::with("circuit_breaker").workers(4);
    let gateway = gateway.edit(|bootstrap| trip(bootstrap, json!({ "failure_ratio": ratio })));
    let gateway = gateway.start().await?;
    let mut times = Vec::new();
    for round in 1..=ROUNDS {
        assert_eq!(gateway.get(SEARCH).await?.status, 200);
        let answered = Instant::now();
        // Whichever worker is asked: it is the shared window that is shown.
        until("the success to be known", async || {
            Ok(shown(&gateway).await?["failure_ratio"]["requests"] == round)
        })
        .await?;
        times.push(answered.elapsed());
    }
    times.sort_unstable();
    let workers = gateway.admin().connections_by_worker().await?;
    println!("known after {times:?}; connections by worker: {workers:?}");
    // A machine may stop one for longer; not half of them.
    assert!(
        times[times.len() / 2] < Duration::from_millis(100),
        "{times:?}"
    );
    Ok(())
}
