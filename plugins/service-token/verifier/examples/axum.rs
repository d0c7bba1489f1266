//! A backend that answers only what came through the gateway.
//!
//! `INTER_SERVICE_SECRET=… cargo run --example axum -p portcullis-service-token-verifier`

use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Extension, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::any;
use portcullis_service_token_verifier::{
    Algorithm, Secret, SignatureVerifier, TokenVerifier, Verified, Verifier, content_digest_matches,
};

const LONGEST_BODY: usize = 1024 * 1024;

/// Middleware: what the request is known by is an extension of it.
#[expect(clippy::disallowed_methods, reason = "a program has a clock")]
async fn require(
    State(verifier): State<Arc<Verifier>>,
    mut request: Request,
    next: Next,
) -> Result<Response, StatusCode> {
    let verified = verifier.verify(&request, SystemTime::now());
    let verified = verified.map_err(|error| {
        eprintln!("refused: {}: {error}", error.reason());
        error.status()
    })?;
    if verified.covers("content-digest") {
        request = with_its_body(request).await?;
    }
    request.extensions_mut().insert(verified);
    Ok(next.run(request).await)
}

/// The request, if its body is the one that was signed.
async fn with_its_body(request: Request) -> Result<Request, StatusCode> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, LONGEST_BODY).await;
    let body = body.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)?;
    let digests = parts.headers.get_all("content-digest").iter();
    let digests: Vec<&[u8]> = digests.map(|value| value.as_bytes()).collect();
    let matches = content_digest_matches(digests.join(&b", "[..]), &body);
    matches.map_err(|_| StatusCode::BAD_REQUEST)?;
    Ok(Request::from_parts(parts, Body::from(body)))
}

async fn answer(Extension(verified): Extension<Verified>) -> String {
    let caller = verified.identity().and_then(|identity| identity.caller());
    format!("hello, {}", caller.unwrap_or("whoever you are"))
}

/// The routes. The layer added last sees a request first.
pub(crate) fn app(verifier: Verifier) -> Router {
    Router::new()
        .fallback(any(answer))
        .layer(from_fn_with_state(Arc::new(verifier), require))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let secret = || {
        Secret::new(
            "2026-11",
            std::env::var("INTER_SERVICE_SECRET").unwrap_or_default(),
        )
    };
    let tokens = TokenVerifier::new(Algorithm::Hs256, [secret()?], "https://gateway.example")?;
    let signatures = SignatureVerifier::new([secret()?])?;
    let verifier = Verifier::from(tokens.audience("rag")).or(signatures);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    Ok(axum::serve(listener, app(verifier)).await?)
}
