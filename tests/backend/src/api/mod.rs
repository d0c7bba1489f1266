//! The main listener's routes: those of the RAG service, under `/api/v1/rag`, or those of what it depends on.

mod collections;
mod input;
mod query;
mod record;
mod search;

use axum::extract::{DefaultBodyLimit, State};
use axum::middleware::from_fn_with_state;
use axum::routing::{any, get};
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::app::App;
use crate::problem::{no_such_method, no_such_route};
use crate::role::Role;
use crate::{control, inject, ollama, qdrant, token};

/// The largest request body. Questions are short.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// The routes of the main listener: each request is noted, may meet a fault, and must carry the service token.
pub(crate) fn router(app: &App) -> Router {
    let mut routes = match app.0.role {
        Role::Rag => rag(),
        Role::Ollama => ollama::routes(),
        Role::Qdrant => qdrant::routes(app),
    };
    if app.0.test_routes {
        routes = routes.route("/_test/echo", any(control::echo));
    }
    // The layer added last sees a request first.
    routes
        .layer(from_fn_with_state(app.clone(), token::require))
        .layer(from_fn_with_state(app.clone(), inject::inject))
        .layer(from_fn_with_state(app.clone(), record::record))
        .with_state(app.clone())
}

fn rag() -> Router<App> {
    Router::new()
        .route(
            "/api/v1/rag/search",
            get(search::search).post(search::search),
        )
        .route("/api/v1/rag/query", get(query::query).post(query::query))
        .route("/api/v1/rag/collections", get(collections::list))
        .route("/api/v1/rag/collections/{name}", get(collections::show))
        .route("/api/v1/rag/status/health", get(health))
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
}

/// The service's own health, and what it knows of what it depends on.
async fn health(State(app): State<App>) -> Json<Value> {
    let mut health = json!({
        "status": "healthy",
        "documents": app.0.library.documents().len(),
        "uptime_seconds": app.0.started.elapsed().as_secs(),
    });
    if let (Some(upstreams), Some(shown)) = (&app.0.upstreams, health.as_object_mut()) {
        shown.insert("indexed".to_owned(), json!(upstreams.indexed()));
        if let Some(breakers) = upstreams.breakers().await {
            shown.insert("circuit_breakers".to_owned(), breakers);
        }
    }
    Json(health)
}
