//! `envoy/circuit_breaker.yaml`: what counts as a failure of the upstream, and what does not.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result};
use portcullis_e2e::backend::Fault;
use portcullis_e2e::{Bootstrap, Gateway, Placement, until};
use reqwest::{Method, StatusCode};
use serde_json::json;
use socket2::{Domain, Socket, Type};

use crate::circuit_breaker::{is_from_upstream, state, trip};
use crate::common::{SEARCH, assert_problem};

const QUERY: &str = "/api/v1/rag/query?q=circuit+breaker";
const FAILURES: &str = r#"circuit_breaker_failures{breaker="rag_service"}"#;

with_one_and_four_workers! {
    async fn connections_that_break_are_counted(workers) {
        let gateway = Gateway::with("circuit_breaker").workers(workers).start().await?;
        gateway.faults().set(Fault::drop_connection());
        opens_after_five(&gateway, SEARCH, 503).await?;
    }

    async fn connections_that_are_refused_are_counted(workers) {
        let (_held, upstream) = closed_port()?;
        let gateway = Gateway::with("circuit_breaker").workers(workers).upstream(upstream);
        opens_after_five(&gateway.start().await?, SEARCH, 503).await?;
    }

    async fn answers_that_do_not_come_in_time_are_counted(workers) {
        let gateway = Gateway::with("circuit_breaker").workers(workers).edit(impatient).start().await?;
        gateway.faults().set(Fault::black_hole());
        opens_after_five(&gateway, SEARCH, 504).await?;
    }

    async fn streams_that_do_not_begin_in_time_are_counted(workers) {
        let gateway = Gateway::with("circuit_breaker").workers(workers).edit(impatient).start().await?;
        gateway.faults().set(Fault::black_hole());
        opens_after_five(&gateway, QUERY, 504).await?;
    }

    async fn streams_that_break_off_are_counted(workers) {
        let gateway = Gateway::with("circuit_breaker").workers(workers).start().await?;
        gateway.faults().set(Fault::break_off());
        for n in 1..=5 {
            // The head has come, the rest does not.
            assert!(gateway.get(QUERY).await.is_err());
            gateway.admin().wait_for_metric(FAILURES, n).await?;
        }
        until("it to open", async || Ok(state(&gateway).await? == "open")).await?;
    }

    async fn streams_that_stall_are_counted(workers) {
        let gateway = Gateway::with("circuit_breaker").workers(workers).edit(impatient);
        let gateway = gateway.event_delay(Duration::from_secs(5)).start().await?;
        for n in 1..=5 {
            assert!(gateway.get(QUERY).await.is_err());
            gateway.admin().wait_for_metric(FAILURES, n).await?;
        }
        until("it to open", async || Ok(state(&gateway).await? == "open")).await?;
    }

    async fn clients_that_leave_are_neither_failures_nor_successes(workers) {
        let gateway = Gateway::with("circuit_breaker").workers(workers).start().await?;
        fail(&gateway, 4).await?;
        gateway.faults().set(Fault::black_hole());
        for n in 1..=6 {
            let request = gateway.request(Method::GET, SEARCH).timeout(Duration::from_millis(300));
            assert!(request.send().await.is_err_and(|error| error.is_timeout()));
            let left = "http.gateway.downstream_rq_rx_reset";
            until("Envoy to have seen it", async || {
                let stats = gateway.admin().get(&format!("/stats?filter={left}")).await?;
                Ok(stats.trim().ends_with(&format!(" {n}")))
            })
            .await?;
        }
        assert_eq!(gateway.admin().metric(FAILURES).await?, Some(4));
        assert_eq!(state(&gateway).await?, "closed");
        fail(&gateway, 1).await?;
        assert_eq!(state(&gateway).await?, "open");
    }

    async fn refusals_of_other_filters_are_neither_failures_nor_successes(workers) {
        for placement in [Placement::Before, Placement::After] {
            let gateway = Gateway::with("circuit_breaker").workers(workers).edit(|bootstrap| {
                bootstrap.put(placement, "circuit_breaker", json!({
                    "name": "envoy.filters.http.fault",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
                        "abort": { "header_abort": {}, "percentage": { "numerator": 100 } },
                    },
                }))
            });
            let gateway = gateway.start().await?;
            fail(&gateway, 4).await?;
            for status in ["503", "500", "504", "200", "404", "503"] {
                let answer = gateway.get_with(SEARCH, &[("x-envoy-fault-abort-request", status)]).await?;
                assert_eq!(answer.status.to_string(), status);
            }
            assert_eq!(gateway.requests().total(), 4);
            assert_eq!(state(&gateway).await?, "closed", "{placement:?}");
            fail(&gateway, 1).await?;
            assert_eq!(state(&gateway).await?, "open", "{placement:?}");
        }
    }
}

