//! The stand-in as OpenAI's clients meet it.

use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use portcullis_backend::{Backend, Role, Running};
use serde_json::{Value, json};

use crate::client::{json as answer, post, status};

const PROMPT: &str =
    "Probes decide when a breaker closes. Nothing else does.\n\nWhat do probes decide?";
const SAID: &str = "Probes decide when a breaker closes. Nothing else does.";
const WORDS: usize = 9;

async fn model() -> Running {
    let backend = Backend::builder().role(Role::Ollama).test_routes(true);
    backend.event_delay(Duration::ZERO).start().await.unwrap()
}

/// A chat, with what else is asked for.
fn chat(more: &Value) -> Value {
    let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": PROMPT }] });
    let more = more.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(more);
    body
}

/// What stands behind each `data: ` of a stream.
async fn events(model: &Running, path: &str, body: &Value) -> Vec<String> {
    let answer = post(model, path).json(body).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let text = answer.text().await.unwrap();
    text.lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(str::to_owned)
        .collect()
}

/// The chunks of a chat's stream, whose end is checked.
async fn chunks(model: &Running, more: &Value) -> Vec<Value> {
    let mut events = events(model, "/v1/chat/completions", &chat(more)).await;
    assert_eq!(events.pop().unwrap(), "[DONE]");
    let chunks = events.iter();
    chunks
        .map(|event| serde_json::from_str(event).unwrap())
        .collect()
}

fn said(chunks: &[Value]) -> String {
    chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str())
        .collect()
}

#[tokio::test]
async fn a_stream_says_nothing_of_what_it_used_unless_it_is_asked_for() {
    let model = model().await;
    for options in [
        json!({}),
        json!({ "stream_options": null }),
        json!({ "stream_options": {} }),
        json!({ "stream_options": { "include_usage": false } }),
    ] {
        let mut asked = options.clone();
        asked["stream"] = json!(true);
        let chunks = chunks(&model, &asked).await;
        assert_eq!(said(&chunks), SAID, "{options}");
        assert!(
            chunks.iter().all(|chunk| chunk.get("usage").is_none()),
            "{options}: {chunks:?}"
        );
        assert_eq!(
            chunks.last().unwrap()["choices"][0],
            json!({ "index": 0, "delta": {}, "finish_reason": "stop" })
        );
    }
}

#[tokio::test]
async fn a_stream_that_is_asked_says_it_in_one_more_chunk_and_null_in_all_others() {
    let model = model().await;
    let asked = json!({ "stream": true, "stream_options": { "include_usage": true } });
    let mut chunks = chunks(&model, &asked).await;
    let last = chunks.pop().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"]["completion_tokens"], WORDS);
    let usage = &last["usage"];
    assert_eq!(
        usage["total_tokens"].as_u64(),
        Some(usage["prompt_tokens"].as_u64().unwrap() + WORDS as u64)
    );
    assert_eq!(said(&chunks), SAID);
    assert!(
        chunks
            .iter()
            .all(|chunk| chunk.get("usage") == Some(&Value::Null)),
        "{chunks:?}"
    );
    assert_eq!(
        chunks.last().unwrap()["choices"][0]["finish_reason"],
        "stop"
    );
}

#[tokio::test]
async fn no_more_tokens_are_written_than_were_asked_for() {
    let model = model().await;
    for name in ["max_tokens", "max_completion_tokens"] {
        let asked = json!({ name: 4, "stream": true, "stream_options": { "include_usage": true } });
        let mut chunks = chunks(&model, &asked).await;
        let last = chunks.pop().unwrap();
        assert_eq!(last["usage"]["completion_tokens"], 4, "{name}");
        assert_eq!(said(&chunks), "Probes decide when a ", "{name}");
        let end = &chunks.last().unwrap()["choices"][0];
        assert_eq!(end["finish_reason"], "length", "{name}");
    }
    let body = chat(&json!({ "max_tokens": 4 }));
    let (_, whole) = answer(post(&model, "/v1/chat/completions").json(&body)).await;
    assert_eq!(whole["choices"][0]["finish_reason"], "length");
    assert_eq!(whole["usage"]["completion_tokens"], 4);
    let body = chat(&json!({ "max_tokens": WORDS }));
    let (_, whole) = answer(post(&model, "/v1/chat/completions").json(&body)).await;
    assert_eq!(whole["choices"][0]["finish_reason"], "stop");
}

