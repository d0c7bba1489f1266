//! Noting of what arrives.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::app::App;
use crate::requests::ReceivedRequest;

/// Middleware: notes every request before anything else looks at it.
pub(super) async fn record(State(app): State<App>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let _stay = app.0.requests.push(ReceivedRequest::from(&parts));
    next.run(Request::from_parts(parts, body)).await
}
