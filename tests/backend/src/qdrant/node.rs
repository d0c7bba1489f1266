//! What a node of Qdrant has.

use super::peers::Peers;
use super::store::Store;

/// Its points, and whom it shares them with.
pub(crate) struct Qdrant {
    pub(super) store: Store,
    pub(crate) peers: Peers,
}

impl Qdrant {
    pub(crate) fn new(client: reqwest::Client, peers: Vec<String>) -> Self {
        Self {
            store: Store::default(),
            peers: Peers::new(client, peers),
        }
    }
}
