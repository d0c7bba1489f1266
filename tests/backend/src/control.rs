//! The control listener, which no fault reaches, and the echo.

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, Request, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::App;
use crate::fault::{Fault, Spec};
use crate::problem::{Problem, no_such_method, no_such_route};
use crate::requests::ReceivedRequest;

/// The routes of the control listener.
pub(crate) fn router(app: &App) -> Router {
    Router::new()
        .route("/_test/requests", get(requests).delete(forget))
        .route("/_test/count", get(count))
        .route(
            "/_test/faults",
            get(fault).put(set_fault).delete(clear_fault),
        )
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method)
        .with_state(app.clone())
}

/// Answers with the request as it arrived.
pub(crate) async fn echo(request: Request) -> Json<ReceivedRequest> {
    Json(ReceivedRequest::from(&request.into_parts().0))
}

#[derive(Deserialize)]
struct Which {
    last: Option<usize>,
}

async fn requests(
    State(app): State<App>,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(which) = which.map_err(|rejection| Problem::invalid(rejection.body_text()))?;
    let requests = app.0.requests.last(which.last.unwrap_or(usize::MAX));
    Ok(Json(json!({ "requests": requests })))
}

async fn forget(State(app): State<App>) -> StatusCode {
    app.0.requests.clear();
    StatusCode::NO_CONTENT
}

async fn count(State(app): State<App>) -> Json<Value> {
    Json(json!({ "total": app.0.requests.total(), "by_path": app.0.requests.count_by_path() }))
}

async fn fault(State(app): State<App>) -> Json<Value> {
    Json(json!({ "fault": app.0.faults.current().map(Spec::from) }))
}

async fn set_fault(
    State(app): State<App>,
    spec: Result<Json<Spec>, JsonRejection>,
) -> Result<StatusCode, Problem> {
    let Json(spec) = spec.map_err(|rejection| Problem::invalid(rejection.body_text()))?;
    let fault = Fault::try_from(spec).map_err(|invalid| Problem::invalid(invalid.to_string()))?;
    app.0.faults.set(fault);
    Ok(StatusCode::NO_CONTENT)
}

async fn clear_fault(State(app): State<App>) -> StatusCode {
    app.0.faults.clear();
    StatusCode::NO_CONTENT
}
