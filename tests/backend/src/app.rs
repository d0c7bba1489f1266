//! What all handlers share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_service_token_verifier::Verifier;
use tokio::sync::watch;

use crate::fault::Faults;
use crate::qdrant::node::Qdrant;
use crate::requests::Requests;
use crate::role::Role;
use crate::search::Library;
use crate::upstreams::Upstreams;

/// A handle to all of it.
#[derive(Clone)]
pub(crate) struct App(pub(crate) Arc<AppState>);

pub(crate) struct AppState {
    pub(crate) role: Role,
    /// `None`: the service searches and writes by itself.
    pub(crate) upstreams: Option<Upstreams>,
    pub(crate) qdrant: Qdrant,
    pub(crate) library: Library,
    /// `None`: anybody's requests are answered.
    pub(crate) verifier: Option<Verifier>,
    pub(crate) faults: Faults,
    pub(crate) requests: Requests,
    pub(crate) event_delay: Duration,
    pub(crate) test_routes: bool,
    pub(crate) stopping: Stopping,
    pub(crate) started: Instant,
}

/// Tells when the backend is stopped or dropped.
pub(crate) struct Stopping(watch::Receiver<bool>);

impl Stopping {
    pub(crate) fn new(stopped: watch::Receiver<bool>) -> Self {
        Self(stopped)
    }

    pub(crate) async fn wait(&self) {
        // An error means that the sender is gone, hence the backend too.
        let _ = self.0.clone().wait_for(|stopped| *stopped).await;
    }
}
