//! The same completions as others write them: Anthropic, Gemini and Cohere; and what all of them have alike, OpenAI too.
//!
//! With test routes `x-demo-stream` says what is odd about a stream, as words with commas between them: `no-usage`, `wrong-usage`,
//! `late-usage` (a second after the text), `cut=5` (in pieces of so many bytes), `stall=3` (nothing comes behind so many tokens).

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use serde::Deserialize;
use serde_json::{Value, json};

use super::generate::{Completion, Options};
use super::{Failed, read};
use crate::app::App;

const HEADER: &str = "x-demo-stream";

/// What is odd about a stream.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Oddities {
    pub(super) no_usage: bool,
    wrong_usage: bool,
    late_usage: bool,
    cut: Option<usize>,
    stall: Option<usize>,
}

impl Oddities {
    fn asked(app: &App, headers: &HeaderMap) -> Result<Self, Failed> {
        let mut asked = Self::default();
        let Some(value) = headers.get(HEADER).filter(|_| app.0.test_routes) else {
            return Ok(asked);
        };
        let text = String::from_utf8_lossy(value.as_bytes());
        for word in text.split(',').map(str::trim) {
            let number = || word.split_once('=')?.1.parse().ok();
            match word.split('=').next().unwrap_or_default() {
                "no-usage" => asked.no_usage = true,
                "wrong-usage" => asked.wrong_usage = true,
                "late-usage" => asked.late_usage = true,
                "cut" => asked.cut = number(),
                "stall" => asked.stall = number(),
                _ => return Err(Failed::invalid(format!("{HEADER}: {word}"))),
            }
        }
        Ok(asked)
    }
}

/// A part of a stream, and how long nothing comes before it; for ever where there is none.
struct Part(Option<Duration>, String);

