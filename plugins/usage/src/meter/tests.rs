use super::*;

/// What an answer used, however it is cut.
fn used(content_type: &str, body: &str) -> Counts {
    let vendors = Vendors::known().unwrap();
    let read = |size: usize| {
        let mut meter = Meter::of(content_type.as_bytes(), b"");
        assert!(meter.is_readable());
        for chunk in body.as_bytes().chunks(size) {
            meter.feed(&vendors, chunk);
        }
        meter.end(&vendors);
        meter.counts()
    };
    let whole = read(body.len().max(1));
    for size in 1..body.len() {
        assert_eq!(read(size), whole, "by {size}: {body}");
    }
    whole
}

fn events(data: &[&str]) -> String {
    data.iter()
        .map(|data| format!("data: {data}\n\n"))
        .collect()
}

const fn counts(input: u64, cached: u64, output: u64, reasoning: u64, content: u64) -> Counts {
    Counts {
        input: Some(input),
        cached,
        output: Some(output),
        reasoning,
        content,
    }
}

const SSE: &str = "text/event-stream; charset=utf-8";
const JSON: &str = "application/json";

#[test]
fn openai_chat_completions_whole_and_streamed() {
    let whole = r#"{"id":"chatcmpl-1","object":"chat.completion","model":"gpt-4.1",
        "choices":[{"index":0,"message":{"role":"assistant","content":"Hello there","refusal":null},"finish_reason":"stop"}],
        "usage":{"prompt_tokens":1200,"completion_tokens":250,"total_tokens":1450,
            "prompt_tokens_details":{"cached_tokens":1024,"audio_tokens":0},
            "completion_tokens_details":{"reasoning_tokens":200,"audio_tokens":0}}}"#;
    assert_eq!(used(JSON, whole), counts(176, 1024, 250, 200, 11));

    let stream = events(&[
        r#"{"id":"1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}"#,
        r#"{"id":"1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"Grü"},"finish_reason":null}],"usage":null}"#,
        r#"{"id":"1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"\u00dfe"},"finish_reason":null}],"usage":null}"#,
        r#"{"id":"1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}"#,
        r#"{"id":"1","object":"chat.completion.chunk","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":12,"total_tokens":21}}"#,
        "[DONE]",
    ]);
    assert_eq!(used(SSE, &stream), counts(9, 0, 12, 0, 7));
}

#[test]
fn vllm_tells_what_was_used_so_far_with_each_chunk() {
    let chunk = |text: &str, tokens: u32| {
        format!(
            r#"{{"choices":[{{"index":0,"delta":{{"reasoning_content":"{text}"}}}}],"usage":{{"prompt_tokens":20,"total_tokens":{},"completion_tokens":{tokens}}}}}"#,
            20 + tokens
        )
    };
    let (first, second) = (chunk("a", 1), chunk("bc", 2));
    assert_eq!(
        used(SSE, &events(&[&first, &second])),
        counts(20, 0, 2, 0, 3)
    );
    // Broken off, and told in the wrong order: what was used is never less than what was told.
    assert_eq!(
        used(SSE, &events(&[&second, &first])),
        counts(20, 0, 2, 0, 3)
    );
}

#[test]
fn openai_tool_calls_and_legacy_completions_have_text() {
    let call = r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"name":"f","arguments":"{\"a\""}}]}}]}"#;
    let text = r#"{"choices":[{"text":" world","index":0}]}"#;
    let found = used(SSE, &events(&[call, text]));
    assert_eq!((found.input, found.output, found.content), (None, None, 10));
}

#[test]
fn openai_embeddings_use_input_alone() {
    let body = r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.0023,-0.0093,1e-5]}],
        "model":"text-embedding-3-small","usage":{"prompt_tokens":8,"total_tokens":8}}"#;
    let found = used(JSON, body);
    assert_eq!(
        (found.input, found.output, found.content),
        (Some(8), None, 0)
    );
}

