use portcullis_backend::Backend;
use serde_json::json;

use crate::client::{Raw, get, json as answer, status};

const SECRET: &str = "5d0c4a6f2be94f5e8f0e8d6c0b8a7f3e5d0c4a6f2be94f5e8f0e8d6c0b8a7f3e";

#[tokio::test]
async fn every_route_wants_the_service_token() {
    let backend = Backend::builder()
        .service_token(Some(SECRET.to_owned()))
        .test_routes(true)
        .start()
        .await
        .unwrap();
    let routes = [
        ("/api/v1/rag/search?q=cache", 200),
        ("/api/v1/rag/query?q=cache", 200),
        ("/api/v1/rag/collections", 200),
        ("/api/v1/rag/collections/security", 200),
        ("/api/v1/rag/status/health", 200),
        ("/_test/echo", 200),
        ("/nowhere", 404),
    ];
    for (path, code) in routes {
        let (missing, problem) = answer(get(&backend, path)).await;
        assert_eq!(
            (missing.as_u16(), &problem["error"]),
            (401, &json!("missing_service_token")),
            "{path}"
        );
        let (wrong, problem) = answer(get(&backend, path).header("x-service-token", "guess")).await;
        assert_eq!(
            (wrong.as_u16(), &problem["error"]),
            (403, &json!("wrong_service_token")),
            "{path}"
        );
        assert_eq!(
            status(get(&backend, path).header("X-Service-Token", SECRET)).await,
            code,
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_genuine_token_beside_a_forged_one_is_refused() {
    let backend = Backend::builder()
        .service_token(Some(SECRET.to_owned()))
        .start()
        .await
        .unwrap();
    let request = format!(
        "GET /api/v1/rag/status/health HTTP/1.1\r\nhost: backend\r\nconnection: close\r\n\
         X-Service-Token: forged\r\nx-service-token: {SECRET}\r\n\r\n"
    );
    let (answer, _) = Raw::send(backend.addr(), &request).await.rest().await;
    assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{answer}");
    assert_eq!(
        backend.requests().last(1)[0].values("x-service-token"),
        ["forged", SECRET]
    );
}

#[tokio::test]
async fn an_empty_secret_does_not_start() {
    let started = Backend::builder()
        .service_token(Some(String::new()))
        .start()
        .await;
    assert_eq!(
        started.err().unwrap().to_string(),
        "the service token is empty"
    );
}