/// What a request asks for, in whichever field it says so.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    messages: Vec<Value>,
    contents: Vec<Value>,
    prompt: String,
    instructions: Option<String>,
    input: Value,
    pub(super) stream: bool,
    pub(super) stream_options: Option<StreamOptions>,
    max_tokens: Option<i64>,
    max_completion_tokens: Option<i64>,
    max_output_tokens: Option<i64>,
    #[serde(rename = "generationConfig")]
    generation_config: GenerationConfig,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct StreamOptions {
    pub(super) include_usage: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct GenerationConfig {
    #[serde(rename = "maxOutputTokens")]
    max_output_tokens: Option<i64>,
}

impl Asked {
    fn completion(&self, app: &App) -> Result<Completion, Failed> {
        let said = self.messages.iter().chain(&self.contents).map(text_of);
        let given = self.instructions.iter().chain([&self.prompt]).cloned();
        let prompt: Vec<_> = given.chain(said).chain([text_of(&self.input)]).collect();
        let options = Options {
            num_predict: self
                .max_completion_tokens
                .or(self.max_tokens)
                .or(self.max_output_tokens)
                .or(self.generation_config.max_output_tokens),
        };
        Completion::of(app, String::new(), &prompt.join("\n\n"), &options)
    }
}

/// All texts of a message, however it is built.
fn text_of(message: &Value) -> String {
    match message {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().map(text_of).collect(),
        Value::Object(fields) => ["content", "parts", "text"]
            .iter()
            .filter_map(|name| fields.get(*name))
            .map(text_of)
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => String::new(),
    }
}

/// Adds a field to the object at a path that there is.
pub(super) fn put(into: &mut Value, path: &[&str], what: Value) {
    match path {
        [] => *into = what,
        [name, rest @ ..] => {
            if let Some(fields) = into.as_object_mut() {
                let at = fields.entry((*name).to_owned()).or_insert(Value::Null);
                put(at, rest, what);
            }
        }
    }
}

pub(super) fn event(data: &Value) -> String {
    format!("data: {data}\n\n")
}

pub(super) fn named(data: &Value) -> String {
    let name = data.get("type").and_then(Value::as_str).unwrap_or_default();
    format!("event: {name}\ndata: {data}\n\n")
}

/// `first`, one for each token, and `last`, which may be late, as one piece after another.
pub(super) fn send(
    said: &Completion,
    odd: Oddities,
    first: Option<String>,
    each: impl Fn(&str) -> String,
    last: impl FnOnce() -> Vec<String>,
) -> Response {
    let mut parts: Vec<Part> = Vec::new();
    parts.extend(first.map(|first| Part(Some(Duration::ZERO), first)));
    let stall = odd.stall.unwrap_or(usize::MAX);
    for token in said.tokens.iter().take(stall) {
        parts.push(Part(Some(said.pause), each(token)));
    }
    if stall < said.tokens.len() {
        parts.push(Part(None, String::new()));
    } else {
        let mut late = Duration::from_secs(u64::from(odd.late_usage));
        for last in last() {
            parts.push(Part(Some(std::mem::take(&mut late)), last));
        }
    }
    let cut = odd.cut.unwrap_or(usize::MAX).max(1);
    let sent = stream::iter(parts).then(async |Part(pause, text)| {
        match pause {
            Some(pause) if pause.is_zero() => {}
            Some(pause) => tokio::time::sleep(pause).await,
            None => std::future::pending().await,
        }
        text
    });
    let pieces = sent.flat_map(move |text| {
        let pieces: Vec<_> = text
            .as_bytes()
            .chunks(cut)
            .map(|piece| Ok::<_, Infallible>(Bytes::copy_from_slice(piece)))
            .collect();
        stream::iter(pieces)
    });
    // Each piece is to go by itself.
    let apart = pieces.then(async |piece| {
        tokio::task::yield_now().await;
        piece
    });
    (
        [(CONTENT_TYPE, "text/event-stream")],
        Body::from_stream(apart),
    )
        .into_response()
}

impl Completion {
    fn used(&self, odd: Oddities) -> (usize, usize) {
        match odd.wrong_usage {
            true => (1, 1),
            false => (self.prompt_tokens, self.tokens.len()),
        }
    }
}

/// A request, and what will be said to it.
pub(super) struct Heard {
    pub(super) asked: Asked,
    pub(super) odd: Oddities,
    pub(super) said: Completion,
    /// Tokens of the prompt and of the answer, as it will tell them.
    pub(super) used: (usize, usize),
}

impl FromRequest<App> for Heard {
    type Rejection = Response;

    async fn from_request(request: Request, app: &App) -> Result<Self, Response> {
        let headers = request.headers().clone();
        let body = Bytes::from_request(request, app).await;
        let body = body.map_err(IntoResponse::into_response)?;
        Self::of(app, &headers, &body).map_err(IntoResponse::into_response)
    }
}

impl Heard {
    fn of(app: &App, headers: &HeaderMap, body: &[u8]) -> Result<Self, Failed> {
        let asked: Asked = read(body)?;
        let odd = Oddities::asked(app, headers)?;
        let said = asked.completion(app)?;
        Ok(Self {
            used: said.used(odd),
            asked,
            odd,
            said,
        })
    }
}

/// `/v1/messages` of Anthropic.
pub(super) async fn anthropic(
    Heard {
        asked,
        odd,
        said,
        used: (input, output),
    }: Heard,
) -> Response {
    if !asked.stream {
        return Json(json!({
            "id": "msg_1", "type": "message", "role": "assistant", "model": "demo",
            "content": [{ "type": "text", "text": said.tokens.concat() }],
            "usage": { "input_tokens": input, "output_tokens": output },
        }))
        .into_response();
    }
    let mut start = json!({ "type": "message_start", "message": { "id": "msg_1", "role": "assistant", "content": [] } });
    let mut delta = json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" } });
    if !odd.no_usage {
        put(
            &mut start,
            &["message", "usage"],
            json!({ "input_tokens": input, "output_tokens": 1 }),
        );
        put(&mut delta, &["usage"], json!({ "output_tokens": output }));
    }
    let each = |token: &str| {
        named(
            &json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": token } }),
        )
    };
    let last = || vec![named(&delta), named(&json!({ "type": "message_stop" }))];
    send(&said, odd, Some(named(&start)), each, last)
}

/// `…:streamGenerateContent?alt=sse` of Gemini.
pub(super) async fn gemini(
    Heard {
        odd,
        said,
        used: (input, output),
        ..
    }: Heard,
) -> Response {
    let chunk = |text: &str, output: usize| {
        let mut chunk = json!({
            "candidates": [{ "content": { "role": "model", "parts": [{ "text": text }] } }],
        });
        if !odd.no_usage {
            put(
                &mut chunk,
                &["usageMetadata"],
                json!({ "promptTokenCount": input, "candidatesTokenCount": output, "totalTokenCount": input.saturating_add(output) }),
            );
        }
        event(&chunk)
    };
    let each = |token: &str| chunk(token, 1);
    send(&said, odd, None, each, || vec![chunk("", output)])
}

/// `/v2/chat` of Cohere, as a stream.
pub(super) async fn cohere(
    Heard {
        odd,
        said,
        used: (input, output),
        ..
    }: Heard,
) -> Response {
    let mut end = json!({ "type": "message-end", "delta": { "finish_reason": "COMPLETE" } });
    if !odd.no_usage {
        put(
            &mut end,
            &["delta", "usage"],
            json!({
                "billed_units": { "input_tokens": input, "output_tokens": output },
                "tokens": { "input_tokens": input, "output_tokens": output },
            }),
        );
    }
    let start = json!({ "id": "1", "type": "message-start", "delta": { "message": { "role": "assistant", "content": [] } } });
    let each = |token: &str| {
        named(
            &json!({ "type": "content-delta", "index": 0, "delta": { "message": { "content": { "text": token } } } }),
        )
    };
    send(&said, odd, Some(named(&start)), each, || vec![named(&end)])
}
