//! What a search or a question is asked with.

use axum::extract::{FromRequest, Query, Request};
use axum::http::StatusCode;
use bytes::Bytes;
use serde::Deserialize;

use crate::problem::Problem;

/// The longest query. People ask in a sentence or two.
const MAX_QUERY_CHARS: usize = 1_000;

/// How many results are given when the caller does not say.
const DEFAULT_LIMIT: usize = 5;

/// How many results may be asked for.
const MAX_LIMIT: usize = 50;

/// A query with words to look at and a limit in 1..=50.
pub(crate) struct Input {
    pub(crate) q: String,
    pub(crate) limit: usize,
}

#[derive(Default, Deserialize)]
struct Raw {
    #[serde(alias = "query", alias = "question")]
    q: Option<String>,
    limit: Option<usize>,
}

/// From the JSON body if there is one, else from the query string.
impl<S: Send + Sync> FromRequest<S> for Input {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let from_url = Query::<Raw>::try_from_uri(request.uri());
        let body = Bytes::from_request(request, state)
            .await
            .map_err(|rejection| {
                let code = if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                    "payload_too_large"
                } else {
                    "invalid_request"
                };
                Problem::new(rejection.status(), code, rejection.body_text())
            })?;
        if body.is_empty() {
            let Query(raw) =
                from_url.map_err(|rejection| Problem::invalid(rejection.body_text()))?;
            return Self::try_from(raw);
        }
        let raw: Raw = serde_json::from_slice(&body)
            .map_err(|error| Problem::invalid(format!("the body is not as expected: {error}")))?;
        Self::try_from(raw)
    }
}

impl TryFrom<Raw> for Input {
    type Error = Problem;

    fn try_from(raw: Raw) -> Result<Self, Problem> {
        let q = raw.q.unwrap_or_default();
        if q.trim().is_empty() {
            return Err(Problem::invalid("q: the query is missing or empty"));
        }
        let chars = q.chars().count();
        if chars > MAX_QUERY_CHARS {
            return Err(Problem::invalid(format!(
                "q: {chars} characters exceed {MAX_QUERY_CHARS}"
            )));
        }
        let limit = raw.limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(Problem::invalid(format!(
                "limit: {limit} is not in 1..={MAX_LIMIT}"
            )));
        }
        Ok(Self { q, limit })
    }
}
