//! Several nodes as one cluster: each hands its writes on to the others, and one that starts takes over what they have.
//!
//! Every node has all points, whatever the replication factor; there is no consensus. It is enough for a gateway that
//! balances reads, and for one node being lost and coming back.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::watch;

use super::MAX_BODY_BYTES;
use super::answer::Failed;
use super::store::Collection;
use crate::backend::App;

/// Marks a write that another node hands on.
const REPLICA: &str = "x-demo-replica";

/// Where a node shows all that it has.
pub(super) const DUMP: &str = "/_test/collections";

/// How long a node waits for another.
const PATIENCE: Duration = Duration::from_secs(2);

/// The other nodes.
pub(crate) struct Peers {
    urls: Mutex<Vec<String>>,
    /// Tells a node from the others where it is named among them.
    id: u64,
    client: reqwest::Client,
    /// Whether this node has what the others have.
    caught_up: watch::Sender<bool>,
}

#[derive(Deserialize, Serialize)]
pub(super) struct Dump {
    peer_id: u64,
    collections: BTreeMap<String, Collection>,
}

impl Peers {
    pub(super) fn new(client: reqwest::Client, urls: Vec<String>) -> Self {
        let (id, _) = uuid::Uuid::new_v4().as_u64_pair();
        let caught_up = watch::Sender::new(urls.is_empty());
        Self {
            urls: Mutex::new(urls),
            id,
            client,
            caught_up,
        }
    }

    pub(crate) fn set(&self, urls: Vec<String>) {
        *self.urls.lock().unwrap_or_else(PoisonError::into_inner) = urls;
    }

    pub(super) fn urls(&self) -> Vec<String> {
        self.urls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn caught_up(&self) -> bool {
        *self.caught_up.borrow()
    }

    async fn until_caught_up(&self) {
        // The sender is here, so that there is no error.
        let _ = self.caught_up.subscribe().wait_for(|done| *done).await;
    }

    async fn dump(&self, url: &str) -> Option<Dump> {
        let asked = self.client.get(format!("{url}{DUMP}")).timeout(PATIENCE);
        let dump: Dump = asked
            .send()
            .await
            .ok()?
            .error_for_status()
            .ok()?
            .json()
            .await
            .ok()?;
        (dump.peer_id != self.id).then_some(dump)
    }
}

/// Takes over what the first node has that can be asked. Where there is none, this one begins.
pub(crate) async fn catch_up(app: &App) {
    let peers = &app.0.qdrant.peers;
    for url in peers.urls() {
        if let Some(dump) = peers.dump(&url).await {
            app.0.qdrant.store.lock().extend(dump.collections);
            break;
        }
    }
    peers.caught_up.send_replace(true);
}

pub(super) async fn dump(State(app): State<App>) -> Json<Dump> {
    let qdrant = &app.0.qdrant;
    let collections = qdrant.store.lock().clone();
    Json(Dump {
        peer_id: qdrant.peers.id,
        collections,
    })
}

/// Middleware around writes: what was done here is done at the other nodes too, before it is answered. One that can't be
/// reached catches up when it starts again. No write is done before this node has caught up.
pub(super) async fn hand_on(State(app): State<App>, request: Request, next: Next) -> Response {
    let peers = &app.0.qdrant.peers;
    let urls = peers.urls();
    let from = request
        .headers()
        .get(REPLICA)
        .and_then(|id| id.to_str().ok());
    if from.and_then(|id| id.parse().ok()) == Some(peers.id) {
        // By itself, which has done it.
        return StatusCode::OK.into_response();
    }
    if !request.method().is_safe() {
        // What is taken over may be older than this write, and is not to undo it.
        peers.until_caught_up().await;
    }
    if urls.is_empty() || request.method().is_safe() || from.is_some() {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, MAX_BODY_BYTES).await else {
        return Failed::wrong_input("the body can't be read").into_response();
    };
    let done = next
        .run(Request::from_parts(parts.clone(), body.clone().into()))
        .await;
    if done.status() == StatusCode::OK {
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let sent = urls.iter().map(|url| {
            let request = peers
                .client
                .request(parts.method.clone(), format!("{url}{path}"));
            let request = request.header(REPLICA, peers.id).timeout(PATIENCE);
            request.body(body.clone()).send()
        });
        for (url, sent) in urls.iter().zip(join_all(sent).await) {
            if let Err(error) = sent.and_then(reqwest::Response::error_for_status) {
                let error = error.without_url().to_string();
                eprintln!(
                    "{}",
                    json!({ "event": "not_replicated", "peer": url, "error": error })
                );
            }
        }
    }
    done
}
