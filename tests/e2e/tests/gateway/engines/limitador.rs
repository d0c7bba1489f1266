//! Limitador's HTTP API, as it is documented, over its own library.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use http::StatusCode;
use limitador::RateLimiter;
use limitador::limit::{Context, Limit, Namespace};
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A server.
pub(crate) struct Limitador {
    at: SocketAddr,
    serving: JoinHandle<()>,
}

impl Drop for Limitador {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    namespace: String,
    values: HashMap<String, String>,
    delta: u64,
    response_headers: Option<String>,
}

impl Limitador {
    /// One that knows this limit, so many in windows of so many seconds.
    pub(crate) async fn start(
        namespace: &str,
        limit: &str,
        quota: u64,
        window: u64,
    ) -> Result<Self> {
        let limiter = RateLimiter::new(1_000);
        let condition = format!("descriptors[0].limit == '{limit}'");
        let limit = Limit::new(
            namespace,
            quota,
            window,
            vec![condition.as_str().try_into()?],
            vec!["descriptors[0].key".try_into()?],
        );
        limiter.add_limit(limit);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let at = listener.local_addr()?;
        let router = Router::new()
            .route("/check_and_report", post(check_and_report))
            .route("/report", post(report))
            .with_state(Arc::new(limiter));
        let serving = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { at, serving })
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.at
    }
}

/// What a call is about, as the server binds it.
fn of_one(values: HashMap<String, String>) -> Context<'static> {
    let mut context = Context::default();
    context.list_binding("descriptors".to_owned(), vec![values]);
    context
}

async fn check_and_report(
    State(limiter): State<Arc<RateLimiter>>,
    Json(asked): Json<Asked>,
) -> Response {
    let namespace = Namespace::from(asked.namespace);
    let context = of_one(asked.values);
    let wants_headers = asked.response_headers.is_some();
    let checked = limiter.check_rate_limited_and_update(&namespace, &context, asked.delta);
    let Ok(mut checked) = checked else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let status = match checked.limited {
        true => StatusCode::TOO_MANY_REQUESTS,
        false => StatusCode::OK,
    };
    let mut response = status.into_response();
    if wants_headers {
        for (name, value) in checked.response_header() {
            if let (Ok(name), Ok(value)) = (
                http::HeaderName::from_bytes(name.to_ascii_lowercase().as_bytes()),
                http::HeaderValue::from_str(&value),
            ) {
                response.headers_mut().insert(name, value);
            }
        }
    }
    response
}

async fn report(State(limiter): State<Arc<RateLimiter>>, Json(asked): Json<Asked>) -> StatusCode {
    let namespace = Namespace::from(asked.namespace);
    let context = of_one(asked.values);
    match limiter.update_counters(&namespace, &context, asked.delta) {
        Ok(()) => StatusCode::OK,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
