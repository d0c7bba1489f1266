//! Pages of other origins, and what the dashboard's may not do either.

use anyhow::Result;
use serde_json::json;

use crate::answers::{SEARCH, gateway, methods, question, token};
use crate::page::{DASHBOARD, NEIGHBOUR, Page, STRANGER, Told, as_user, post};

async fn can_not_read(host: &str) -> Result<()> {
    let gateway = gateway(100).await?;
    let Some(page) = Page::of(host, &gateway).await? else {
        return Ok(());
    };
    for options in [as_user(&token()), post(&token(), &question())] {
        assert_eq!(page.fetch(SEARCH, options).await?, Told::Nothing);
    }
    // Without a token there is no preflight: the gateway refuses, and that can't be read either.
    assert_eq!(page.fetch(SEARCH, json!({})).await?, Told::Nothing);
    let health = "/api/v1/rag/status/health";
    assert_eq!(page.fetch(health, json!({})).await?, Told::Nothing);
    assert_eq!(
        methods(&gateway, 4).await?,
        ["OPTIONS", "OPTIONS", "GET", "GET"]
    );
    // Only what is open to all got as far as the backend.
    assert_eq!(gateway.requests().total(), 1);
    page.close().await
}

#[tokio::test]
async fn a_page_of_another_port_can_read_nothing() -> Result<()> {
    can_not_read(NEIGHBOUR).await
}

#[tokio::test]
async fn a_page_of_another_host_can_read_nothing() -> Result<()> {
    can_not_read(STRANGER).await
}

#[tokio::test]
async fn other_methods_and_headers_end_with_the_preflight() -> Result<()> {
    let gateway = gateway(100).await?;
    let Some(page) = Page::of(DASHBOARD, &gateway).await? else {
        return Ok(());
    };
    let mut delete = as_user(&token());
    delete["method"] = json!("DELETE");
    let mut put = post(&token(), &question());
    put["method"] = json!("PUT");
    let mut spoofed = as_user(&token());
    spoofed["headers"]["x-service-token"] = json!("forged");
    for options in [delete, put, spoofed] {
        assert_eq!(page.fetch(SEARCH, options).await?, Told::Nothing);
    }
    assert_eq!(methods(&gateway, 3).await?, ["OPTIONS"; 3]);
    assert_eq!(gateway.requests().total(), 0);
    page.close().await
}
