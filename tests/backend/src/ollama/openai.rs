//! Completions as OpenAI writes them, and vLLM: chats and responses.

use std::cell::Cell;

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::vendors::{Heard, event, named, put, send};

/// `/v1/chat/completions`
pub(super) async fn chat(
    Heard {
        asked,
        odd,
        said,
        used: (input, output),
    }: Heard,
) -> Response {
    let usage = json!({
        "prompt_tokens": input,
        "completion_tokens": output,
        "total_tokens": input.saturating_add(output),
        "prompt_tokens_details": { "cached_tokens": 0 },
        "completion_tokens_details": { "reasoning_tokens": 0 },
    });
    let reason = if said.cut { "length" } else { "stop" };
    if !asked.stream {
        let mut answer = json!({
            "id": "chatcmpl-1", "object": "chat.completion", "model": "demo",
            "choices": [{ "index": 0, "finish_reason": reason,
                          "message": { "role": "assistant", "content": said.tokens.concat() } }],
        });
        if !odd.no_usage {
            put(&mut answer, &["usage"], usage);
        }
        return Json(answer).into_response();
    }
    let options = asked.stream_options.unwrap_or_default();
    let tells = options.include_usage && !odd.no_usage;
    let chunk = |choices: Value, usage: Value| {
        let mut chunk = json!({
            "id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "demo", "choices": choices,
        });
        // In each chunk, and null but in the last; in none where it was not asked for.
        if tells {
            put(&mut chunk, &["usage"], usage);
        }
        event(&chunk)
    };
    let choice = |delta: Value, reason: Option<&str>| {
        let choice = json!({ "index": 0, "delta": delta, "finish_reason": reason });
        chunk(json!([choice]), Value::Null)
    };
    let first = choice(json!({ "role": "assistant", "content": "" }), None);
    let each = |token: &str| choice(json!({ "content": token }), None);
    let last = || {
        let mut last = vec![choice(json!({}), Some(reason))];
        if tells {
            last.push(chunk(json!([]), usage));
        }
        last.push("data: [DONE]\n\n".to_owned());
        last
    };
    send(&said, odd, Some(first), each, last)
}

/// `/v1/responses`
pub(super) async fn responses(
    Heard {
        asked,
        odd,
        said,
        used: (input, output),
    }: Heard,
) -> Response {
    let text = |text: &str| json!({ "type": "output_text", "text": text, "annotations": [] });
    let item = |status: &str, content: Value| json!({ "id": "msg_1", "type": "message", "status": status, "role": "assistant", "content": content });
    let response = |status: &str, output: Value| {
        json!({
            "id": "resp_1", "object": "response", "model": "demo", "status": status, "error": null,
            "incomplete_details": null, "output": output, "usage": null,
        })
    };
    let whole = said.tokens.concat();
    let status = if said.cut { "incomplete" } else { "completed" };
    let done = item(status, json!([text(&whole)]));
    let mut answer = response(status, json!([done]));
    if said.cut {
        let reason = json!({ "reason": "max_output_tokens" });
        put(&mut answer, &["incomplete_details"], reason);
    }
    if !odd.no_usage {
        let usage = json!({
            "input_tokens": input,
            "input_tokens_details": { "cached_tokens": 0 },
            "output_tokens": output,
            "output_tokens_details": { "reasoning_tokens": 0 },
            "total_tokens": input.saturating_add(output),
        });
        put(&mut answer, &["usage"], usage);
    }
    if !asked.stream {
        return Json(answer).into_response();
    }
    let sent = Cell::new(0_u64);
    let event = |name: &str, mut fields: Value| {
        put(&mut fields, &["type"], json!(format!("response.{name}")));
        put(&mut fields, &["sequence_number"], json!(sent.get()));
        sent.set(sent.get().saturating_add(1));
        named(&fields)
    };
    let of_response = |name: &str, response: Value| event(name, json!({ "response": response }));
    let of_item = |name: &str, item: Value| event(name, json!({ "output_index": 0, "item": item }));
    let of_part = |name: &str, key: &str, value: Value| {
        let mut fields = json!({ "item_id": "msg_1", "output_index": 0, "content_index": 0 });
        put(&mut fields, &[key], value);
        event(name, fields)
    };
    let begun = response("in_progress", json!([]));
    let first = [
        of_response("created", begun.clone()),
        of_response("in_progress", begun),
        of_item("output_item.added", item("in_progress", json!([]))),
        of_part("content_part.added", "part", text("")),
    ];
    let each = |token: &str| of_part("output_text.delta", "delta", json!(token));
    let last = || {
        vec![
            of_part("output_text.done", "text", json!(whole)),
            of_part("content_part.done", "part", text(&whole)),
            of_item("output_item.done", done),
            of_response(status, answer),
        ]
    };
    send(&said, odd, Some(first.concat()), each, last)
}
