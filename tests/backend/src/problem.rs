//! Errors as callers see them.

use axum::Json;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// A refusal with a JSON body `{"error": code, "message": text}`.
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    message: String,
    retry_after: Option<HeaderValue>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            retry_after: None,
        }
    }

    /// What callers tell problems apart by.
    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    /// Says when to come back.
    pub(crate) fn retry_after(mut self, seconds: Option<HeaderValue>) -> Self {
        self.retry_after = seconds;
        self
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// The reason goes to the log; the caller learns only that it was not their fault.
    pub(crate) fn internal(reason: impl std::fmt::Display) -> Self {
        eprintln!(
            "{}",
            json!({ "event": "internal_error", "error": reason.to_string() })
        );
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal_error",
            "the request could not be processed",
        )
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Json(json!({ "error": self.code, "message": self.message }));
        let mut response = (self.status, body).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, seconds);
        }
        response
    }
}

/// For routers: no such route.
pub(crate) async fn no_such_route() -> Problem {
    Problem::not_found("there is no such route")
}

/// For routers: a known route, another method.
pub(crate) async fn no_such_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "the route does not take this method",
    )
}
