//! What each of the four concerns does, as a client of the stack sees it.

use anyhow::Result;
use portcullis_e2e::Answer;
use reqwest::Method;
use serde_json::{Value, json};

use crate::stack::{BREAKERS, COLLECTIONS, HEALTH, SEARCH, all_closed, stack};

/// The dashboard.
const ORIGIN: &str = "http://localhost:3103";

#[tokio::test]
async fn a_search_passes_through_both_gateways_to_a_result() -> Result<()> {
    let stack = stack().await?;
    let answer = stack.caller().get(SEARCH).await?;
    assert_eq!(answer.status, 200, "{answer:?}");
    let results = answer.json()?["results"].as_array().map(Vec::len);
    assert_eq!(results, Some(2), "{answer:?}");
    let answer = stack.caller().get(COLLECTIONS).await?;
    assert_eq!(answer.status, 200, "{answer:?}");
    for (header, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
    ] {
        assert_eq!(answer.header(header), Some(value), "{answer:?}");
    }
    assert!(answer.header("x-request-id").is_some(), "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn only_a_good_token_of_the_right_scope_passes() -> Result<()> {
    let stack = stack().await?;
    let other = "another secret, which is long enough to be one";
    let now = || std::time::UNIX_EPOCH.elapsed().map(|now| now.as_secs());
    let past = now()? - 3_600;
    for (what, token, status) in [
        ("none", None, 401),
        ("good", Some(stack.token(|token| token)), 200),
        (
            "of another secret",
            Some(portcullis_e2e::Token::of("alice").signed(other)),
            401,
        ),
        (
            "that has ended",
            Some(stack.token(|token| token.claim("exp", json!(past)))),
            401,
        ),
        (
            "without the scope",
            Some(stack.token(|token| token.claim("scope", json!("other")))),
            403,
        ),
    ] {
        let answer = stack.caller().with_token(token).get(SEARCH).await?;
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        if status != 200 {
            assert_eq!(
                answer.header("content-type"),
                Some("application/problem+json")
            );
        }
    }
    let open = stack.caller().with_token(None).get(HEALTH).await?;
    assert_eq!(open.status, 200, "{open:?}");
    Ok(())
}

#[tokio::test]
async fn the_hundred_and_first_request_is_refused_and_other_clients_are_not() -> Result<()> {
    let mut stack = stack().await?;
    // So that no minute ends meanwhile.
    let a_day = |filter: &mut Value| filter["rate_limit"]["limits"][0]["window"] = json!("24h");
    stack.reconfigure(a_day).await?;
    let caller = stack.caller();
    for _ in 0..100 {
        let answer = caller.get(HEALTH).await?;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let answer = caller.get(HEALTH).await?;
    assert_eq!(answer.status, 429, "{answer:?}");
    assert!(answer.number("retry-after").is_some(), "{answer:?}");
    assert_eq!(stack.caller().get(HEALTH).await?.status, 200);
    stack.reconfigure(|_| ()).await
}

#[tokio::test]
async fn the_services_get_the_gateways_secret_whatever_a_client_sends() -> Result<()> {
    let stack = stack().await?;
    for (forged, status) in [
        (&["forged"][..], 200),
        (&[""], 200),
        (&["forged", "twice"], 400),
    ] {
        let mut request = stack.caller().request(Method::GET, SEARCH);
        for value in forged {
            request = request.header("x-service-token", *value);
        }
        let answer = Answer::to(request).await?;
        assert_eq!(answer.status, status, "{forged:?}: {answer:?}");
    }
    // Past the gateway, as another container of the network would, the service refuses.
    let id = stack.container("rag-ollama").await?;
    let url = "http://rag-service:3000/api/v1/rag/collections";
    let ask = ["exec", &id, "portcullis-backend", "health", url];
    let refused = stack.docker(&ask).await.unwrap_err().to_string();
    assert!(refused.contains("401"), "{refused}");
    Ok(())
}

#[tokio::test]
async fn the_state_of_each_breaker_is_shown() -> Result<()> {
    let stack = stack().await?;
    let edge = stack.caller().get(BREAKERS).await?.json()?;
    assert_eq!(edge, all_closed());
    // The service asks the egress for its own.
    let health = stack.caller().get(HEALTH).await?;
    let closed =
        r#"{"ollama_embedding":"closed","ollama_generation":"closed","qdrant_search":"closed"}"#;
    assert!(health.body.contains(closed), "{health:?}");
    Ok(())
}

#[tokio::test]
async fn the_dashboard_may_read_everything_and_another_origin_nothing() -> Result<()> {
    let stack = stack().await?;
    let preflight = |origin: &str| {
        let request = stack
            .caller()
            .with_token(None)
            .request(Method::OPTIONS, SEARCH)
            .header("origin", origin)
            .header("access-control-request-method", "GET")
            .header("access-control-request-headers", "authorization");
        Answer::to(request)
    };
    let answer = preflight(ORIGIN).await?;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN));
    assert_eq!(
        answer.header("access-control-allow-credentials"),
        Some("true")
    );
    let answer = preflight("http://localhost:3104").await?;
    assert_eq!(answer.header("access-control-allow-origin"), None);

    // A refusal too.
    let request = stack.caller().with_token(None).request(Method::GET, SEARCH);
    let answer = Answer::to(request.header("origin", ORIGIN)).await?;
    assert_eq!(answer.status, 401, "{answer:?}");
    assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN));
    let exposed = answer.header("access-control-expose-headers").unwrap_or("");
    assert!(exposed.contains("WWW-Authenticate"), "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn nothing_but_the_edge_has_a_port_on_this_machine() -> Result<()> {
    let stack = stack().await?;
    let ports = stack.published().await?;
    assert_eq!(ports.len(), 1, "{ports:?}");
    assert!(
        ports
            .iter()
            .all(|(service, port)| service == "gateway" && port.starts_with("127.0.0.1:")),
        "{ports:?}"
    );
    Ok(())
}
