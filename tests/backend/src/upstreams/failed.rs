//! What is told of an upstream that failed: which one, and when to come back. Nothing that it said otherwise.

use std::fmt;

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use serde_json::json;

use crate::problem::Problem;

/// A dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upstream {
    Ollama,
    Qdrant,
}

impl Upstream {
    fn name(self) -> &'static str {
        match self {
            Self::Ollama => "Ollama",
            Self::Qdrant => "Qdrant",
        }
    }
}

/// A call that did not succeed.
#[derive(Debug)]
pub(crate) struct Failed {
    upstream: Upstream,
    /// `None`: there was no answer.
    status: Option<StatusCode>,
    /// For the log.
    reason: String,
    retry_after: Option<HeaderValue>,
}

impl Failed {
    /// Whether what was to be made is there already.
    pub(super) fn is_conflict(&self) -> bool {
        self.status == Some(StatusCode::CONFLICT)
    }

    /// There was no answer, or none that can be read.
    pub(super) fn no_answer(upstream: Upstream, reason: impl fmt::Display) -> Self {
        Self {
            upstream,
            status: None,
            reason: reason.to_string(),
            retry_after: None,
        }
    }

    /// It answered that it did not do it.
    pub(super) fn refused(upstream: Upstream, response: &reqwest::Response) -> Self {
        let status = response.status();
        // Seconds only: whatever else stands there is not ours to pass on.
        let seconds = response.headers().get(RETRY_AFTER).filter(|value| {
            let bytes = value.as_bytes();
            !bytes.is_empty() && bytes.len() <= 6 && bytes.iter().all(u8::is_ascii_digit)
        });
        Self {
            upstream,
            status: Some(status),
            reason: format!("status {}", status.as_u16()),
            retry_after: seconds.cloned(),
        }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.upstream.name(), self.reason)
    }
}

/// 503 when the upstream, or the gateway in front of it, asks to come back later; 502 for everything else.
impl From<Failed> for Problem {
    fn from(failed: Failed) -> Self {
        eprintln!(
            "{}",
            json!({ "event": "upstream_failed", "upstream": failed.upstream.name(), "error": failed.reason })
        );
        let later = [
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::TOO_MANY_REQUESTS,
        ];
        let name = failed.upstream.name();
        let problem = if failed.status.is_some_and(|status| later.contains(&status)) {
            let message = format!("{name} can't be asked at this time");
            Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "upstream_unavailable",
                message,
            )
        } else {
            Self::new(
                StatusCode::BAD_GATEWAY,
                "upstream_failed",
                format!("{name} did not answer as expected"),
            )
        };
        problem.retry_after(failed.retry_after)
    }
}
