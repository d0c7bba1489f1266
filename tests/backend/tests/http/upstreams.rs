//! A RAG service that embeds, searches and writes by others.

use std::time::Duration;

use portcullis_backend::{Backend, Fault, Role, Running, UpstreamSettings};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::client::{get, ids, json as answer};

const SEARCH: &str = "/api/v1/rag/search?q=half-open+breaker+probe&limit=3";
const QUERY: &str = "/api/v1/rag/query?q=What+does+a+probe+decide+in+a+half-open+breaker";
const HEALTH: &str = "/api/v1/rag/status/health";

/// How long an index may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

struct Scene {
    ollama: Running,
    qdrant: Running,
    rag: Running,
}

impl Scene {
    async fn set() -> Self {
        let scene = Self::starting().await;
        scene.until_indexed().await;
        scene
    }

    /// Not indexed yet.
    async fn starting() -> Self {
        let start = async |role| {
            let backend = Backend::builder().role(role).event_delay(Duration::ZERO);
            backend.start().await.unwrap()
        };
        let (ollama, qdrant) = (start(Role::Ollama).await, start(Role::Qdrant).await);
        let url = |backend: &Running| format!("http://{}/", backend.addr());
        let settings = UpstreamSettings::new(url(&ollama), url(&qdrant));
        let rag = Backend::builder()
            .upstreams(Some(settings))
            .start()
            .await
            .unwrap();
        Self {
            ollama,
            qdrant,
            rag,
        }
    }