#[test]
fn openai_responses_whole_and_streamed() {
    let usage = r#""usage":{"input_tokens":100,"input_tokens_details":{"cached_tokens":64},"output_tokens":30,"output_tokens_details":{"reasoning_tokens":10},"total_tokens":130}"#;
    let whole = format!(
        r#"{{"id":"resp_1","object":"response","status":"completed","output":[{{"type":"reasoning","summary":[]}},{{"type":"message","role":"assistant","content":[{{"type":"output_text","text":"Hi!","annotations":[]}}]}}],{usage}}}"#
    );
    assert_eq!(used(JSON, &whole), counts(36, 64, 30, 10, 3));

    let completed = format!(
        r#"{{"type":"response.completed","response":{{"id":"resp_1","output":[{{"content":[{{"text":"Hi!"}}]}}],{usage}}}}}"#
    );
    let stream = [
        (
            "response.created",
            r#"{"type":"response.created","response":{"id":"resp_1","usage":null}}"#,
        ),
        (
            "response.output_text.delta",
            r#"{"type":"response.output_text.delta","output_index":0,"delta":"Hi"}"#,
        ),
        (
            "response.output_text.delta",
            r#"{"type":"response.output_text.delta","output_index":0,"delta":"!"}"#,
        ),
        (
            "response.output_text.done",
            r#"{"type":"response.output_text.done","text":"Hi!"}"#,
        ),
        ("response.completed", &*completed),
    ];
    let stream: String = stream
        .iter()
        .map(|(event, data)| format!("event: {event}\ndata: {data}\n\n"))
        .collect();
    assert_eq!(used(SSE, &stream), counts(36, 64, 30, 10, 3));
}

#[test]
fn ollama_generate_chat_and_embed() {
    let generate = concat!(
        r#"{"model":"llama3.2","created_at":"2026-11-01T08:52:19Z","response":"The","done":false}"#,
        "\n",
        r#"{"model":"llama3.2","created_at":"2026-11-01T08:52:19Z","response":" sky","done":false}"#,
        "\n",
        r#"{"model":"llama3.2","created_at":"2026-11-01T08:52:20Z","response":"","done":true,"done_reason":"stop","context":[1,2,3],"total_duration":10706818083,"load_duration":6338219291,"prompt_eval_count":26,"prompt_eval_duration":130079000,"eval_count":259,"eval_duration":4232710000}"#,
        "\n",
    );
    assert_eq!(
        used("application/x-ndjson", generate),
        counts(26, 0, 259, 0, 7)
    );

    let chat = concat!(
        r#"{"model":"q","message":{"role":"assistant","content":"","thinking":"hm"},"done":false}"#,
        "\n",
        r#"{"model":"q","message":{"role":"assistant","content":"Yes"},"done":false}"#,
        "\n",
        r#"{"model":"q","message":{"role":"assistant","content":""},"done":true,"eval_count":4}"#,
        "\n",
    );
    // A prompt that lies in its cache whole is left out.
    let found = used("application/x-ndjson", chat);
    assert_eq!(
        (found.input, found.output, found.content),
        (None, Some(4), 5)
    );

    let embed = r#"{"model":"all-minilm","embeddings":[[0.01,-0.002]],"total_duration":14143917,"load_duration":1019500,"prompt_eval_count":8}"#;
    let found = used(JSON, embed);
    assert_eq!((found.input, found.output), (Some(8), None));
}

#[test]
fn anthropic_messages_whole_and_streamed() {
    let whole = r#"{"id":"msg_1","type":"message","role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"x"},{"type":"text","text":"Hi!"}],
        "usage":{"input_tokens":21,"cache_creation_input_tokens":188,"cache_read_input_tokens":1000,"output_tokens":393}}"#;
    assert_eq!(used(JSON, whole), counts(209, 1000, 393, 0, 5));

    let stream = concat!(
        "event: message_start\n",
        r#"data: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","content":[],"usage":{"input_tokens":25,"cache_read_input_tokens":10,"output_tokens":1}}}"#,
        "\n\nevent: content_block_start\n",
        r#"data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
        "\n\nevent: ping\n",
        r#"data: {"type": "ping"}"#,
        "\n\nevent: content_block_delta\n",
        r#"data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello"}}"#,
        "\n\nevent: content_block_delta\n",
        r#"data: {"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"a\""}}"#,
        "\n\nevent: message_delta\n",
        r#"data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":15}}"#,
        "\n\nevent: message_stop\n",
        r#"data: {"type":"message_stop"}"#,
        "\n\n",
    );
    assert_eq!(used(SSE, stream), counts(25, 10, 15, 0, 9));
}

#[test]
fn gemini_whole_streamed_and_as_a_list() {
    let part = |text: &str, candidates: u32, thoughts: u32| {
        format!(
            r#"{{"candidates":[{{"content":{{"parts":[{{"text":"{text}"}}],"role":"model"}},"index":0}}],
            "usageMetadata":{{"promptTokenCount":40,"cachedContentTokenCount":30,"toolUsePromptTokenCount":2,"candidatesTokenCount":{candidates},"thoughtsTokenCount":{thoughts},"totalTokenCount":99}}}}"#
        )
        .replace('\n', "")
    };
    let (first, second) = (part("He", 1, 5), part("llo", 3, 7));
    assert_eq!(used(JSON, &second), counts(12, 30, 10, 7, 3));
    let expected = counts(12, 30, 10, 7, 5);
    assert_eq!(used(SSE, &events(&[&first, &second])), expected);
    // Without `alt=sse` a stream is a list, element by element.
    assert_eq!(used(JSON, &format!("[{first}\n,\r\n{second}\n]")), expected);
    // Broken off, what was whole counts.
    assert_eq!(used(JSON, &format!("[{first}\n,")).output, Some(6));
}

