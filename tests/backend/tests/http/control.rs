use portcullis_backend::{Backend, Fault, Running};
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{Raw, control, get, json as answer, status};

async fn backend() -> Running {
    Backend::builder().test_routes(true).start().await.unwrap()
}

#[tokio::test]
async fn the_log_and_the_echo_keep_duplicate_headers() {
    let backend = backend().await;
    let request = "GET /_test/echo?a=1&a=%202 HTTP/1.1\r\nhost: backend\r\nconnection: close\r\n\
                   X-Twice: one\r\nx-other: x\r\nx-twice: two\r\nx-twice: one\r\n\r\n";
    let (seen, _) = Raw::send(backend.addr(), request).await.rest().await;
    let echoed: Value = serde_json::from_str(seen.split_once("\r\n\r\n").unwrap().1).unwrap();
    let expected: Vec<Value> = ["one", "two", "one"]
        .map(|value| json!(["x-twice", value]))
        .into();
    let twice: Vec<Value> = echoed["headers"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|pair| pair[0] == "x-twice")
        .cloned()
        .collect();
    assert_eq!(twice, expected);
    assert_eq!(
        (&echoed["method"], &echoed["path"]),
        (&json!("GET"), &json!("/_test/echo"))
    );
    assert_eq!(echoed["query"], "a=1&a=%202");

    let logged = backend.requests().all();
    assert_eq!(logged.len(), 1);
    assert_eq!(logged[0].values("x-twice"), ["one", "two", "one"]);
    assert_eq!(logged[0].only_value("x-twice"), None);
    assert_eq!(logged[0].only_value("x-other"), Some("x"));
    let (_, over_http) = answer(control(&backend, Method::GET, "/_test/requests")).await;
    assert_eq!(over_http, json!({ "requests": [echoed] }));
}

#[tokio::test]
async fn the_log_is_counted_limited_and_cleared() {
    let backend = backend().await;
    for path in ["/a", "/b?x=1", "/a?x=2"] {
        assert_eq!(status(get(&backend, path)).await, 404);
    }
    let (_, counts) = answer(control(&backend, Method::GET, "/_test/count")).await;
    assert_eq!(
        counts,
        json!({ "total": 3, "by_path": { "/a": 2, "/b": 1 } })
    );
    let (_, last) = answer(control(&backend, Method::GET, "/_test/requests?last=2")).await;
    let paths: Vec<&str> = last["requests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|request| request["path"].as_str().unwrap())
        .collect();
    assert_eq!(paths, ["/b", "/a"]);
    assert_eq!(
        status(control(&backend, Method::GET, "/_test/requests?last=x")).await,
        400
    );
    assert_eq!(
        status(control(&backend, Method::DELETE, "/_test/requests")).await,
        204
    );
    let (_, counts) = answer(control(&backend, Method::GET, "/_test/count")).await;
    assert_eq!(counts, json!({ "total": 0, "by_path": {} }));
}

#[tokio::test]
async fn faults_are_set_shown_and_cleared_over_http_and_do_not_reach_the_control_listener() {
    let backend = backend().await;
    let health = "/api/v1/rag/status/health";
    let set = control(&backend, Method::PUT, "/_test/faults")
        .json(&json!({ "status": 504, "remaining": 3 }));
    assert_eq!(status(set).await, 204);
    assert_eq!(status(get(&backend, health)).await, 504);
    assert_eq!(status(get(&backend, "/_test/echo")).await, 504);
    let (_, shown) = answer(control(&backend, Method::GET, "/_test/faults")).await;
    let expected = json!({ "mode": "status", "status": 504, "path_prefix": "", "delay_ms": 0, "remaining": 1 });
    assert_eq!(shown["fault"], expected);
    assert_eq!(
        status(control(&backend, Method::DELETE, "/_test/faults")).await,
        204
    );
    assert_eq!(status(get(&backend, health)).await, 200);
    assert_eq!(backend.faults().current(), None);

    let set = json!({ "mode": "break_off", "path_prefix": "/api/v1/rag/search", "delay_ms": 7, "remaining": 5 });
    assert_eq!(
        status(control(&backend, Method::PUT, "/_test/faults").json(&set)).await,
        204
    );
    let fault = Fault::break_off()
        .on("/api/v1/rag/search")
        .after(std::time::Duration::from_millis(7))
        .times(5);
    assert_eq!(backend.faults().current(), Some(fault));
}

#[tokio::test]
async fn a_fault_that_makes_no_sense_is_refused_with_a_reason() {
    let backend = backend().await;
    let cases = [
        (json!({ "mode": "explode" }), "explode"),
        (json!({ "colour": "red" }), "colour"),
        (json!({ "status": 100 }), "status: 100"),
        (json!({ "status": 503, "mode": "drop" }), "status: 503"),
        (json!({ "path_prefix": "api" }), "path_prefix: \"api\""),
        (
            json!({ "mode": "delay", "delay_ms": 600_001 }),
            "delay_ms: 600001",
        ),
    ];
    for (fault, reason) in cases {
        let (code, problem) =
            answer(control(&backend, Method::PUT, "/_test/faults").json(&fault)).await;
        assert_eq!(code, 400, "{fault}");
        assert!(
            problem["message"].as_str().unwrap().contains(reason),
            "{problem}"
        );
    }
    assert_eq!(backend.faults().current(), None);
}

#[tokio::test]
async fn without_test_routes_there_is_no_control_listener() {
    let backend = Backend::builder().start().await.unwrap();
    assert_eq!(backend.control_addr(), None);
}
