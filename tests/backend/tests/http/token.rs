use std::time::{SystemTime, UNIX_EPOCH};

use portcullis_backend::{Backend, Running};
use portcullis_policy::Timestamp;
use portcullis_service_token::ServiceToken;
use portcullis_service_token_verifier::{
    Algorithm, Secret, SignatureVerifier, StaticVerifier, TokenVerifier, Verifier,
};
use portcullis_sim::{Answer, Dialect, Worker, World};
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

#[tokio::test]
async fn a_secret_that_no_header_could_hold_does_not_start() {
    let started = Backend::builder()
        .service_token(Some(format!("{SECRET}\n")))
        .start()
        .await;
    let error = started.err().unwrap().to_string();
    assert!(error.contains("visible ASCII"), "{error}");
    assert!(!error.contains(SECRET), "{error}");
}

/// A gateway whose filter writes such a credential, by this machine's clock.
fn gate(kind: &str, fields: &str) -> Worker<ServiceToken> {
    let config = format!(
        r#"{{"credential":{{"kind":"{kind}",{fields}"secrets":[{{"id":"2026","value":"{SECRET}"}}]}}}}"#
    );
    let gate: Worker<ServiceToken> = World::new(Dialect::Envoy, 1).worker(&config).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    gate.clock.set(Timestamp::from_unix_secs(now.as_secs()));
    gate
}

/// What the gateway adds to a request for `path`.
fn credential(gate: &Worker<ServiceToken>, backend: &Running, path: &str) -> Vec<(String, String)> {
    let authority = backend.addr().to_string();
    let sent = [
        (":method", "GET"),
        (":path", path),
        (":authority", authority.as_str()),
    ];
    let (Answer::Passed(headers), ()) = gate.request("10.0.0.1", &sent) else {
        panic!("refused");
    };
    let added = headers.into_iter();
    added.filter(|(name, _)| !name.starts_with(':')).collect()
}

async fn passes(backend: &Running, path: &str, headers: &[(String, String)]) -> u16 {
    let mut request = get(backend, path);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    status(request).await.as_u16()
}

#[tokio::test]
async fn a_backend_accepts_what_its_verifier_does() {
    let secrets = || [Secret::new("2026", SECRET).unwrap()];
    let tokens = TokenVerifier::new(Algorithm::Hs256, secrets(), "https://gate").unwrap();
    let verifier = Verifier::from(StaticVerifier::new(secrets()).unwrap())
        .or(tokens)
        .or(SignatureVerifier::new(secrets()).unwrap());
    let backend = Backend::builder()
        .service_token(Some("replaced-by-the-verifier".to_owned()))
        .verifier(verifier)
        .start()
        .await
        .unwrap();
    let (one, other) = ("/api/v1/rag/search?q=cache", "/api/v1/rag/status/health");
    let names = r#""issuer":"https://gate","subject":"gate","#;
    for (kind, fields) in [("static", ""), ("jwt", names)] {
        let sent = credential(&gate(kind, fields), &backend, one);
        assert_eq!(passes(&backend, one, &sent).await, 200, "{kind}");
        assert_eq!(passes(&backend, other, &sent).await, 200, "{kind}");
    }
    let gate = gate("http_signature", "");
    let sent = credential(&gate, &backend, one);
    assert_eq!(passes(&backend, other, &sent).await, 403, "of another path");
    assert_eq!(passes(&backend, one, &sent).await, 200);
    assert_eq!(
        passes(&backend, one, &sent).await,
        403,
        "for the second time"
    );
    assert_eq!(passes(&backend, one, &[]).await, 401);
}
