//! Several nodes as one cluster: each hands its writes on to the others, and one that starts takes over what they have.
//!
//! Every node has all points, whatever the replication factor; there is no consensus. It is enough for a gateway that
//! balances reads, and for one node being lost and coming back.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::MAX_BODY_BYTES;
use super::answer::Failed;
use super::peers::{Dump, Peers};
use crate::app::App;

/// Takes over what the first node has that can be asked. Where there is none, this one begins.
pub(crate) async fn catch_up(app: &App) {
    let peers = &app.0.qdrant.peers;
    for url in peers.urls() {
        if let Some(dump) = peers.dump(&url).await {
            app.0.qdrant.store.lock().extend(dump.collections);
            break;
        }
    }
    peers.set_caught_up();
}

pub(super) async fn dump(State(app): State<App>) -> Json<Dump> {
    let qdrant = &app.0.qdrant;
    let collections = qdrant.store.lock().clone();
    Json(Dump {
        peer_id: qdrant.peers.id(),
        collections,
    })
}

/// Middleware around writes: what was done here is done at the other nodes too, before it is answered. One that can't be
/// reached catches up when it starts again. No write is done before this node has caught up.
pub(super) async fn hand_on(State(app): State<App>, request: Request, next: Next) -> Response {
    let peers = &app.0.qdrant.peers;
    let urls = peers.urls();
    let from = Peers::sender(request.headers());
    if from.and_then(|id| id.parse().ok()) == Some(peers.id()) {
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
        peers.hand_on(&urls, &parts, &body).await;
    }
    done
}
