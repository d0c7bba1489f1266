//! What Envoy's access log says of an answer that the filter gave.

use anyhow::Result;
use portcullis_e2e::backend::Fault;
use portcullis_e2e::{Answer, Gateway, until};
use reqwest::StatusCode;
use serde_json::json;

use crate::common::{HEALTH, SEARCH, token};

/// The log's line for an answer, found by the request's id.
async fn line(gateway: &Gateway, answer: &Answer) -> Result<serde_json::Value> {
    let id = answer.header("x-request-id").unwrap();
    let line = || {
        gateway
            .output()
            .access_log()
            .into_iter()
            .find(|line| line["request_id"] == id)
    };
    until("the access log's line", async || Ok(line().is_some())).await?;
    Ok(line().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_names_the_plugin_and_its_reason_and_tells_the_client_neither() -> Result<()> {
    let gateway = Gateway::with("edge")
        .workers(4)
        .edit(|bootstrap| {
            let edge = bootstrap.filter("edge")?;
            edge["rate_limit"]["limits"][0]["quota"] = json!(9);
            Ok(())
        })
        .start()
        .await?;
    let mut seen = Vec::new();
    seen.push(gateway.get(HEALTH).await?);
    seen.push(gateway.get(SEARCH).await?);
    seen.push(gateway.get_as("no.good.token", SEARCH).await?);
    gateway
        .faults()
        .set(Fault::status(StatusCode::INTERNAL_SERVER_ERROR));
    for _ in 0..5 {
        seen.push(gateway.get_as(&token(), SEARCH).await?);
    }
    // What the breaker refuses is given back; what is wrong with a token is not.
    seen.push(gateway.get_as(&token(), SEARCH).await?);
    seen.push(gateway.get_as("no.good.token", SEARCH).await?);
    seen.push(gateway.get_as(&token(), SEARCH).await?);
    let mut logged = Vec::new();
    for answer in &seen {
        let line = line(&gateway, answer).await?;
        logged.push(line["details"].as_str().unwrap().to_owned());
        assert!(!answer.body.contains("per_ip"), "{answer:?}");
    }
    let mut expected = vec!["via_upstream", "jwt_auth{no_token}", "jwt_auth{malformed}"];
    expected.extend(["via_upstream"; 5]);
    expected.extend([
        "circuit_breaker{rag_service}",
        "jwt_auth{malformed}",
        "rate_limit{per_ip}",
    ]);
    assert_eq!(logged, expected);
    Ok(())
}
