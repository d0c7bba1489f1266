//! Qdrant's HTTP API, as far as the guarded services and the migration use it, in memory and by exact search.

mod answer;
mod collections;
mod filter;
pub(crate) mod node;
mod peers;
mod point;
mod points;
mod replication;
mod store;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde_json::{Map, Value, json};

use self::answer::{Answer, ok};
pub(crate) use self::replication::catch_up;
use crate::app::App;

/// The version whose API this is.
const VERSION: &str = "1.16.0";

/// The largest request body, as Qdrant has it unless it is told otherwise.
const MAX_BODY_BYTES: usize = 32 * 1024 * 1024;

/// The routes of Qdrant.
pub(crate) fn routes(app: &App) -> Router<App> {
    // POST, too, reads on most of these: a search has a body.
    let reads = Router::new()
        .route("/collections/{name}/exists", get(collections::exists))
        .route("/collections/{name}/points", post(points::retrieve))
        .route("/collections/{name}/points/search", post(points::search))
        .route("/collections/{name}/points/query", post(points::query))
        .route("/collections/{name}/points/scroll", post(points::scroll))
        .route("/collections/{name}/points/count", post(points::count));
    let writes = Router::new()
        .route("/collections/{name}/points/delete", post(points::delete))
        .route("/collections/{name}/points", put(points::upsert))
        .route("/collections/{name}/index", put(collections::index))
        .route(
            "/collections/{name}",
            get(collections::show)
                .put(collections::create)
                .delete(collections::delete),
        )
        .layer(from_fn_with_state(app.clone(), replication::hand_on));
    Router::new()
        .route("/", get(root))
        .route("/healthz", get(async || "healthz check passed"))
        .route("/livez", get(async || "livez check passed"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/cluster", get(cluster))
        .route("/collections", get(collections::list))
        .route(peers::DUMP, get(replication::dump))
        .merge(reads)
        .merge(writes)
        .fallback(async || StatusCode::NOT_FOUND)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
}

async fn root() -> Json<Value> {
    Json(
        json!({ "title": "qdrant - vector search engine", "version": VERSION, "commit": "stand-in" }),
    )
}

/// Not before a node has what the others have: it would answer without.
async fn ready(State(app): State<App>) -> Response {
    if app.0.qdrant.peers.caught_up() {
        return "all shards are ready".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, "some shards are not ready").into_response()
}

async fn metrics(State(app): State<App>) -> String {
    let collections = app.0.qdrant.store.lock().len();
    let clustered = u8::from(!app.0.qdrant.peers.urls().is_empty());
    format!(
        "# TYPE app_info gauge\napp_info{{name=\"qdrant\",version=\"{VERSION}\"}} 1\n\
         # TYPE cluster_enabled gauge\ncluster_enabled {clustered}\n\
         # TYPE collections_total gauge\ncollections_total {collections}\n"
    )
}

async fn cluster(State(app): State<App>) -> Answer {
    let peers = &app.0.qdrant.peers;
    let urls = peers.urls();
    if urls.is_empty() {
        return ok(json!({ "status": "disabled" }));
    }
    let numbered = (1_u64..).zip(&urls);
    let shown: Map<String, Value> = numbered
        .map(|(n, url)| (n.to_string(), json!({ "uri": url })))
        .collect();
    ok(json!({
        "status": "enabled",
        "peer_id": peers.id(),
        "peers": shown,
        "raft_info": {
            "term": 0, "commit": 0, "pending_operations": 0, "leader": peers.id(), "role": "Follower", "is_voter": true,
        },
        "consensus_thread_status": { "consensus_thread_status": "working", "last_update": "2026-01-01T00:00:00Z" },
        "message_send_failures": {},
    }))
}
