//! `/api/embed` and, as it was before, `/api/embeddings`; and OpenAI's `/v1/embeddings`.

use axum::Json;
use base64::prelude::{BASE64_STANDARD, Engine as _};
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

impl Input {
    fn texts(self) -> Result<Vec<String>, Failed> {
        let texts = match self {
            Self::One(text) if text.is_empty() => Vec::new(),
            Self::One(text) => vec![text],
            Self::Many(texts) => texts,
        };
        if texts.len() > MAX_INPUTS {
            let message = format!("input: {} texts exceed {MAX_INPUTS}", texts.len());
            return Err(Failed::invalid(message));
        }
        Ok(texts)
    }
}

/// Tokens of texts: their words.
fn words(texts: &[String]) -> usize {
    texts
        .iter()
        .map(|text| text.split_whitespace().count())
        .sum()
}

pub(super) async fn embed(body: Bytes) -> Result<Json<Value>, Failed> {
    let asked: Embed = read(&body)?;
    let model = Model::find(&asked.model)?;
    let texts = asked.input.texts()?;
    let embeddings: Vec<Vec<f32>> = texts
        .iter()
        .map(|text| vector::of(text, model.dimension))
        .collect();
    Ok(Json(json!({
        "model": asked.model,
        "embeddings": embeddings,
        "total_duration": 0,
        "load_duration": 0,
        "prompt_eval_count": words(&texts),
    })))
}

#[derive(Deserialize)]
struct OpenAi {
    #[serde(default)]
    model: String,
    input: Input,
    #[serde(default)]
    encoding_format: Format,
}

/// How a vector is written.
#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Float,
    /// Its numbers' bytes, the lowest first: what OpenAI's own clients ask for.
    Base64,
}

pub(super) async fn openai(body: Bytes) -> Result<Json<Value>, Failed> {
    /// Of `text-embedding-3-small`.
    const DIMENSION: usize = 1_536;
    let asked: OpenAi = read(&body)?;
    let dimension = Model::find(&asked.model).map_or(DIMENSION, |model| model.dimension);
    let texts = asked.input.texts()?;
    let written = |vector: Vec<f32>| match asked.encoding_format {
        Format::Float => json!(vector),
        Format::Base64 => {
            let bytes: Vec<u8> = vector.into_iter().flat_map(f32::to_le_bytes).collect();
            json!(BASE64_STANDARD.encode(bytes))
        }
    };
    let data: Vec<Value> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| {
            let vector = written(vector::of(text, dimension));
            json!({ "object": "embedding", "index": index, "embedding": vector })
        })
        .collect();
    let tokens = words(&texts);
    Ok(Json(json!({
        "object": "list", "data": data, "model": asked.model,
        "usage": { "prompt_tokens": tokens, "total_tokens": tokens },
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
