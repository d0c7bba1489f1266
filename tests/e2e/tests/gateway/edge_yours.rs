//! `envoy/edge.yaml` with nothing changed but what stands at its head, before a service on paths of its own: what a
//! user does who follows `docs/ten-minutes-envoy.md`.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use axum::routing::get;
use futures_util::future::try_join_all;
use futures_util::stream;
use portcullis_e2e::{Answer, Bootstrap, Gateway, repository, until};
use reqwest::Method;
use tokio::net::TcpListener;
use tokio::time::sleep;

use crate::common::{assert_problem, token};

/// Of a stream, which goes on for longer than each of the bounds below.
const PIECES: u32 = 8;
const PAUSE: Duration = Duration::from_millis(300);

/// A service that knows nothing of the demo's paths.
async fn service() -> Result<SocketAddr> {
    let pieces = || {
        let next = |piece| async move {
            sleep(PAUSE).await;
            (piece < PIECES).then(|| (Ok::<_, Infallible>(format!("{piece}\n")), piece + 1))
        };
        Body::from_stream(stream::unfold(0, next))
    };
    let routes = Router::new()
        .route("/kb/live", get(async || "alive"))
        .route("/kb/find", get(async || "found"))
        .route("/kb/find/slow", get(async || sleep(5 * PAUSE).await))
        .route("/kb/ask", get(async move || pieces()))
        .route("/kb/mute", get(std::future::pending::<()>))
        .route("/kb/bad", get(async || StatusCode::INTERNAL_SERVER_ERROR));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok(address)
}

/// The file with these values at its head.
fn yours(values: &[(&str, &str)]) -> Result<Bootstrap> {
    let text = std::fs::read_to_string(repository().join("envoy/edge.yaml"))?;
    let (head, body) = text.split_once("\nadmin:").context("no head")?;
    let mut head = head.to_owned();
    for (name, value) in values {
        let begin = format!("      {name}: &{name} ");
        let line = head.lines().find(|line| line.starts_with(&begin));
        let line = line
            .with_context(|| format!("{name} is not at the head"))?
            .to_owned();
        head = head.replace(&line, &format!("{begin}{value}"));
    }
    Bootstrap::parse(&format!("{head}\nadmin:{body}"))
}

async fn gateway() -> Result<Gateway> {
    let service = service().await?;
    let values = [
        (
            "service",
            &*format!("{{ address: 127.0.0.1, port_value: {} }}", service.port()),
        ),
        ("paths", "[{ prefix: /kb }]"),
        ("open", "[{ exact: /kb/live }]"),
        ("ready", "/kb/gateway/ready"),
        ("breakers", "/kb/gateway/breakers"),
        ("whole", "'/kb/find(/.*)?'"),
        ("timed", r"'/kb/(ask|find)(\?.*)?'"),
        ("silence", "1s"),
        ("answer", "0.7s"),
        ("idle", "2s"),
    ];
    let bootstrap = yours(&values)?;
    let replaced = |shipped: &mut Bootstrap| {
        *shipped = bootstrap;
        Ok(())
    };
    Gateway::with("edge")
        .edit(replaced)
        .upstream(service)
        .start()
        .await
}

async fn state(gateway: &Gateway) -> Result<String> {
    let answer = gateway.get_as(&token(), "/kb/gateway/breakers").await?;
    Ok(answer.json()?["rag_service"]
        .as_str()
        .context("no state")?
        .to_owned())
}

#[tokio::test]
async fn streams_that_take_long_are_not_cut_and_open_nothing() -> Result<()> {
    let gateway = gateway().await?;
    let streams = (0..6).map(|_| {
        let request = gateway.request(Method::GET, "/kb/ask").bearer_auth(token());
        async { Answer::to(request).await }
    });
    for answer in try_join_all(streams).await? {
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body.lines().count(), PIECES as usize, "{answer:?}");
    }
    assert_eq!(state(&gateway).await?, "closed");
    gateway
        .admin()
        .wait_for_metric(r#"circuit_breaker_successes{breaker="rag_service"}"#, 6)
        .await?;
    // What the dashboard shows of how long answers take.
    let timed = r#"envoy_vhost_vcluster_upstream_rq_time_count{envoy_virtual_cluster="rag_query",envoy_virtual_host="rag"}"#;
    gateway.admin().wait_for_metric(timed, 6).await
}

#[tokio::test]
async fn the_rules_the_breaker_and_the_bounds_are_those_of_the_services_own_paths() -> Result<()> {
    let gateway = gateway().await?;
    assert_eq!(gateway.get("/kb/live").await?.status, 200);
    assert_eq!(gateway.get("/kb/gateway/ready").await?.status, 200);
    assert_problem(&gateway.get("/kb/find").await?, 401, "unauthenticated");
    assert_eq!(gateway.get_as(&token(), "/kb/find").await?.status, 200);
    assert_eq!(gateway.get_as(&token(), "/kb/mute").await?.status, 504);
    assert_eq!(gateway.get_as(&token(), "/kb/find/slow").await?.status, 504);
    assert_eq!(gateway.get_as(&token(), "/kb/find").await?.status, 200);
    for _ in 0..5 {
        assert_eq!(gateway.get_as(&token(), "/kb/bad").await?.status, 500);
    }
    for _ in 0..2 {
        let refused = gateway.get_as(&token(), "/kb/bad").await?;
        assert_problem(&refused, 503, "circuit-open");
    }
    until("open", async || Ok(state(&gateway).await? == "open")).await
}