#[tokio::test]
async fn the_gateways_own_answers_are_not_failures() -> Result<()> {
    let gateway = Gateway::with("circuit_breaker").edit(|bootstrap| {
        let direct =
            |path: &str| json!({ "match": { "path": path }, "direct_response": { "status": 503 } });
        bootstrap.routes()?.insert(0, direct("/api/v1/rag/direct"));
        let missing =
            json!({ "match": { "path": "/api/v1/rag/gone" }, "route": { "cluster": "gone" } });
        bootstrap.routes()?.insert(0, missing);
        bootstrap.connection_manager()?["route_config"]["validate_clusters"] = json!(false);
        Ok(())
    });
    let gateway = gateway.start().await?;
    for path in ["/api/v1/rag/direct", "/api/v1/rag/gone"] {
        for _ in 0..6 {
            assert_eq!(gateway.get(path).await?.status, 503);
        }
    }
    assert_eq!(gateway.admin().metric(FAILURES).await?, Some(0));
    assert_eq!(state(&gateway).await?, "closed");
    Ok(())
}

#[tokio::test]
async fn requests_that_the_gateway_holds_back_for_its_own_bounds_are_not_failures() -> Result<()> {
    let gateway = Gateway::with("circuit_breaker").edit(|bootstrap| {
        bootstrap.at("/static_resources/clusters/0")?["circuit_breakers"] =
            json!({ "thresholds": [{ "max_requests": 0, "max_pending_requests": 0 }] });
        Ok(())
    });
    let gateway = gateway.start().await?;
    for _ in 0..6 {
        let answer = gateway.get(SEARCH).await?;
        assert_eq!(
            (answer.status, answer.header("x-envoy-overloaded")),
            (503, Some("true"))
        );
    }
    assert_eq!(gateway.requests().total(), 0);
    assert_eq!(state(&gateway).await?, "closed");
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
async fn what_a_client_did_wrong_is_a_success_of_the_upstream() -> Result<()> {
    let gateway = Gateway::with("circuit_breaker").start().await?;
    for status in [
        StatusCode::BAD_REQUEST,
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::NOT_IMPLEMENTED,
    ] {
        fail(&gateway, 4).await?;
        gateway.faults().set(Fault::status(status).times(1));
        assert_eq!(gateway.get(SEARCH).await?.status, status.as_u16());
    }
    assert_eq!(state(&gateway).await?, "closed");
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
    // Longer than the other routes would have waited.
    assert!(answer.took > Duration::from_millis(400), "{answer:?}");
    assert_eq!(gateway.admin().metric(FAILURES).await?, Some(0));
    Ok(())
}

#[tokio::test]
async fn failures_that_are_switched_off_are_not_counted() -> Result<()> {
    let gateway = Gateway::with("circuit_breaker").edit(|bootstrap| {
        bootstrap.filter("circuit_breaker")?["breakers"][0]["failures"] =
            json!({ "status": [500], "connection": false, "timeout": false });
        impatient(bootstrap)
    });
    let gateway = gateway.start().await?;
    for (fault, status) in [
        (Fault::status(StatusCode::SERVICE_UNAVAILABLE), 503),
        (Fault::drop_connection(), 503),
        (Fault::black_hole(), 504),
    ] {
        gateway.faults().set(fault);
        for _ in 0..6 {
            assert_eq!(gateway.get(SEARCH).await?.status, status);
        }
        assert_eq!(state(&gateway).await?, "closed");
    }
    Ok(())
}

/// Five requests fail, the sixth is refused.
async fn opens_after_five(gateway: &Gateway, path: &str, status: u16) -> Result<()> {
    for _ in 0..5 {
        assert_eq!(state(gateway).await?, "closed");
        let failed = gateway.get(path).await?;
        assert!(is_from_upstream(&failed, status), "{failed:?}");
    }
    assert_eq!(state(gateway).await?, "open");
    let seen = gateway.requests().total();
    assert_problem(&gateway.get(path).await?, 503, "circuit-open");
    assert_eq!(gateway.requests().total(), seen);
    gateway.admin().wait_for_metric(FAILURES, 5).await
}

/// Makes the upstream fail some times, and mends it.
async fn fail(gateway: &Gateway, times: u32) -> Result<()> {
    if times == 5 {
        return trip(gateway).await;
    }
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
        let route = &mut route["route"];
        if route["retry_policy"].is_object() {
            route["retry_policy"]["per_try_idle_timeout"] = json!("0.4s");
        } else {
            route["timeout"] = json!("0.4s");
        }
    }
    Ok(())
}

/// A port of this machine at which nobody listens, and, as long as the socket is held, nobody can.
fn closed_port() -> Result<(Socket, SocketAddr)> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    let address = socket.local_addr()?.as_socket().context("not an address")?;
    Ok((socket, address))
}
