//! Answers and errors as Qdrant shows them.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// What a handler returns.
pub(super) type Answer = Result<Json<Value>, Failed>;

/// A result in its envelope.
pub(super) fn ok(result: impl Serialize) -> Answer {
    Ok(Json(
        json!({ "result": result, "status": "ok", "time": 0.0 }),
    ))
}

/// An error in its envelope.
#[derive(Debug)]
pub(super) struct Failed(StatusCode, String);

impl Failed {
    pub(super) fn wrong_input(what: impl std::fmt::Display) -> Self {
        Self(StatusCode::BAD_REQUEST, format!("Wrong input: {what}"))
    }

    pub(super) fn no_collection(name: &str) -> Self {
        let message = format!("Not found: Collection `{name}` doesn't exist!");
        Self(StatusCode::NOT_FOUND, message)
    }

    pub(super) fn no_point(id: impl std::fmt::Display) -> Self {
        let message = format!("Not found: Point with id {id} does not exists!");
        Self(StatusCode::NOT_FOUND, message)
    }

    pub(super) fn exists(name: &str) -> Self {
        let message = format!("Wrong input: Collection `{name}` already exists!");
        Self(StatusCode::CONFLICT, message)
    }

    pub(super) fn dimension(expected: usize, got: usize) -> Self {
        Self::wrong_input(format!(
            "Vector dimension error: expected dim: {expected}, got {got}"
        ))
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let body = json!({ "status": { "error": self.1 }, "time": 0.0 });
        (self.0, Json(body)).into_response()
    }
}

/// Reads a body.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failed> {
    serde_json::from_slice(body).map_err(|error| {
        let message = format!("Format error in JSON body: {error}");
        Failed(StatusCode::BAD_REQUEST, message)
    })
}
