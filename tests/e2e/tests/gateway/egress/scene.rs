//! A model and a cluster, as stand-ins, and the gateway before them.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use portcullis_e2e::backend::{Backend, Fault, Role, Running};
use portcullis_e2e::{Answer, Bootstrap, Gateway, until};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

/// The points of the collection.
pub(super) const POINTS: &str = "/collections/docs/points";

/// A model, three nodes, and the gateway before them.
pub(super) struct Scene {
    pub(super) gateway: Gateway,
    pub(super) ollama: Running,
    pub(super) nodes: Vec<Running>,
    /// Where the gateway listens for each.
    pub(super) ollama_url: String,
    pub(super) qdrant_url: String,
}

impl Scene {
    pub(super) async fn set(workers: u32) -> Result<Self> {
        Self::with(workers, Duration::ZERO, |_| Ok(())).await
    }

    pub(super) async fn with(
        workers: u32,
        token_delay: Duration,
        edit: impl FnOnce(&mut Bootstrap) -> Result<()>,
    ) -> Result<Self> {
        let ollama = Backend::builder()
            .role(Role::Ollama)
            .event_delay(token_delay);
        let ollama = ollama.start().await?;
        let mut nodes = Vec::new();
        for _ in 0..3 {
            nodes.push(Backend::builder().role(Role::Qdrant).start().await?);
        }
        for node in &nodes {
            node.set_peers(nodes.iter().map(url));
        }
        fill(&nodes[0]).await?;
        let gateway = Gateway::with("egress")
            .workers(workers)
            .upstream(ollama.addr())
            .edit(|bootstrap| {
                place(bootstrap, &nodes)?;
                edit(bootstrap)
            });
        let gateway = gateway.start().await?;
        let ollama_url = listener(&gateway, "ollama").await?;
        let qdrant_url = listener(&gateway, "qdrant").await?;
        let scene = Self {
            gateway,
            ollama,
            nodes,
            ollama_url,
            qdrant_url,
        };
        scene.until_healthy(3).await?;
        Ok(scene)
    }

    /// So many nodes get requests.
    pub(super) async fn until_healthy(&self, nodes: u64) -> Result<()> {
        until(&format!("{nodes} nodes to be healthy"), async || {
            let healthy = self
                .gateway
                .admin()
                .stat("cluster.qdrant.membership_healthy")
                .await?;
            Ok(healthy == Some(nodes))
        })
        .await
    }

    pub(super) async fn search(&self) -> Result<Answer> {
        Answer::to(self.searching()).await
    }

    fn searching(&self) -> RequestBuilder {
        let url = format!("{}{POINTS}/query", self.qdrant_url);
        client()
            .post(url)
            .json(&json!({ "query": [1, 2], "limit": 1 }))
    }

    pub(super) async fn upsert(&self) -> Result<Answer> {
        let points = json!({ "points": [{ "id": 9, "vector": [1, 2] }] });
        let request = client().put(format!("{}{POINTS}?wait=true", self.qdrant_url));
        Answer::to(request.json(&points)).await
    }

    pub(super) fn generating(&self) -> RequestBuilder {
        self.generating_of(
            "Probes decide when a breaker closes, and nothing else.\n\nWhat do probes do?",
        )
    }

    pub(super) fn generating_of(&self, prompt: &str) -> RequestBuilder {
        let url = format!("{}/api/generate", self.ollama_url);
        client()
            .post(url)
            .json(&json!({ "model": "llama3.2:3b", "prompt": prompt }))
    }

    pub(super) async fn embed(&self) -> Result<Answer> {
        let body = json!({ "model": "mxbai-embed-large", "input": "x" });
        Answer::to(
            client()
                .post(format!("{}/api/embed", self.ollama_url))
                .json(&body),
        )
        .await
    }

    /// What both listeners show.
    pub(super) async fn breakers(&self) -> Result<String> {
        let mut shown = Vec::new();
        for url in [&self.ollama_url, &self.qdrant_url] {
            let states = Answer::to(client().get(format!("{url}/breakers"))).await?;
            ensure!(states.status == 200, "{states:?}");
            shown.push(states.body);
        }
        ensure!(shown[0] == shown[1], "{shown:?}");
        Ok(shown.remove(0))
    }

    /// Makes generation fail five times.
    pub(super) async fn trip_generation(&self) -> Result<()> {
        let fault = Fault::status(StatusCode::INTERNAL_SERVER_ERROR).on("/api/generate");
        self.ollama.faults().set(fault);
        for _ in 0..5 {
            assert_eq!(Answer::to(self.generating()).await?.status, 500);
        }
        self.ollama.faults().clear();
        Ok(())
    }
}

/// A connection for each request, so that one after another they reach all workers.
pub(super) fn client() -> reqwest::Client {
    let client = reqwest::Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(0);
    client
        .timeout(Duration::from_secs(20))
        .build()
        .expect("a client")
}

pub(super) fn url(backend: &Running) -> String {
    format!("http://{}", backend.addr())
}

/// What `Gateway` does for the first listener and the first host only.
fn place(bootstrap: &mut Bootstrap, nodes: &[Running]) -> Result<()> {
    const LISTENER: &str = "/static_resources/listeners/1";
    *bootstrap.at(&format!("{LISTENER}/address/socket_address/port_value"))? = json!(0);
    for (n, node) in nodes.iter().enumerate() {
        let host = "/static_resources/clusters/1/load_assignment/endpoints/0/lb_endpoints";
        let address: SocketAddr = node.addr();
        *bootstrap.at(&format!("{host}/{n}/endpoint/address/socket_address"))? =
            json!({ "address": address.ip().to_string(), "port_value": address.port() });
    }
    Ok(())
}

async fn listener(gateway: &Gateway, name: &str) -> Result<String> {
    let all: Value = serde_json::from_str(&gateway.admin().get("/listeners?format=json").await?)?;
    let all = all["listener_statuses"]
        .as_array()
        .context("no listeners")?;
    let found = all
        .iter()
        .find(|listener| listener["name"] == name)
        .context("no such listener")?;
    let address = &found["local_address"]["socket_address"];
    Ok(format!("http://127.0.0.1:{}", address["port_value"]))
}

/// A collection of a few points.
async fn fill(node: &Running) -> Result<()> {
    let put = async |path: &str, body: Value| {
        let request = client().request(Method::PUT, format!("{}{path}", url(node)));
        anyhow::Ok(request.json(&body).send().await?.error_for_status()?)
    };
    put(
        "/collections/docs",
        json!({ "vectors": { "size": 2, "distance": "Cosine" } }),
    )
    .await?;
    let points: Vec<Value> = (0..4)
        .map(|n| json!({ "id": n, "vector": [1, n] }))
        .collect();
    put(POINTS, json!({ "points": points })).await?;
    Ok(())
}
