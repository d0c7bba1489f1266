//! `/api/generate` and `/api/chat`: a line of JSON for each token, or one object when all are there.

use std::io;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value, json};

use super::model::Model;
use super::{Failed, NDJSON, now, read};
use crate::app::App;

#[derive(Deserialize)]
struct Generate {
    #[serde(default)]
    model: String,
    #[serde(default)]
    prompt: String,
    #[serde(default = "yes")]
    stream: bool,
    #[serde(default)]
    options: Options,
}

#[derive(Deserialize)]
struct Chat {
    #[serde(default)]
    model: String,
    #[serde(default)]
    messages: Vec<Message>,
    #[serde(default = "yes")]
    stream: bool,
    #[serde(default)]
    options: Options,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    content: String,
}

#[derive(Default, Deserialize)]
pub(super) struct Options {
    /// The most tokens; below zero: as many as it takes.
    pub(super) num_predict: Option<i64>,
}

fn yes() -> bool {
    true
}

pub(super) async fn generate(State(app): State<App>, body: Bytes) -> Result<Response, Failed> {
    let asked: Generate = read(&body)?;
    Model::that_generates(&asked.model)?;
    let completion = Completion::of(&app, asked.model, &asked.prompt, &asked.options)?;
    Ok(completion
        .answer(asked.stream, |text| ("response", json!(text)))
        .await)
}

pub(super) async fn chat(State(app): State<App>, body: Bytes) -> Result<Response, Failed> {
    let asked: Chat = read(&body)?;
    Model::that_generates(&asked.model)?;
    let said: Vec<&str> = asked
        .messages
        .iter()
        .map(|message| message.content.as_str())
        .collect();
    let completion = Completion::of(&app, asked.model, &said.join("\n\n"), &asked.options)?;
    let message = |text: &str| ("message", json!({ "role": "assistant", "content": text }));
    Ok(completion.answer(asked.stream, message).await)
}

/// What will be said, token by token.
pub(super) struct Completion {
    model: String,
    pub(super) tokens: Vec<String>,
    /// Whether there would be more tokens than were asked for.
    pub(super) cut: bool,
    pub(super) prompt_tokens: usize,
    pub(super) pause: Duration,
}

impl Completion {
    pub(super) fn of(
        app: &App,
        model: String,
        prompt: &str,
        options: &Options,
    ) -> Result<Self, Failed> {
        let text = app.0.library.complete(prompt).map_err(|error| {
            Failed(
                axum::http::StatusCode::INTERNAL_SERVER_ERROR,
                error.to_string(),
            )
        })?;
        let mut tokens: Vec<String> = text.split_inclusive(' ').map(str::to_owned).collect();
        let most = options
            .num_predict
            .and_then(|most| usize::try_from(most).ok());
        let cut = most.is_some_and(|most| most < tokens.len());
        tokens.truncate(most.unwrap_or(usize::MAX));
        let prompt_tokens = prompt.split_whitespace().count();
        Ok(Self {
            model,
            tokens,
            cut,
            prompt_tokens,
            pause: app.0.event_delay,
        })
    }

    /// The response, whose text stands where `put` says.
    async fn answer(
        self,
        stream: bool,
        put: impl Fn(&str) -> (&'static str, Value) + Send + 'static,
    ) -> Response {
        let pause = self.pause;
        if !stream {
            let pauses = u32::try_from(self.tokens.len()).unwrap_or(u32::MAX);
            tokio::time::sleep(pause.saturating_mul(pauses)).await;
            return Json(self.last(put(&self.tokens.concat()))).into_response();
        }
        // Line by line: a line is many times as long as its token.
        let lines = stream::unfold((self, put, 0_usize), async |(said, put, n)| {
            if n > said.tokens.len() {
                return None;
            }
            if n > 0 && !said.pause.is_zero() {
                tokio::time::sleep(said.pause).await;
            }
            let line = match said.tokens.get(n) {
                Some(token) => said.line(put(token), false),
                None => said.last(put("")),
            };
            let line = Ok::<_, io::Error>(Bytes::from(format!("{line}\n")));
            Some((line, (said, put, n.saturating_add(1))))
        });
        (NDJSON, Body::from_stream(lines)).into_response()
    }

    fn line(&self, (key, text): (&str, Value), done: bool) -> Value {
        let mut line = json!({ "model": self.model, "created_at": now(), "done": done });
        if let Some(fields) = line.as_object_mut() {
            fields.insert(key.to_owned(), text);
        }
        line
    }

    fn last(&self, text: (&str, Value)) -> Value {
        let mut line = self.line(text, true);
        let counts = json!({
            "done_reason": if self.cut { "length" } else { "stop" },
            "total_duration": 0,
            "load_duration": 0,
            "prompt_eval_count": self.prompt_tokens,
            "prompt_eval_duration": 0,
            "eval_count": self.tokens.len(),
            "eval_duration": 0,
        });
        if let (Some(line), Value::Object(counts)) = (line.as_object_mut(), counts) {
            line.extend(counts);
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::StreamExt as _;

    use super::*;

    #[tokio::test]
    async fn a_line_is_made_when_it_is_its_turn() {
        let completion = Completion {
            model: "llama3.2".to_owned(),
            tokens: vec!["a ".to_owned(); 1_000],
            cut: false,
            prompt_tokens: 1,
            pause: Duration::ZERO,
        };
        let made = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&made);
        let put = move |text: &str| {
            counted.fetch_add(1, Ordering::Relaxed);
            ("response", json!(text))
        };
        let answer = completion.answer(true, put).await;
        let mut lines = answer.into_body().into_data_stream();
        assert!(lines.next().await.is_some());
        assert_eq!(made.load(Ordering::Relaxed), 1);
        assert_eq!(lines.count().await, 1_000);
        assert_eq!(made.load(Ordering::Relaxed), 1_001);
    }
}
