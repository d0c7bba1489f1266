//! A gateway at the edge, one at the egress, and requests with all outcomes.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::routing::get;
use portcullis_e2e::backend::{Backend, Fault, Role, Running};
use portcullis_e2e::{
    Admin, Answer, Bootstrap, Envoy, Gateway, JWT_SECRET_KEY, Listeners, Options, PATIENCE, Token,
    envoy_binary, until,
};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::interval;

/// Requests that a client may make before it is limited.
const QUOTA: u32 = 25;

/// Slots of the model.
pub(crate) const SLOTS: u64 = 4;

/// Answers that do not tell what they used.
pub(crate) const UNREADABLE: u64 = 5;

/// Requests that go elsewhere since the model's breaker is open, before others do.
const ELSEWHERE: usize = 4;

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

/// `envoy/egress.yaml` before a model and three nodes of Qdrant, of which one is down.
pub(crate) struct Egress {
    envoy: Envoy,
    ollama: Running,
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
        let ollama = Backend::builder().role(Role::Ollama).test_routes(true);
        let ollama = ollama.event_delay(Duration::ZERO).start().await?;
        let envoy = Envoy::start(Options {
            program: envoy_binary()?,
            bootstrap: egress_before(ollama.addr(), &addresses)?,
            workers: 1,
            env: Vec::new(),
            listeners: Listeners::Static,
            drain: None,
        });
        let envoy = envoy.await?;
        Ok(Self {
            envoy,
            ollama,
            nodes,
        })
    }

    /// All that can become of what is asked of a model. Of four streams nothing comes any more while a fifth asks for a slot, the
    /// model fails until its breaker sends requests elsewhere, answers tell nothing, and a user and then the service spend their
    /// budgets.
    pub(crate) async fn ask_the_model(&self) -> Result<()> {
        let words = |number: usize| "a ".repeat(number);
        let mut streams = Vec::new();
        for _ in 0..SLOTS {
            let chat = json!({ "messages": ["What is a probe?"], "stream": true });
            let asked = self.asking("/v1/chat/completions", &chat)?;
            let stream = asked.header("x-demo-stream", "stall=1").send().await?;
            ensure!(stream.status() == 200, "{stream:?}");
            streams.push(stream);
        }
        let stalled = r#"circuit_breaker_stalled{breaker="ollama_generation"}"#;
        self.admin().wait_for_metric(stalled, SLOTS).await?;
        let ask = async |user: Option<&str>, prompt: &str| {
            let body = json!({ "model": "llama3.2:3b", "prompt": prompt, "stream": false });
            let mut request = self.asking("/api/generate", &body)?;
            if let Some(user) = user {
                request = request.header("x-user-id", user);
            }
            anyhow::Ok(Answer::to(request).await?.status)
        };
        ensure!(ask(None, "no slot").await? == 429);
        drop(streams);
        until("the slots to be free", async || {
            Ok(ask(None, "a slot").await? == 200)
        })
        .await?;

        let failed = Fault::status(StatusCode::INTERNAL_SERVER_ERROR);
        self.ollama.faults().set(failed.times(5));
        for _ in 0..5 {
            ensure!(ask(None, "it fails").await? == 500);
        }
        for _ in 0..ELSEWHERE {
            ensure!(ask(Some("bob"), "elsewhere").await? == 200);
        }
        for _ in 0..UNREADABLE {
            let silent = json!({ "messages": [], "max_tokens": 0 });
            let asked = self.asking("/v1/chat/completions", &silent)?;
            let answer = Answer::to(asked.header("x-demo-stream", "no-usage")).await?;
            ensure!(answer.status == 200, "{answer:?}");
        }

        ensure!(ask(Some("alice"), &words(99_000)).await? == 200);
        let used = ["event=usage", "limit=user_tokens", "input=99000"];
        until("what alice has used to be counted", async || {
            Ok(!self.envoy.output().with(&used).is_empty())
        })
        .await?;
        ensure!(ask(Some("alice"), "elsewhere").await? == 200);
        until("the service to have spent its budget", async || {
            Ok(ask(None, &words(30_000)).await? == 429)
        })
        .await?;
        for _ in 0..20 {
            ensure!(ask(None, &words(30_000)).await? == 429);
        }
        Ok(())
    }

    fn asking(&self, path: &str, body: &Value) -> Result<RequestBuilder> {
        let client = Client::builder().no_proxy().timeout(PATIENCE).build()?;
        let url = format!("http://{}{path}", self.envoy.gateway());
        Ok(client.post(url).json(body))
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

/// The names in `envoy/egress.yaml` are those of the stack: here there are addresses. And requests go elsewhere instead of
/// being refused.
fn egress_before(ollama: SocketAddr, qdrant: &[SocketAddr]) -> Result<Bootstrap> {
    let mut bootstrap = Bootstrap::shipped("egress")?;
    bootstrap.listen(0, 0)?;
    let limits = &mut bootstrap.filter("rate_limit")?["limits"];
    limits[1]["quota"] = json!(250_000);
    limits[2]["on_exceeded"] = json!({ "set": { "x-small": "budget" } });
    let generation = &mut bootstrap.filter("circuit_breaker")?["breakers"][1];
    generation["failures"]["stall"] = json!("100ms");
    generation["on_open"] = json!({ "set": { "x-smaller": "open" } });
    let listeners = bootstrap.at("/static_resources/listeners")?;
    for listener in listeners.as_array_mut().context("no listeners")? {
        listener["address"]["socket_address"]["port_value"] = json!(0);
    }
    let clusters = bootstrap.at("/static_resources/clusters")?;
    for cluster in clusters.as_array_mut().context("no clusters")? {
        let hosts = match cluster["name"].as_str() {
            Some("ollama") => &[ollama][..],
            _ => qdrant,
        };
        let hosts: Vec<Value> = (hosts.iter())
            .map(|host| json!({ "address": host.ip(), "port_value": host.port() }))
            .map(|address| json!({ "endpoint": { "address": { "socket_address": address } } }))
            .collect();
        cluster["type"] = json!("STATIC");
        cluster["load_assignment"]["endpoints"] = json!([{ "lb_endpoints": hosts }]);
    }
    Ok(bootstrap)
}
