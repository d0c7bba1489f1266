//! Where the limits are: one client's hundred a minute, and the breaker's five failures.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use portcullis_e2e::backend::Fault;
use portcullis_e2e::until_some;
use reqwest::StatusCode;

use super::stage::Stage;

const SEARCH: &str = "/api/v1/rag/search?q=circuit+breaker&limit=2";

/// `envoy/edge.yaml`: requests a minute and client.
const QUOTA: usize = 100;

/// `envoy/edge.yaml`: failures one after the other.
const FAILURES: usize = 5;

/// One client asks more often than it may.
///
/// # Errors
/// It was not refused where it should be.
pub async fn limit(stage: &Stage) -> Result<()> {
    // Addresses that nobody has (RFC 5737), and no user of the profile.
    const CLIENT: &str = "203.0.113.1";
    early_in_a_minute().await?;
    println!("\nThe limiter: one client, one request after the other");
    let mut statuses = Vec::new();
    let refused = loop {
        let answer = stage.get(SEARCH, CLIENT).await?;
        statuses.push(answer.status);
        if answer.status != 200 {
            break answer;
        }
        ensure!(
            statuses.len() <= QUOTA,
            "more than {QUOTA} passed in a minute"
        );
    };
    let retry = refused.header("retry-after").unwrap_or("nothing");
    println!(
        "  1 to {}: 200\n  {}: {}, retry-after: {retry}",
        statuses.len() - 1,
        statuses.len(),
        refused.status
    );
    ensure!(refused.status == 429, "{refused:?}");
    ensure!(statuses.len() == QUOTA + 1, "refused too early");
    let other = stage.get(SEARCH, "203.0.113.2").await?;
    println!("  another client's first: {}", other.status);
    ensure!(other.status == 200, "{other:?}");
    Ok(())
}

/// The backend fails, until it is not asked any more.
///
/// # Errors
/// The breaker did not open where it should.
pub async fn breaker(stage: &Stage) -> Result<()> {
    const CLIENT: &str = "203.0.113.3";
    println!("\nThe breaker: a backend that answers 503 to everything");
    let requests = stage.backend().requests();
    let before = requests.total();
    let fault = Fault::status(StatusCode::SERVICE_UNAVAILABLE);
    stage.backend().faults().set(fault);
    let mut asked = 0;
    let refused = loop {
        let answer = stage.get(SEARCH, CLIENT).await?;
        ensure!(answer.status == 503, "{answer:?}");
        if answer.body.contains("circuit-open") {
            break answer;
        }
        asked += 1;
        ensure!(asked <= FAILURES, "the breaker does not open");
    };
    let retry = refused.header("retry-after").unwrap_or("nothing");
    println!(
        "  1 to {asked}: the backend's 503\n  {}: the gateway's 503, retry-after: {retry}",
        asked + 1
    );
    ensure!(asked == FAILURES, "it opened after {asked} failures");
    ensure!(
        requests.total() - before == FAILURES as u64,
        "the backend was asked again"
    );
    let state = r#"circuit_breaker_state{breaker="rag_service"}"#;
    // 2 is open.
    stage.admin().wait_for_metric(state, 2).await?;
    let id = refused.header("x-request-id").context("no request id")?;
    let took = until_some("the refusal in the access log", async || {
        let log = stage.output().access_log();
        let entry = log.iter().find(|entry| entry["request_id"] == id);
        Ok(entry.and_then(|entry| entry["duration_us"].as_u64()))
    });
    println!(
        "  From its first byte to the answer's last: {} µs",
        took.await?
    );
    Ok(())
}

/// Waits, if need be, until some seconds of the minute are left, so that all is counted in one window.
async fn early_in_a_minute() -> Result<()> {
    const ENOUGH: u64 = 5;
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let left = 60 - since_1970 % 60;
    if left <= ENOUGH {
        tokio::time::sleep(Duration::from_secs(left)).await;
    }
    Ok(())
}
