use portcullis_backend::Backend;
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{Raw, at, get, ids, json as answer, post, status};

#[tokio::test]
async fn search_finds_the_right_document_by_get_and_post() {
    let backend = Backend::builder().start().await.unwrap();
    let (code, found) = answer(get(
        &backend,
        "/api/v1/rag/search?q=circuit+breaker+half-open&limit=3",
    ))
    .await;
    assert_eq!(code, 200);
    assert_eq!(ids(&found)[0], "circuit-breaker");
    let first = &found["results"][0];
    assert_eq!(first["title"], "Circuit breakers");
    assert_eq!(first["collection"], "resilience");
    assert!(first["score"].as_f64().unwrap() > 0.0);
    assert!(
        first["snippet"].as_str().unwrap().contains("half-open"),
        "{first}"
    );

    let asked = json!({ "q": "circuit breaker half-open", "limit": 3 });
    let (code, posted) = answer(post(&backend, "/api/v1/rag/search").json(&asked)).await;
    assert_eq!(code, 200);
    assert_eq!(posted, found);
    let asked = json!({ "query": "circuit breaker half-open", "limit": 3 });
    assert_eq!(
        answer(post(&backend, "/api/v1/rag/search").json(&asked))
            .await
            .1,
        found
    );
    let in_url = post(
        &backend,
        "/api/v1/rag/search?q=circuit+breaker+half-open&limit=3",
    );
    assert_eq!(answer(in_url).await.1, found);
}

#[tokio::test]
async fn results_come_best_first_and_within_the_limit() {
    let backend = Backend::builder().start().await.unwrap();
    for (limit, expected) in [("", 5), ("&limit=1", 1), ("&limit=7", 7)] {
        let (_, found) = answer(get(&backend, &format!("/api/v1/rag/search?q=the{limit}"))).await;
        assert_eq!(ids(&found).len(), expected, "{limit:?}");
        let scores: Vec<f64> = found["results"]
            .as_array()
            .unwrap()
            .iter()
            .map(|result| result["score"].as_f64().unwrap())
            .collect();
        assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    }
}

#[tokio::test]
async fn invalid_input_is_refused_with_a_reason() {
    let backend = Backend::builder().start().await.unwrap();
    let long = format!("/api/v1/rag/search?q={}", "x".repeat(1_001));
    let cases = [
        ("/api/v1/rag/search", "q:"),
        ("/api/v1/rag/search?q=", "q:"),
        ("/api/v1/rag/search?q=%20%09", "q:"),
        (&long, "q:"),
        ("/api/v1/rag/search?q=a&limit=0", "limit:"),
        ("/api/v1/rag/search?q=a&limit=51", "limit:"),
        ("/api/v1/rag/search?q=a&limit=-1", "limit:"),
        ("/api/v1/rag/search?q=a&limit=ten", "limit:"),
        ("/api/v1/rag/search?q=a&q=b", "duplicate"),
        ("/api/v1/rag/query", "q:"),
        ("/api/v1/rag/collections/%ff", "UTF-8"),
    ];
    for (path, reason) in cases {
        let (code, problem) = answer(get(&backend, path)).await;
        assert_eq!(code, 400, "{path}");
        assert_eq!(problem["error"], "invalid_request", "{path}");
        assert!(
            problem["message"].as_str().unwrap().contains(reason),
            "{path}: {problem}"
        );
    }
    for body in [
        "{",
        "[]",
        "null",
        "{\"q\":1}",
        "{\"q\":\"a\",\"limit\":-1}",
        "{\"q\":\"a\",\"query\":\"b\"}",
        "q=a",
    ] {
        let (code, problem) = answer(post(&backend, "/api/v1/rag/query").body(body)).await;
        assert_eq!(
            (code.as_u16(), &problem["error"]),
            (400, &json!("invalid_request")),
            "{body}"
        );
    }
    let (code, problem) =
        answer(post(&backend, "/api/v1/rag/search").body("x".repeat(100_000))).await;
    assert_eq!(
        (code.as_u16(), &problem["error"]),
        (413, &json!("payload_too_large"))
    );
}

#[tokio::test]
async fn no_query_whatever_is_a_server_error() {
    let backend = Backend::builder().start().await.unwrap();
    let nested = "%28".repeat(900);
    let queries = [
        "%F0%9F%A6%80",
        "%E6%97%A5%E6%9C%AC%E8%AA%9E",
        "caf%C3%A9",
        "%ff%fe",
        "%00",
        "%22open",
        "*",
        "title%3A*",
        "%2F.*%2F",
        "%5Ba+TO+z%5D",
        "AND+OR+NOT",
        "%2B%2B--",
        "a%5E%5E2",
        &nested,
    ];
    for query in queries {
        for route in ["search", "query"] {
            let path = format!("/api/v1/rag/{route}?q={query}");
            assert_eq!(status(get(&backend, &path)).await, 200, "{path}");
        }
    }
}

