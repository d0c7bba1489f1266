//! Ollama's HTTP API, as far as the guarded services use it: embeddings, completions and chats, of models that are none; and
//! the same as other vendors write them.
//!
//! A vector tells what words a text has; a completion repeats the sentences of its prompt that answer its last
//! paragraph. Nothing is learned and nothing is random, so that tests can say what comes.

mod embed;
mod generate;
mod model;
mod openai;
mod vector;
mod vendors;

use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tantivy::time::OffsetDateTime;
use tantivy::time::format_description::well_known::Rfc3339;

use crate::app::App;

/// The version whose API this is.
const VERSION: &str = "0.12.0";

/// The largest request body: a batch of texts.
const MAX_BODY_BYTES: usize = 32 * 1024 * 1024;

/// The largest prompt or chat, as a body.
const MAX_PROMPT_BYTES: usize = 1024 * 1024;

/// The routes of Ollama.
pub(crate) fn routes() -> Router<App> {
    let generating = Router::new()
        .route("/api/generate", post(generate::generate))
        .route("/api/chat", post(generate::chat))
        .route("/v1/chat/completions", post(openai::chat))
        .route("/v1/responses", post(openai::responses))
        .route("/v1/messages", post(vendors::anthropic))
        .route("/v1beta/models/{model}", post(vendors::gemini))
        .route("/v2/chat", post(vendors::cohere))
        .layer(DefaultBodyLimit::max(MAX_PROMPT_BYTES));
    Router::new()
        .route("/", get(async || "Ollama is running"))
        .route("/api/version", get(version))
        .route("/api/tags", get(model::list))
        .route("/api/embed", post(embed::embed))
        .route("/api/embeddings", post(embed::embeddings))
        .route("/v1/embeddings", post(embed::openai))
        .merge(generating)
        .fallback(async || (StatusCode::NOT_FOUND, "404 page not found"))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
}

async fn version() -> Json<Value> {
    Json(json!({ "version": VERSION }))
}

/// An error as Ollama shows it.
struct Failed(StatusCode, String);

impl Failed {
    fn invalid(message: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, message.into())
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

/// Reads a body as Ollama does, whatever `content-type` says.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failed> {
    if body.is_empty() {
        return Err(Failed::invalid("missing request body"));
    }
    serde_json::from_slice(body).map_err(|error| Failed::invalid(error.to_string()))
}

/// The time as Ollama writes it.
fn now() -> String {
    let now = OffsetDateTime::now_utc().format(&Rfc3339);
    now.unwrap_or_default()
}

/// A `content-type` for one JSON value a line.
const NDJSON: [(axum::http::HeaderName, &str); 1] = [(CONTENT_TYPE, "application/x-ndjson")];
