use std::time::{Duration, Instant};

use portcullis_backend::{Backend, Fault, Role, Running};
use serde_json::{Value, json};

use crate::client::{get, json as answer, post, status};

async fn ollama(pause: Duration) -> Running {
    let backend = Backend::builder().role(Role::Ollama).event_delay(pause);
    backend.start().await.unwrap()
}

fn vectors(embedded: &Value) -> Vec<Vec<f64>> {
    serde_json::from_value(embedded["embeddings"].clone()).unwrap()
}

fn nearness(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[tokio::test]
async fn it_says_what_it_is() {
    let ollama = ollama(Duration::ZERO).await;
    let root = get(&ollama, "/").send().await.unwrap();
    assert_eq!(root.text().await.unwrap(), "Ollama is running");
    let (_, version) = answer(get(&ollama, "/api/version")).await;
    assert!(version["version"].is_string());
    let (_, tags) = answer(get(&ollama, "/api/tags")).await;
    assert_eq!(tags["models"][0]["name"], "mxbai-embed-large:latest");
    assert_eq!(status(get(&ollama, "/api/v1/rag/status/health")).await, 404);
}

#[tokio::test]
async fn embeddings_have_the_models_dimension_and_tell_near_from_far() {
    let ollama = ollama(Duration::ZERO).await;
    let texts = [
        "circuit breaker probe",
        "Breakers probe the circuit.",
        "CORS preflight",
    ];
    let body = json!({ "model": "mxbai-embed-large", "input": texts });
    let (code, embedded) = answer(post(&ollama, "/api/embed").json(&body)).await;
    assert_eq!(code, 200);
    let embedded = vectors(&embedded);
    assert!(embedded.iter().all(|vector| vector.len() == 1024));
    assert!((nearness(&embedded[0], &embedded[0]) - 1.0).abs() < 1e-4);
    assert!(nearness(&embedded[0], &embedded[1]) > nearness(&embedded[0], &embedded[2]) + 0.2);

    let body = json!({ "model": "mxbai-embed-large:latest", "prompt": texts[0] });
    let (_, older) = answer(post(&ollama, "/api/embeddings").json(&body)).await;
    assert_eq!(older["embedding"], json!(embedded[0]));
    let body = json!({ "model": "all-minilm", "input": "x" });
    let (_, other) = answer(post(&ollama, "/api/embed").json(&body)).await;
    assert_eq!(vectors(&other)[0].len(), 384);
}

#[tokio::test]
async fn a_completion_comes_token_by_token_and_says_how_it_ended() {
    let pause = Duration::from_millis(30);
    let ollama = ollama(pause).await;
    let prompt =
        "Probes decide when a breaker closes. Nothing else does.\n\nWhat do probes decide?";
    let body = json!({ "model": "llama3.2:3b", "prompt": prompt });
    let mut answer = post(&ollama, "/api/generate")
        .json(&body)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
    let first: Value = serde_json::from_slice(&answer.chunk().await.unwrap().unwrap()).unwrap();
    let begun = Instant::now();
    let mut lines = vec![first];
    while let Some(line) = answer.chunk().await.unwrap() {
        lines.push(serde_json::from_slice(&line).unwrap());
    }
    let last = lines.pop().unwrap();
    assert_eq!(
        (&last["done"], &last["done_reason"]),
        (&json!(true), &json!("stop"))
    );
    assert_eq!(last["eval_count"], lines.len());
    assert!(begun.elapsed() > pause * u32::try_from(lines.len() - 1).unwrap());
    assert!(lines.iter().all(|line| line["done"] == false));
    let said: String = lines
        .iter()
        .map(|line| line["response"].as_str().unwrap())
        .collect();
    assert_eq!(
        said,
        "Probes decide when a breaker closes. Nothing else does."
    );
}

#[tokio::test]
async fn without_a_stream_there_is_one_object() {
    let ollama = ollama(Duration::ZERO).await;
    let body = json!({ "model": "llama3.2", "prompt": "What is a token bucket?", "stream": false, "options": { "num_predict": 3 } });
    let (_, whole) = answer(post(&ollama, "/api/generate").json(&body)).await;
    assert_eq!(
        (&whole["done_reason"], &whole["eval_count"]),
        (&json!("length"), &json!(3))
    );
    let messages = json!([
        { "role": "system", "content": "A bucket holds tokens." },
        { "role": "user", "content": "What does a bucket hold?" },
    ]);
    let body = json!({ "model": "llama3.2", "messages": messages, "stream": false });
    let (_, chat) = answer(post(&ollama, "/api/chat").json(&body)).await;
    assert_eq!(
        chat["message"],
        json!({ "role": "assistant", "content": "A bucket holds tokens." })
    );
}

#[tokio::test]
async fn what_can_not_be_done_is_said_as_ollama_says_it() {
    let ollama = ollama(Duration::ZERO).await;
    let cases = [
        (
            "/api/embed",
            json!({ "model": "nope", "input": "x" }),
            404,
            "not found, try pulling it first",
        ),
        (
            "/api/embed",
            json!({ "input": "x" }),
            400,
            "model is required",
        ),
        (
            "/api/generate",
            json!({ "model": "mxbai-embed-large" }),
            400,
            "does not support generate",
        ),
    ];
    for (path, body, code, reason) in cases {
        let (seen, problem) = answer(post(&ollama, path).json(&body)).await;
        assert_eq!(seen, code, "{problem}");
        assert!(
            problem["error"].as_str().unwrap().contains(reason),
            "{problem}"
        );
    }
    assert_eq!(status(post(&ollama, "/api/embed")).await, 400);
}

#[tokio::test]
async fn faults_strike_here_too() {
    let ollama = ollama(Duration::ZERO).await;
    ollama.faults().set(
        Fault::status(reqwest::StatusCode::BAD_GATEWAY)
            .on("/api/generate")
            .times(1),
    );
    let body = json!({ "model": "llama3.2", "prompt": "x" });
    assert_eq!(
        status(post(&ollama, "/api/generate").json(&body)).await,
        502
    );
    assert_eq!(
        status(post(&ollama, "/api/generate").json(&body)).await,
        200
    );
    assert_eq!(ollama.requests().count("/api/generate"), 2);
}

#[tokio::test]
async fn more_texts_and_longer_prompts_than_it_takes_are_refused() {
    let ollama = ollama(Duration::ZERO).await;
    let embed = async |texts: usize| {
        let body = json!({ "model": "all-minilm", "input": vec!["x"; texts] });
        answer(post(&ollama, "/api/embed").json(&body)).await
    };
    let (code, embedded) = embed(2_048).await;
    assert_eq!((code.as_u16(), vectors(&embedded).len()), (200, 2_048));
    let (code, refused) = embed(2_049).await;
    assert_eq!(
        (code.as_u16(), &refused["error"]),
        (400, &json!("input: 2049 texts exceed 2048"))
    );
    for path in ["/api/generate", "/api/chat"] {
        let body = |bytes: usize| {
            let body = json!({ "model": "llama3.2", "prompt": "x".repeat(bytes), "stream": false });
            post(&ollama, path).json(&body)
        };
        assert_eq!(status(body(1_000_000)).await, 200, "{path}");
        assert_eq!(status(body(1024 * 1024)).await, 413, "{path}");
    }
}
