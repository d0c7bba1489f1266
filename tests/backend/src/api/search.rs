//! `/api/v1/rag/search`

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::input::Input;
use crate::app::App;
use crate::problem::Problem;
use crate::search::{self, Hit};
use crate::upstreams::{self, PassedOn};

/// Vectors are of passages, results are documents: so many passages are asked for, for one result.
const PASSAGES_PER_DOCUMENT: usize = 3;

#[derive(Serialize)]
pub(super) struct Found {
    query: String,
    results: Vec<FoundDocument>,
}

#[derive(Serialize)]
struct FoundDocument {
    id: String,
    title: String,
    collection: String,
    score: f32,
    snippet: String,
}

impl From<Hit<'_>> for FoundDocument {
    fn from(hit: Hit<'_>) -> Self {
        Self {
            id: hit.document.id.to_owned(),
            title: hit.document.title.to_owned(),
            collection: hit.document.collection.to_owned(),
            score: hit.score,
            snippet: hit.snippet,
        }
    }
}

impl From<&upstreams::Found> for FoundDocument {
    fn from(found: &upstreams::Found) -> Self {
        Self {
            id: found.text("id").to_owned(),
            title: found.text("title").to_owned(),
            collection: found.text("collection").to_owned(),
            score: found.score,
            snippet: search::beginning(found.text("text")),
        }
    }
}

pub(super) async fn search(
    State(app): State<App>,
    passed: PassedOn,
    input: Input,
) -> Result<Json<Found>, Problem> {
    let results = match &app.0.upstreams {
        Some(upstreams) => {
            let limit = input.limit.saturating_mul(PASSAGES_PER_DOCUMENT);
            let passages = upstreams.search(&input.q, limit, &passed).await?;
            let mut seen = BTreeSet::new();
            let documents = passages
                .iter()
                .filter(|passage| seen.insert(passage.text("id")));
            documents
                .take(input.limit)
                .map(FoundDocument::from)
                .collect()
        }
        None => {
            let hits = app.0.library.search(&input.q, input.limit);
            let hits = hits.map_err(Problem::internal)?;
            hits.into_iter().map(FoundDocument::from).collect()
        }
    };
    Ok(Json(Found {
        query: input.q,
        results,
    }))
}
