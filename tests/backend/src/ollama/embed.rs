//! `/api/embed` and, as it was before, `/api/embeddings`.

use axum::Json;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::model::Model;
use super::{Failed, read, vector};

/// The most texts at once: their vectors are many times as long as they are.
const MAX_INPUTS: usize = 2_048;

#[derive(Deserialize)]
struct Embed {
    #[serde(default)]
    model: String,
    #[serde(default)]
    input: Input,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Input {
    One(String),
    Many(Vec<String>),
}

impl Default for Input {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

pub(super) async fn embed(body: Bytes) -> Result<Json<Value>, Failed> {
    let asked: Embed = read(&body)?;
    let model = Model::find(&asked.model)?;
    let texts = match asked.input {
        Input::One(text) if text.is_empty() => Vec::new(),
        Input::One(text) => vec![text],
        Input::Many(texts) => texts,
    };
    if texts.len() > MAX_INPUTS {
        let message = format!("input: {} texts exceed {MAX_INPUTS}", texts.len());
        return Err(Failed::invalid(message));
    }
    let embeddings: Vec<Vec<f32>> = texts
        .iter()
        .map(|text| vector::of(text, model.dimension))
        .collect();
    let words: usize = texts
        .iter()
        .map(|text| text.split_whitespace().count())
        .sum();
    Ok(Json(json!({
        "model": asked.model,
        "embeddings": embeddings,
        "total_duration": 0,
        "load_duration": 0,
        "prompt_eval_count": words,
    })))
}

#[derive(Deserialize)]
struct Embeddings {
    #[serde(default)]
    model: String,
    #[serde(default)]
    prompt: String,
}

pub(super) async fn embeddings(body: Bytes) -> Result<Json<Value>, Failed> {
    let asked: Embeddings = read(&body)?;
    let model = Model::find(&asked.model)?;
    let embedding = if asked.prompt.is_empty() {
        Vec::new()
    } else {
        vector::of(&asked.prompt, model.dimension)
    };
    Ok(Json(json!({ "embedding": embedding })))
}