#[tokio::test]
async fn an_answer_streams_tokens_then_sources_then_done() {
    let backend = Backend::builder()
        .event_delay(std::time::Duration::ZERO)
        .start()
        .await
        .unwrap();
    let asked = json!({ "question": "How many tokens does a token bucket hold?" });
    let response = post(&backend, "/api/v1/rag/query")
        .json(&asked)
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let events = parse(&response.text().await.unwrap());

    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    let (tokens, end) = names.split_at(names.len() - 2);
    assert_eq!(end, ["sources", "done"]);
    assert!(
        tokens.len() > 1 && tokens.iter().all(|name| *name == "token"),
        "{names:?}"
    );

    let text: String = events
        .iter()
        .filter(|(name, _)| name == "token")
        .map(|(_, data)| data["text"].as_str().unwrap())
        .collect();
    assert!(
        text.contains("a bucket that holds a fixed number of tokens"),
        "{text}"
    );
    assert_eq!(events[tokens.len()].1["sources"][0]["id"], "token-bucket");
    assert_eq!(events[tokens.len() + 1].1["tokens"], tokens.len());
}

#[tokio::test]
async fn a_token_arrives_before_the_answer_is_complete() {
    let backend = Backend::builder()
        .event_delay(std::time::Duration::from_secs(3_600))
        .start()
        .await
        .unwrap();
    let mut caller = Raw::get(backend.addr(), "/api/v1/rag/query?q=breaker").await;
    let head = caller.until("\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(caller.until("\n\n").await.contains("event: token\n"));
}

#[tokio::test]
async fn a_question_about_nothing_known_gets_an_honest_answer() {
    let backend = Backend::builder()
        .event_delay(std::time::Duration::ZERO)
        .start()
        .await
        .unwrap();
    let body = get(&backend, "/api/v1/rag/query?q=zyzzyva")
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let events = parse(&body);
    assert_eq!(
        events[0].1["text"],
        "Nothing in the collections answers this question."
    );
    assert_eq!(events[1], ("sources".to_owned(), json!({ "sources": [] })));
}

#[tokio::test]
async fn collections_are_listed_and_shown() {
    let backend = Backend::builder().start().await.unwrap();
    let (_, list) = answer(get(&backend, "/api/v1/rag/collections")).await;
    let collections = list["collections"].as_array().unwrap();
    let total: u64 = collections
        .iter()
        .map(|one| one["documents"].as_u64().unwrap())
        .sum();
    for collection in collections {
        let name = collection["name"].as_str().unwrap();
        let (code, shown) = answer(get(&backend, &format!("/api/v1/rag/collections/{name}"))).await;
        assert_eq!(code, 200);
        assert_eq!(
            shown["documents"].as_array().unwrap().len() as u64,
            collection["documents"].as_u64().unwrap()
        );
    }
    let (code, health) = answer(get(&backend, "/api/v1/rag/status/health")).await;
    assert_eq!(
        (code.as_u16(), &health["status"], &health["documents"]),
        (200, &json!("healthy"), &json!(total))
    );
}

#[tokio::test]
async fn unknown_routes_collections_and_methods_are_told_apart() {
    let backend = Backend::builder().start().await.unwrap();
    let cases = [
        (Method::GET, "/", 404, "not_found"),
        (
            Method::GET,
            "/api/v1/rag/collections/none",
            404,
            "not_found",
        ),
        (Method::GET, "/api/v2/rag/search?q=a", 404, "not_found"),
        (Method::GET, "/_test/echo", 404, "not_found"),
        (Method::GET, "/_test/requests", 404, "not_found"),
        (
            Method::DELETE,
            "/api/v1/rag/search?q=a",
            405,
            "method_not_allowed",
        ),
    ];
    for (method, path, code, error) in cases {
        let (status, problem) = answer(at(method, backend.addr(), path)).await;
        assert_eq!(
            (status.as_u16(), &problem["error"]),
            (code, &json!(error)),
            "{path}"
        );
    }
}

fn parse(body: &str) -> Vec<(String, Value)> {
    body.split_terminator("\n\n")
        .map(|event| {
            let (name, data) = event.split_once('\n').unwrap();
            let name = name.strip_prefix("event: ").unwrap().to_owned();
            (
                name,
                serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap(),
            )
        })
        .collect()
}
