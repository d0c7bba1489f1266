//! The other nodes of a cluster.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::watch;

use super::store::Collection;

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
    pub(super) peer_id: u64,
    pub(super) collections: BTreeMap<String, Collection>,
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

    /// This node has what the others have.
    pub(super) fn set_caught_up(&self) {
        self.caught_up.send_replace(true);
    }

    pub(super) async fn until_caught_up(&self) {
        // The sender is here, so that there is no error.
        let _ = self.caught_up.subscribe().wait_for(|done| *done).await;
    }

    pub(super) async fn dump(&self, url: &str) -> Option<Dump> {
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

    /// The node that handed on a request with these headers.
    pub(super) fn sender(headers: &HeaderMap) -> Option<&str> {
        headers.get(REPLICA).and_then(|id| id.to_str().ok())
    }

    /// Sends a write to the other nodes, and says of which it did not get to.
    pub(super) async fn hand_on(&self, urls: &[String], parts: &Parts, body: &Bytes) {
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let sent = urls.iter().map(|url| {
            let request = self
                .client
                .request(parts.method.clone(), format!("{url}{path}"));
            let request = request.header(REPLICA, self.id).timeout(PATIENCE);
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
}