#[test]
fn cohere_chat_and_embed() {
    let whole = r#"{"id":"c1","message":{"role":"assistant","content":[{"type":"text","text":"Hi"}]},
        "usage":{"billed_units":{"input_tokens":5,"output_tokens":418},"tokens":{"input_tokens":71,"output_tokens":420}}}"#;
    assert_eq!(used(JSON, whole), counts(71, 0, 420, 0, 2));
    let stream = concat!(
        "event: message-start\ndata: {\"id\":\"c1\",\"type\":\"message-start\",\"delta\":{\"message\":{\"role\":\"assistant\",\"content\":[]}}}\n\n",
        "event: content-delta\ndata: {\"type\":\"content-delta\",\"index\":0,\"delta\":{\"message\":{\"content\":{\"text\":\"Hi\"}}}}\n\n",
        "event: message-end\ndata: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"COMPLETE\",\"usage\":{\"tokens\":{\"input_tokens\":71,\"output_tokens\":3}}}}\n\n",
    );
    assert_eq!(used(SSE, stream), counts(71, 0, 3, 0, 2));
    let embed = r#"{"id":"e1","embeddings":{"float":[[0.1]]},"texts":["a"],"meta":{"api_version":{"version":"2"},"billed_units":{"input_tokens":2}}}"#;
    assert_eq!(used(JSON, embed).input, Some(2));
}

#[test]
fn what_is_told_wrongly_is_not_counted() {
    for usage in [
        "null",
        "[]",
        r#"{"completion_tokens":-5}"#,
        r#"{"completion_tokens":"12"}"#,
        r#"{"completion_tokens":1e300}"#,
        r#"{"completion_tokens":{"a":1}}"#,
    ] {
        let body = format!(r#"{{"usage":{usage}}}"#);
        assert_eq!(used(JSON, &body), Counts::default(), "{usage}");
    }
}

#[test]
fn text_has_come_with_the_first_byte_of_it() {
    let vendors = Vendors::known().unwrap();
    let mut meter = Meter::of(SSE.as_bytes(), b"");
    for nothing in [
        ": keep-alive\n\n",
        "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n",
        "data: {\"choices\":[]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":",
    ] {
        meter.feed(&vendors, nothing.as_bytes());
        assert!(!meter.has_content(), "{nothing}");
    }
    meter.feed(&vendors, b"\"a\"");
    assert!(meter.has_content());
}

#[test]
fn what_is_compressed_or_of_another_kind_is_unreadable() {
    for (media, encoding, readable) in [
        (JSON, "", true),
        (JSON, "Identity", true),
        (JSON, "gzip", false),
        (SSE, "br", false),
        ("text/html", "", false),
    ] {
        let mut meter = Meter::of(media.as_bytes(), encoding.as_bytes());
        assert_eq!(meter.is_readable(), readable, "{media} {encoding}");
        meter.feed(&Vendors::known().unwrap(), b"{}");
    }
}

#[test]
fn a_shape_of_ones_own_is_read_as_it_is_told() {
    let vendors = Vendors::of([
        ("billing.in", Kind::Input),
        ("billing.out", Kind::Output),
        ("parts.*", Kind::Content),
    ])
    .unwrap();
    let mut meter = Meter::of(JSON.as_bytes(), b"");
    meter.feed(
        &vendors,
        br#"{"parts":["ab","c"],"billing":{"in":1,"out":2.9},"usage":{"prompt_tokens":7}}"#,
    );
    meter.end(&vendors);
    assert_eq!(meter.counts(), counts(1, 0, 2, 0, 3));
}

#[test]
fn a_stream_of_ten_thousand_chunks_is_read_in_the_same_memory() {
    let vendors = Vendors::known().unwrap();
    let mut meter = Meter::of(SSE.as_bytes(), b"");
    let chunk = events(&[r#"{"choices":[{"delta":{"content":"word "}}]}"#]);
    for _ in 0..10_000 {
        meter.feed(&vendors, chunk.as_bytes());
    }
    meter.feed(&vendors, &vec![b'x'; 1 << 20]);
    assert_eq!(meter.counts().content, 50_000);
    // All that is kept is the value itself.
    assert!(size_of::<Meter>() < 1024, "{}", size_of::<Meter>());
}