#[tokio::test]
async fn a_response_is_whole_or_cut_short_and_says_what_it_used() {
    let model = model().await;
    let input = json!([{ "role": "user", "content": [{ "type": "input_text", "text": PROMPT }] }]);
    for input in [json!(PROMPT), input] {
        let body = json!({ "model": "m", "input": input });
        let (code, whole) = answer(post(&model, "/v1/responses").json(&body)).await;
        assert_eq!(code, 200);
        assert_eq!(whole["status"], "completed");
        assert_eq!(whole["output"][0]["content"][0]["text"], SAID);
        let usage = &whole["usage"];
        assert_eq!(usage["output_tokens"], WORDS);
        assert_eq!(usage["input_tokens"], WORDS + 4);
        assert_eq!(usage["total_tokens"], WORDS + 4 + WORDS);
        assert_eq!(usage["input_tokens_details"]["cached_tokens"], 0);
        assert_eq!(usage["output_tokens_details"]["reasoning_tokens"], 0);
    }
    let body = json!({ "model": "m", "input": PROMPT, "max_output_tokens": 4 });
    let (_, cut) = answer(post(&model, "/v1/responses").json(&body)).await;
    assert_eq!(cut["status"], "incomplete");
    assert_eq!(cut["incomplete_details"]["reason"], "max_output_tokens");
    assert_eq!(cut["usage"]["output_tokens"], 4);
}

#[tokio::test]
async fn a_response_that_is_streamed_tells_its_parts_and_ends_with_all_of_it() {
    let model = model().await;
    for (most, end) in [(100, "completed"), (4, "incomplete")] {
        let body =
            json!({ "model": "m", "input": PROMPT, "stream": true, "max_output_tokens": most });
        let events: Vec<Value> = events(&model, "/v1/responses", &body)
            .await
            .iter()
            .map(|event| serde_json::from_str(event).unwrap())
            .collect();
        let numbers: Vec<_> = events
            .iter()
            .map(|event| &event["sequence_number"])
            .collect();
        assert_eq!(numbers, (0..events.len()).collect::<Vec<_>>(), "{end}");
        let mut types: Vec<_> = events
            .iter()
            .map(|event| event["type"].as_str().unwrap())
            .collect();
        types.dedup();
        let last = format!("response.{end}");
        assert_eq!(
            types,
            [
                "response.created",
                "response.in_progress",
                "response.output_item.added",
                "response.content_part.added",
                "response.output_text.delta",
                "response.output_text.done",
                "response.content_part.done",
                "response.output_item.done",
                &last,
            ]
        );
        let said: String = events
            .iter()
            .filter_map(|event| event["delta"].as_str())
            .collect();
        let whole = events.last().unwrap();
        assert_eq!(whole["response"]["output"][0]["content"][0]["text"], said);
        assert_eq!(
            whole["response"]["usage"]["output_tokens"],
            WORDS.min(most),
            "{end}"
        );
        assert_eq!(events[0]["response"]["usage"], Value::Null);
    }
}

#[tokio::test]
async fn embeddings_say_how_long_their_texts_were_and_come_as_numbers_or_as_bytes() {
    let model = model().await;
    let ask = async |body: Value| answer(post(&model, "/v1/embeddings").json(&body)).await;
    let texts = json!(["circuit breaker probe", "CORS preflight"]);
    let (code, floats) = ask(json!({ "model": "text-embedding-3-small", "input": texts })).await;
    assert_eq!(code, 200);
    assert_eq!(floats["object"], "list");
    assert_eq!(
        floats["usage"],
        json!({ "prompt_tokens": 5, "total_tokens": 5 })
    );
    let vector = floats["data"][1]["embedding"].as_array().unwrap();
    assert_eq!(
        (vector.len(), &floats["data"][1]["index"]),
        (1_536, &json!(1))
    );
    let body =
        json!({ "model": "text-embedding-3-small", "input": texts, "encoding_format": "base64" });
    let (_, bytes) = ask(body).await;
    let bytes = bytes["data"][1]["embedding"].as_str().unwrap();
    let bytes = BASE64_STANDARD.decode(bytes).unwrap();
    let numbers = bytes.chunks(4);
    let numbers: Vec<_> = numbers
        .map(|bytes| json!(f32::from_le_bytes(bytes.try_into().unwrap())))
        .collect();
    assert_eq!(&numbers, vector);
    // Of a model that it has.
    let (_, known) = ask(json!({ "model": "all-minilm", "input": "one" })).await;
    assert_eq!(known["data"][0]["embedding"].as_array().unwrap().len(), 384);
    let none = json!({ "model": "all-minilm" });
    assert_eq!(
        status(post(&model, "/v1/embeddings").json(&none)).await,
        400
    );
}
