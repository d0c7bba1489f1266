//! `/api/v1/rag/search`

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::input::Input;
use crate::backend::App;
use crate::problem::Problem;
use crate::search::Hit;

#[derive(Serialize)]
pub(super) struct Found {
    query: String,
    results: Vec<FoundDocument>,
}

#[derive(Serialize)]
struct FoundDocument {
    id: &'static str,
    title: &'static str,
    collection: &'static str,
    score: f32,
    snippet: String,
}

impl From<Hit<'_>> for FoundDocument {
    fn from(hit: Hit<'_>) -> Self {
        Self {
            id: hit.document.id,
            title: hit.document.title,
            collection: hit.document.collection,
            score: hit.score,
            snippet: hit.snippet,
        }
    }
}

pub(super) async fn search(State(app): State<App>, input: Input) -> Result<Json<Found>, Problem> {
    let hits = app
        .0
        .library
        .search(&input.q, input.limit)
        .map_err(Problem::internal)?;
    let results = hits.into_iter().map(FoundDocument::from).collect();
    Ok(Json(Found {
        query: input.q,
        results,
    }))
}
