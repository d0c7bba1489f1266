//! `/api/v1/rag/collections`

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use crate::app::App;
use crate::problem::Problem;

pub(super) async fn list(State(app): State<App>) -> Json<Value> {
    let mut sizes = BTreeMap::<&str, usize>::new();
    for document in app.0.library.documents() {
        let size = sizes.entry(document.collection).or_default();
        *size = size.saturating_add(1);
    }
    let collections: Vec<Value> = sizes
        .iter()
        .map(|(name, size)| json!({ "name": name, "documents": size }))
        .collect();
    Json(json!({ "collections": collections }))
}

pub(super) async fn show(
    State(app): State<App>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, Problem> {
    let Path(name) = name.map_err(|rejection| Problem::invalid(rejection.body_text()))?;
    let documents: Vec<Value> = app
        .0
        .library
        .documents()
        .iter()
        .filter(|document| document.collection == name)
        .map(|document| {
            json!({ "id": document.id, "title": document.title, "passages": document.passages.len() })
        })
        .collect();
    if documents.is_empty() {
        return Err(Problem::not_found("there is no such collection"));
    }
    Ok(Json(json!({ "name": name, "documents": documents })))
}
