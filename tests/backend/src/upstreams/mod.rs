//! What a RAG service depends on: a model that embeds and one that writes, at Ollama, and vectors, at Qdrant.

mod failed;
mod index;
mod lines;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use futures_util::Stream;
use reqwest::{Client, Method, RequestBuilder, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

pub(crate) use self::failed::Failed;
use self::failed::Upstream;

/// What goes with all that is asked because of a request: its id, and whom the gateway knows as its user.
const PASSED_ON: [&str; 2] = ["x-request-id", "x-user-id"];

/// For the whole of an answer of Qdrant, and of an embedding. How long a model may be silent, and how long it may write,
/// is for whoever stands in between to say.
const QDRANT_TIMEOUT: Duration = Duration::from_secs(35);
const EMBED_TIMEOUT: Duration = Duration::from_secs(90);

/// How long the health route waits for the gateway. Whoever asks for the health waits two seconds.
const BREAKERS_TIMEOUT: Duration = Duration::from_secs(1);

/// Where the upstreams are, and what is asked of them.
#[derive(Clone, Debug)]
pub struct UpstreamSettings {
    /// Ollama's address, or a gateway's before it: `http://host:port`.
    pub ollama: String,
    /// Qdrant's.
    pub qdrant: String,
    /// The collection that is searched.
    pub collection: String,
    /// The model that makes vectors of texts.
    pub embedding_model: String,
    /// The model that writes.
    pub generation_model: String,
    /// Where the gateway shows the states of its breakers.
    pub breakers: Option<String>,
}

impl UpstreamSettings {
    /// The collection and the models of the guarded system.
    #[must_use]
    pub fn new(ollama: impl Into<String>, qdrant: impl Into<String>) -> Self {
        Self {
            ollama: ollama.into(),
            qdrant: qdrant.into(),
            collection: "docs_index_mxbai".to_owned(),
            embedding_model: "mxbai-embed-large".to_owned(),
            generation_model: "llama3.2:3b".to_owned(),
            breakers: None,
        }
    }
}

/// Headers of a request that are passed on.
#[derive(Clone, Default)]
pub(crate) struct PassedOn(HeaderMap);

impl<S: Sync> FromRequestParts<S> for PassedOn {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let there = PASSED_ON.into_iter().filter_map(|name| {
            let value = parts.headers.get(name)?.clone();
            Some((HeaderName::from_static(name), value))
        });
        Ok(Self(there.collect()))
    }
}

/// The upstreams.
pub(crate) struct Upstreams {
    settings: UpstreamSettings,
    client: Client,
    indexed: AtomicBool,
}

/// A passage that was found.
#[derive(Deserialize)]
pub(crate) struct Found {
    pub(crate) score: f32,
    #[serde(default)]
    payload: Map<String, Value>,
}

impl Found {
    /// A text of the payload, which is empty where there is none.
    pub(crate) fn text(&self, key: &str) -> &str {
        self.payload
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }
}

impl Upstreams {
    pub(crate) fn new(mut settings: UpstreamSettings, client: Client) -> Self {
        for url in [&mut settings.ollama, &mut settings.qdrant] {
            url.truncate(url.trim_end_matches('/').len());
        }
        Self {
            settings,
            client,
            indexed: AtomicBool::new(false),
        }
    }

    /// Whether the collection is known to be there, with something in it.
    pub(crate) fn indexed(&self) -> bool {
        self.indexed.load(Ordering::Acquire)
    }

    /// The passages that are nearest to a text, nearest first.
    pub(crate) async fn search(
        &self,
        text: &str,
        limit: usize,
        passed: &PassedOn,
    ) -> Result<Vec<Found>, Failed> {
        #[derive(Deserialize)]
        struct Points {
            points: Vec<Found>,
        }

        let vectors = self.embed(&[text], passed).await?;
        let query = json!({ "query": vectors.first(), "limit": limit, "with_payload": true });
        let points: Points = self
            .qdrant(Method::POST, "/points/query", &query, passed)
            .await?;
        Ok(points.points)
    }

    /// What the model writes, piece by piece.
    pub(crate) async fn generate(
        &self,
        prompt: &str,
        passed: &PassedOn,
    ) -> Result<impl Stream<Item = Result<String, Failed>> + use<>, Failed> {
        let body =
            json!({ "model": self.settings.generation_model, "prompt": prompt, "stream": true });
        let url = format!("{}/api/generate", self.settings.ollama);
        let request = self.client.post(url).json(&body);
        Ok(lines::of(send(Upstream::Ollama, request, passed).await?))
    }

    /// The states of the breakers before the upstreams, as the gateway shows them; `null` where it does not.
    pub(crate) async fn breakers(&self) -> Option<Value> {
        let url = self.settings.breakers.as_ref()?;
        let asked = self.client.get(url).timeout(BREAKERS_TIMEOUT).send().await;
        let states = match asked.and_then(Response::error_for_status) {
            Ok(answer) => answer.json().await.unwrap_or_default(),
            Err(_) => Value::Null,
        };
        Some(states)
    }

    async fn embed(&self, texts: &[&str], passed: &PassedOn) -> Result<Vec<Vec<f32>>, Failed> {
        #[derive(Deserialize)]
        struct Embedded {
            embeddings: Vec<Vec<f32>>,
        }

        let body = json!({ "model": self.settings.embedding_model, "input": texts });
        let url = format!("{}/api/embed", self.settings.ollama);
        let request = self.client.post(url).timeout(EMBED_TIMEOUT).json(&body);
        let embedded: Embedded = json(
            Upstream::Ollama,
            send(Upstream::Ollama, request, passed).await?,
        )
        .await?;
        if embedded.embeddings.len() != texts.len() {
            let reason = format!(
                "{} vectors for {} texts",
                embedded.embeddings.len(),
                texts.len()
            );
            return Err(Failed::no_answer(Upstream::Ollama, reason));
        }
        Ok(embedded.embeddings)
    }

    /// Asks Qdrant for something of the collection, and unwraps the result.
    async fn qdrant<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &Value,
        passed: &PassedOn,
    ) -> Result<T, Failed> {
        #[derive(Deserialize)]
        struct Envelope<T> {
            result: T,
        }

        let UpstreamSettings {
            qdrant, collection, ..
        } = &self.settings;
        let url = format!("{qdrant}/collections/{collection}{path}");
        let mut request = self.client.request(method, url).timeout(QDRANT_TIMEOUT);
        if !body.is_null() {
            request = request.json(body);
        }
        let answer: Envelope<T> = json(
            Upstream::Qdrant,
            send(Upstream::Qdrant, request, passed).await?,
        )
        .await?;
        Ok(answer.result)
    }
}

/// Sends a request; what is returned has a status of success.
async fn send(
    upstream: Upstream,
    request: RequestBuilder,
    PassedOn(headers): &PassedOn,
) -> Result<Response, Failed> {
    let answer = request.headers(headers.clone()).send().await;
    let answer = answer.map_err(|error| Failed::no_answer(upstream, error.without_url()))?;
    if answer.status().is_success() {
        return Ok(answer);
    }
    Err(Failed::refused(upstream, &answer))
}

async fn json<T: DeserializeOwned>(upstream: Upstream, answer: Response) -> Result<T, Failed> {
    let read = answer.json().await;
    read.map_err(|error| Failed::no_answer(upstream, error.without_url()))
}
