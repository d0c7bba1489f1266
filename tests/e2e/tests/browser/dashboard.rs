//! Pages of the dashboard, `http://localhost:3103`.

use std::time::Duration;

use anyhow::Result;
use portcullis_e2e::Gateway;
use portcullis_e2e::backend::Fault;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::answers::{
    SEARCH, assert_limit_and_id, assert_refusal, gateway, methods, question, token, unscoped_token,
};
use crate::page::{DASHBOARD, Page, as_user, post};

#[tokio::test]
async fn a_page_of_the_dashboard_gets_and_posts_with_its_credentials() -> Result<()> {
    let gateway = gateway(100).await?;
    let Some(page) = Page::of(DASHBOARD, &gateway).await? else {
        return Ok(());
    };
    page.run(
        "document.cookie = 'session=5'; arguments[2]()",
        "",
        Value::Null,
    )
    .await?;
    for options in [as_user(&token()), post(&token(), &question())] {
        let answer = page.read(SEARCH, options).await?;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(!answer.json()["results"].as_array().unwrap().is_empty());
        assert_limit_and_id(&answer);
        // What is not for scripts stays so.
        assert_eq!(answer.headers.get("x-content-type-options"), None);
        let received = &gateway.requests().last(1)[0];
        assert_eq!(received.only_value("cookie"), Some("session=5"));
        assert_eq!(received.only_value("x-user-id"), Some("alice"));
        assert_eq!(received.only_value("origin"), Some("http://localhost:3103"));
    }
    // One preflight stood for both. It was not counted, and went no further.
    let methods = methods(&gateway, 3).await?;
    assert_eq!(methods, ["OPTIONS", "GET", "POST"]);
    assert_eq!(gateway.requests().total(), 2);
    let last = page.read(SEARCH, as_user(&token())).await?;
    assert_eq!(last.header("x-ratelimit-remaining"), "97");
    page.close().await
}

#[tokio::test]
async fn a_page_of_the_dashboard_can_read_why_it_was_refused() -> Result<()> {
    let gateway = gateway(3).await?;
    let Some(page) = Page::of(DASHBOARD, &gateway).await? else {
        return Ok(());
    };
    let unauthenticated = page.read(SEARCH, json!({})).await?;
    assert_refusal(&unauthenticated, 401, "unauthenticated");
    assert_eq!(
        unauthenticated.header("www-authenticate"),
        r#"Bearer realm="rag""#
    );
    let forbidden = page.read(SEARCH, as_user(&unscoped_token())).await?;
    assert_refusal(&forbidden, 403, "insufficient-scope");
    assert!(
        forbidden
            .header("www-authenticate")
            .contains("insufficient_scope"),
        "{forbidden:?}"
    );
    let wrong = page.read(SEARCH, post("not.a.token", &question())).await?;
    assert_refusal(&wrong, 401, "invalid-token");
    for options in [json!({}), post(&token(), &question())] {
        let limited = page.read(SEARCH, options).await?;
        assert_refusal(&limited, 429, "quota-exceeded");
        assert!(limited.header("retry-after").parse::<u64>()? > 0);
        assert_eq!(limited.header("x-ratelimit-remaining"), "0");
    }
    assert_eq!(gateway.requests().total(), 0);
    page.close().await
}

#[tokio::test]
async fn a_page_of_the_dashboard_can_read_that_the_breaker_is_open() -> Result<()> {
    let gateway = gateway(100).await?;
    let Some(page) = Page::of(DASHBOARD, &gateway).await? else {
        return Ok(());
    };
    gateway
        .faults()
        .set(Fault::status(StatusCode::SERVICE_UNAVAILABLE));
    for _ in 0..5 {
        let failed = page.read(SEARCH, as_user(&token())).await?;
        assert_eq!(failed.status, 503);
        // The upstream's own.
        assert!(failed.body.contains("this answer was asked for"));
        assert_limit_and_id(&failed);
    }
    for options in [as_user(&token()), post(&token(), &question())] {
        let refused = page.read(SEARCH, options).await?;
        assert_refusal(&refused, 503, "circuit-open");
        let seconds: u64 = refused.header("retry-after").parse()?;
        assert!((1..=30).contains(&seconds), "{refused:?}");
    }
    assert_eq!(gateway.requests().total(), 5);
    page.close().await
}

#[tokio::test]
async fn a_page_of_the_dashboard_reads_an_answer_as_it_comes() -> Result<()> {
    const READ: &str = "
        const [url, options, done] = arguments;
        fetch(url, { ...options, credentials: 'include' }).then(async answer => {
            const reader = answer.body.getReader();
            const text = new TextDecoder();
            let pieces = [], piece;
            while (!(piece = await reader.read()).done) {
                pieces.push(text.decode(piece.value, { stream: true }));
            }
            done(pieces);
        }).catch(error => done(String(error)));
    ";
    // Long enough between two of the eight events for a browser that has much else to do.
    let gateway = Gateway::with("edge").event_delay(Duration::from_millis(300));
    let gateway = gateway.start().await?;
    let Some(page) = Page::of(DASHBOARD, &gateway).await? else {
        return Ok(());
    };
    let path = "/api/v1/rag/query";
    let pieces = page.run(READ, path, post(&token(), &question())).await?;
    let pieces: Vec<String> = serde_json::from_value(pieces)?;
    assert!(pieces.len() >= 2, "{pieces:?}");
    assert!(!pieces[0].contains("event: done"), "{pieces:?}");
    assert!(pieces.concat().contains("event: done"), "{pieces:?}");
    page.close().await
}
