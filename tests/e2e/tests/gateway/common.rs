//! What several scenarios need.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use portcullis_e2e::backend::ReceivedRequest;
use portcullis_e2e::{Answer, Gateway, JWT_SECRET_KEY, Token};
use reqwest::{Method, RequestBuilder};
use tokio::task::JoinSet;

/// A path that every filter lets pass, to a good request.
pub(crate) const SEARCH: &str = "/api/v1/rag/search?q=circuit+breaker";

/// The route that is open to all.
pub(crate) const HEALTH: &str = "/api/v1/rag/status/health";

/// Checks that an answer is a problem document as all refusals are (RFC 9457), with the request's
/// id in it and nothing else.
#[track_caller]
pub(crate) fn assert_problem(answer: &Answer, status: u16, kind: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json"),
        "{answer:?}"
    );
    let problem = answer.json().unwrap();
    assert_eq!(
        problem["type"],
        format!("urn:portcullis:problem/{kind}"),
        "{problem}"
    );
    assert_eq!(problem["status"], status, "{problem}");
    assert!(problem["title"].is_string(), "{problem}");
    let id = answer.header("x-request-id");
    assert!(
        id.is_some() && problem["request_id"].as_str() == id,
        "{problem} {id:?}"
    );
    assert_eq!(
        problem.as_object().map(serde_json::Map::len),
        Some(4),
        "{problem}"
    );
}

pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);

/// Waits, if need be, until this much is left of a fixed window of that length, so that what follows is
/// counted in one.
pub(crate) async fn early_in(window: Duration, left: Duration) -> Result<()> {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let elapsed =
        Duration::from_millis(u64::try_from(since_1970.as_millis() % window.as_millis())?);
    let until_next = window - elapsed;
    if until_next < left {
        tokio::time::sleep(until_next + Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Sends `total` requests over `connections` connections that stay open, as fast as they are
/// answered, and counts the statuses.
pub(crate) async fn flood(
    gateway: &Gateway,
    connections: usize,
    total: usize,
    ask: fn(RequestBuilder) -> RequestBuilder,
) -> Result<BTreeMap<u16, usize>> {
    if !total.is_multiple_of(connections) {
        bail!("{total} requests are not the same number on each of {connections} connections");
    }
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        // A client of its own, so that none waits for another's connection.
        let client = reqwest::Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(1)
            .build()?;
        let url = gateway.url(SEARCH);
        tasks.spawn(async move {
            let mut statuses = Vec::new();
            for _ in 0..total / connections {
                statuses.push(
                    Answer::to(ask(client.request(Method::GET, &url)))
                        .await?
                        .status,
                );
            }
            anyhow::Ok(statuses)
        });
    }
    let mut counts = BTreeMap::new();
    while let Some(statuses) = tasks.join_next().await {
        for status in statuses?? {
            *counts.entry(status).or_default() += 1;
        }
    }
    Ok(counts)
}

/// A preflight as browsers send it.
pub(crate) async fn preflight(gateway: &Gateway, path: &str) -> Result<Answer> {
    let request = gateway.request(Method::OPTIONS, path);
    let request = request.header("origin", "http://localhost:3103");
    Answer::to(request.header("access-control-request-method", "POST")).await
}

/// A token that is good in every respect.
pub(crate) fn token() -> String {
    Token::of("alice").signed(JWT_SECRET_KEY)
}

/// All values that a backend could take for those of this header: HTTP servers that hand headers
/// over as variables write `-` and `_` alike.
pub(crate) fn spelled_like<'a>(received: &'a ReceivedRequest, header: &str) -> Vec<&'a str> {
    let folded = |name: &str| name.to_ascii_lowercase().replace('_', "-");
    let lines = received
        .headers
        .iter()
        .filter(|(name, _)| folded(name) == folded(header));
    lines.map(|(_, value)| value.as_str()).collect()
}

/// Makes a gRPC call; gives back the HTTP status and the gRPC status.
pub(crate) async fn grpc_status(gateway: &Gateway, path: &str) -> Result<(u16, String)> {
    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    // An empty message: no compression, no length.
    let body = "\0\0\0\0\0".to_owned();
    let request = http::Request::post(gateway.url(path))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body)?;
    let response = client.request(request).await?;
    let status = response
        .headers()
        .get("grpc-status")
        .map(|status| status.to_str())
        .transpose()?;
    Ok((
        response.status().as_u16(),
        status.unwrap_or("none in the headers").to_owned(),
    ))
}