    async fn until_indexed(&self) {
        let indexed = async {
            while answer(get(&self.rag, HEALTH)).await.1["indexed"] != true {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, indexed)
            .await
            .expect("it is indexed in time");
    }
}

#[tokio::test]
async fn a_search_finds_by_vectors_of_the_models_real_dimension() {
    let scene = Scene::set().await;
    let (_, collection) = answer(get(&scene.qdrant, "/collections/docs_index_mxbai")).await;
    assert_eq!(
        collection["result"]["config"]["params"]["vectors"]["size"],
        1024
    );
    assert!(collection["result"]["points_count"].as_u64().unwrap() > 80);
    let (code, found) = answer(get(&scene.rag, SEARCH)).await;
    assert_eq!(code, 200);
    assert_eq!(ids(&found)[0], "circuit-breaker");
    assert_eq!(ids(&found).len(), 3);
    assert!(!found["results"][0]["snippet"].as_str().unwrap().is_empty());
}

#[tokio::test]
async fn a_question_is_answered_by_the_model_from_what_was_found() {
    let scene = Scene::set().await;
    let events = get(&scene.rag, QUERY)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(events.matches("event: token\n").count() > 5, "{events}");
    assert!(
        events.contains("event: sources\n") && events.ends_with("}\n\n"),
        "{events}"
    );
    assert!(
        events.contains(r#""id":"circuit-breaker""#) && events.contains("event: done\n"),
        "{events}"
    );
    assert_eq!(scene.ollama.requests().count("/api/generate"), 1);
}

#[tokio::test]
async fn the_requests_id_and_its_user_go_with_what_is_asked_because_of_it() {
    let scene = Scene::set().await;
    scene.ollama.requests().clear();
    scene.qdrant.requests().clear();
    let asked = get(&scene.rag, QUERY).header("x-request-id", "id-of-this-one");
    let asked = asked.header("x-user-id", "alice");
    asked.send().await.unwrap().text().await.unwrap();
    let asked = [scene.ollama.requests().all(), scene.qdrant.requests().all()].concat();
    assert_eq!(asked.len(), 3);
    for request in asked {
        assert_eq!(
            request.only_value("x-request-id"),
            Some("id-of-this-one"),
            "{request:?}"
        );
        assert_eq!(
            request.only_value("x-user-id"),
            Some("alice"),
            "{request:?}"
        );
        assert_eq!(request.only_value("x-service-token"), None, "{request:?}");
    }
}

#[tokio::test]
async fn what_upstreams_fail_with_is_told_without_what_they_say() {
    let scene = Scene::set().await;
    let cases = [
        (
            &scene.ollama,
            Fault::status(StatusCode::SERVICE_UNAVAILABLE),
            503,
            "upstream_unavailable",
        ),
        (
            &scene.ollama,
            Fault::status(StatusCode::INTERNAL_SERVER_ERROR),
            502,
            "upstream_failed",
        ),
        (
            &scene.qdrant,
            Fault::status(StatusCode::TOO_MANY_REQUESTS),
            503,
            "upstream_unavailable",
        ),
        (
            &scene.qdrant,
            Fault::drop_connection(),
            502,
            "upstream_failed",
        ),
    ];
    for (upstream, fault, code, kind) in cases {
        upstream.faults().set(fault);
        for path in [SEARCH, QUERY] {
            let (seen, problem) = answer(get(&scene.rag, path)).await;
            assert_eq!(
                (seen.as_u16(), &problem["error"]),
                (code, &json!(kind)),
                "{problem}"
            );
            let text = problem.to_string();
            assert!(
                !text.contains("asked for") && !text.contains("127.0.0.1"),
                "{text}"
            );
        }
        upstream.faults().clear();
    }
}

#[tokio::test]
async fn a_model_that_stops_in_the_middle_ends_the_stream_with_an_error() {
    let scene = Scene::set().await;
    scene
        .ollama
        .faults()
        .set(Fault::break_off().on("/api/generate"));
    let events = get(&scene.rag, QUERY)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(events.contains("event: token\n"), "{events}");
    assert!(
        events.ends_with("event: error\ndata: {\"error\":\"upstream_failed\"}\n\n"),
        "{events}"
    );
}

#[tokio::test]
async fn retry_after_is_passed_on_if_it_is_in_seconds() {
    use axum::http::HeaderValue;
    for (told, passed) in [
        ("17", Some("17")),
        ("Fri, 31 Dec 1999 23:59:59 GMT", None),
        ("a-key", None),
    ] {
        let busy = axum::Router::new().fallback(async move || {
            let headers = [("retry-after", HeaderValue::from_static(told))];
            (
                axum::http::StatusCode::SERVICE_UNAVAILABLE,
                headers,
                "secret",
            )
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, busy).into_future());
        let settings = UpstreamSettings::new(url.clone(), url);
        let rag = Backend::builder()
            .upstreams(Some(settings))
            .start()
            .await
            .unwrap();
        let problem = get(&rag, SEARCH).send().await.unwrap();
        assert_eq!(problem.status(), 503);
        let seen = problem
            .headers()
            .get("retry-after")
            .map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(seen.as_deref(), passed);
    }
}

#[tokio::test]
async fn the_service_starts_without_its_upstreams_and_indexes_when_they_come() {
    let scene = Scene::starting().await;
    let fault = Fault::status(StatusCode::BAD_GATEWAY).times(1);
    scene.qdrant.faults().set(fault.clone());
    scene.ollama.faults().set(fault);
    assert_eq!(answer(get(&scene.rag, HEALTH)).await.0, 200);
    scene.until_indexed().await;
    assert_eq!(answer(get(&scene.rag, SEARCH)).await.0, 200);
}

#[tokio::test]
async fn a_collection_that_holds_anything_of_someone_else_is_left_as_it_is() {
    let qdrant = Backend::builder().role(Role::Qdrant).start().await.unwrap();
    let ollama = Backend::builder().role(Role::Ollama).start().await.unwrap();
    let put = |path: &str, body: Value| {
        let request = crate::client::at(reqwest::Method::PUT, qdrant.addr(), path);
        request.json(&body)
    };
    let path = "/collections/docs_index_mxbai";
    answer(put(
        path,
        json!({ "vectors": { "size": 2, "distance": "Dot" } }),
    ))
    .await;
    let points =
        json!({ "points": [{ "id": 1, "vector": [1, 2], "payload": { "text": "theirs" } }] });
    answer(put(&format!("{path}/points"), points)).await;
    let url = |backend: &Running| format!("http://{}", backend.addr());
    let settings = UpstreamSettings::new(url(&ollama), url(&qdrant));
    let rag = Backend::builder()
        .upstreams(Some(settings))
        .start()
        .await
        .unwrap();
    let scene = Scene {
        ollama,
        qdrant,
        rag,
    };
    scene.until_indexed().await;
    assert_eq!(
        answer(get(&scene.qdrant, path)).await.1["result"]["points_count"],
        1
    );
}

#[tokio::test]
async fn the_health_route_shows_the_gateways_breakers_and_does_not_wait_for_them() {
    let states = json!({ "ollama_embedding": "closed", "ollama_generation": "open", "qdrant_search": "closed" });
    let shown = states.clone();
    let gateway = axum::Router::new()
        .route(
            "/breakers",
            axum::routing::get(async move || axum::Json(shown)),
        )
        .route(
            "/silent",
            axum::routing::get(async || std::future::pending::<()>().await),
        );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, gateway).into_future());
    for (path, expected) in [
        ("/breakers", states),
        ("/silent", Value::Null),
        ("/none", Value::Null),
    ] {
        let mut settings = UpstreamSettings::new(url.clone(), url.clone());
        settings.breakers = Some(format!("{url}{path}"));
        let rag = Backend::builder()
            .upstreams(Some(settings))
            .start()
            .await
            .unwrap();
        let (code, health) = answer(get(&rag, HEALTH)).await;
        assert_eq!(
            (code.as_u16(), &health["circuit_breakers"]),
            (200, &expected),
            "{path}"
        );
    }
}
