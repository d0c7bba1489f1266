//! The models that are there.

use axum::Json;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::Failed;

/// A model by its name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Model {
    /// Without its tag.
    family: &'static str,
    tag: &'static str,
    /// Of its embeddings.
    pub(super) dimension: usize,
    generates: bool,
}

/// With the dimensions that the real ones have.
const MODELS: [Model; 4] = [
    Model {
        family: "mxbai-embed-large",
        tag: "latest",
        dimension: 1024,
        generates: false,
    },
    Model {
        family: "nomic-embed-text",
        tag: "latest",
        dimension: 768,
        generates: false,
    },
    Model {
        family: "all-minilm",
        tag: "latest",
        dimension: 384,
        generates: false,
    },
    Model {
        family: "llama3.2",
        tag: "3b",
        dimension: 3072,
        generates: true,
    },
];

impl Model {
    /// The model of this name, with its tag or without.
    pub(super) fn find(name: &str) -> Result<Self, Failed> {
        if name.is_empty() {
            return Err(Failed::invalid("model is required"));
        }
        let (family, tag) = name.split_once(':').unwrap_or((name, "latest"));
        let named = |model: &&Self| {
            model.family == family && (model.tag == tag || (tag == "latest" && !name.contains(':')))
        };
        MODELS.iter().find(named).copied().ok_or_else(|| {
            Failed(
                StatusCode::NOT_FOUND,
                format!("model {name:?} not found, try pulling it first"),
            )
        })
    }

    /// The same, if it writes text.
    pub(super) fn that_generates(name: &str) -> Result<Self, Failed> {
        let model = Self::find(name)?;
        if model.generates {
            return Ok(model);
        }
        Err(Failed::invalid(format!(
            "{name:?} does not support generate"
        )))
    }
}

/// `/api/tags`
pub(super) async fn list() -> Json<Value> {
    let models: Vec<Value> = MODELS
        .iter()
        .map(|model| {
            let name = format!("{}:{}", model.family, model.tag);
            json!({
                "name": name,
                "model": name,
                "modified_at": "2026-01-01T00:00:00Z",
                "size": 0,
                "digest": "0".repeat(64),
                "details": { "format": "stand-in", "family": model.family, "parameter_size": "0" },
            })
        })
        .collect();
    Json(json!({ "models": models }))
}
