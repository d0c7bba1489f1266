//! A gateway at the edge, one at the egress, and requests with all outcomes.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::routing::get;
use portcullis_e2e::backend::Fault;
use portcullis_e2e::{
    Admin, Answer, Bootstrap, Envoy, Gateway, JWT_SECRET_KEY, Listeners, Options, PATIENCE, Token,
    envoy_binary, filters,
};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::interval;

/// Requests that a client may make before it is limited.
const QUOTA: u32 = 25;

pub(crate) const SEARCH: &str = "/api/v1/rag/search?q=private+words";
pub(crate) const QUERY: &str = "/api/v1/rag/query?q=private+words";
pub(crate) const HEALTH: &str = "/api/v1/rag/status/health";

/// `envoy/edge.yaml` with a limit that is soon reached.
pub(crate) async fn edge() -> Result<Gateway> {
    let gateway = Gateway::with("edge").edit(|bootstrap| {
        let limit = &mut bootstrap.filter("edge")?["rate_limit"]["limits"][0];
        limit["quota"] = json!(QUOTA);
        limit["window"] = json!("1h");
        Ok(())
    });
    gateway.start().await
}

pub(crate) fn token() -> String {
    Token::of("alice").signed(JWT_SECRET_KEY)
}

/// One request after the other: answered by the backend, without a token, without a rule, failed by
/// the backend until the breaker opens, refused by the breaker, and refused by the limit.
pub(crate) async fn all_outcomes(gateway: &Gateway) -> Result<Vec<(&'static str, Answer)>> {
    let token = token();
    let mut answers = Vec::new();
    for path in [SEARCH, SEARCH, QUERY] {
        answers.push(("forwarded", gateway.get_as(&token, path).await?));
    }
    answers.push(("forwarded", gateway.get(HEALTH).await?));
    answers.push(("unauthenticated", gateway.get(SEARCH).await?));
    answers.push(("forbidden", gateway.get_as(&token, "/other").await?));
    // 504 as the backend's own answer: 503 is the breaker's.
    gateway
        .faults()
        .set(Fault::status(StatusCode::GATEWAY_TIMEOUT).times(5));
    for _ in 0..5 {
        answers.push(("failed", gateway.get_as(&token, SEARCH).await?));
    }
    for _ in 0..3 {
        answers.push(("breaker open", gateway.get_as(&token, SEARCH).await?));
    }
    // What the breaker refused is given back.
    while answers.len() < QUOTA as usize + 3 {
        answers.push(("unauthenticated", gateway.get(SEARCH).await?));
    }
    for _ in 0..10 {
        answers.push(("limited", gateway.get_as(&token, SEARCH).await?));
    }
    for (outcome, answer) in &answers {
        ensure!(answer.status == status(outcome)?, "{outcome}: {answer:?}");
    }
    Ok(answers)
}

/// A query that the backend answers. It is the first one from this address, and no limit refuses it.
pub(crate) async fn query_from(address: Ipv4Addr, gateway: &Gateway) -> Result<()> {
    let client = Client::builder().no_proxy().timeout(PATIENCE);
    let client = client.local_address(IpAddr::from(address)).build()?;
    let request = client.get(gateway.url(QUERY)).bearer_auth(token());
    let answer = Answer::to(request).await?;
    ensure!(answer.status == 200, "{answer:?}");
    Ok(())
}

/// After all outcomes, requests that the limit refuses, so that there are some in every minute. Without a
/// token: of those that the limit may admit again after a while none is a probe of the open breaker.
pub(crate) async fn keep_refusing(gateway: &Gateway) -> Result<Infallible> {
    let mut pace = interval(Duration::from_millis(100));
    loop {
        pace.tick().await;
        let answer = gateway.get(SEARCH).await?;
        ensure!(matches!(answer.status, 429 | 401), "{answer:?}");
    }
}

/// The status that goes with an outcome.
fn status(outcome: &str) -> Result<u16> {
    let statuses = [
        ("forwarded", 200),
        ("unauthenticated", 401),
        ("forbidden", 403),
        ("failed", 504),
        ("breaker open", 503),
        ("limited", 429),
    ];
    let found = statuses.iter().find(|(name, _)| *name == outcome);
    Ok(found.context("no such outcome")?.1)
}

/// `envoy/egress.yaml` before three nodes of Qdrant, of which one is down.
pub(crate) struct Egress {
    envoy: Envoy,
    nodes: Vec<JoinHandle<()>>,
}

impl Egress {
    pub(crate) async fn start() -> Result<Self> {
        let mut addresses = Vec::new();
        let mut nodes = Vec::new();
        for _ in 0..2 {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            addresses.push(listener.local_addr()?);
            let node = Router::new().route("/readyz", get(|| async { "all shards are ready" }));
            nodes.push(tokio::spawn(async move {
                // It ends with the test.
                let _ = axum::serve(listener, node).await;
            }));
        }
        // Free a moment ago, at an address where no other test listens.
        let down = std::net::TcpListener::bind((Ipv4Addr::new(127, 0, 0, 9), 0))?;
        addresses.push(down.local_addr()?);
        drop(down);
        let envoy = Envoy::start(Options {
            program: envoy_binary()?,
            bootstrap: egress_before(&addresses)?,
            workers: 1,
            env: Vec::new(),
            listeners: Listeners::Static,
            drain: None,
        });
        let envoy = envoy.await?;
        Ok(Self { envoy, nodes })
    }

    pub(crate) fn admin(&self) -> &Admin {
        self.envoy.admin()
    }
}

impl Drop for Egress {
    fn drop(&mut self) {
        self.nodes.iter().for_each(JoinHandle::abort);
    }
}

/// The names in `envoy/egress.yaml` are those of the stack: here there are addresses.
fn egress_before(qdrant: &[SocketAddr]) -> Result<Bootstrap> {
    let mut bootstrap = Bootstrap::shipped("egress")?;
    bootstrap.listen(0, 0)?;
    let listeners = bootstrap.at("/static_resources/listeners")?;
    for listener in listeners.as_array_mut().context("no listeners")? {
        listener["address"]["socket_address"]["port_value"] = json!(0);
        // The filter's path is relative to the repository.
        let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
        let code = "/http_filters/0/typed_config/config/vm_config/code/local/filename";
        *manager.pointer_mut(code).context("no filter")? =
            json!(filters().join("circuit_breaker.wasm"));
    }
    let clusters = bootstrap.at("/static_resources/clusters")?;
    for cluster in clusters.as_array_mut().context("no clusters")? {
        let hosts: Vec<Value> = (qdrant.iter())
            .map(|host| json!({ "address": host.ip(), "port_value": host.port() }))
            .map(|address| json!({ "endpoint": { "address": { "socket_address": address } } }))
            .collect();
        cluster["type"] = json!("STATIC");
        cluster["load_assignment"]["endpoints"] = json!([{ "lb_endpoints": hosts }]);
    }
    Ok(bootstrap)
}
