//! A gateway under mixed load whose configuration changes again and again: nothing is lost, and memory stays as it is.

use std::env;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use portcullis_e2e::Gateway;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::circuit_breaker_load::{Way, counts_all};
use crate::circuit_breaker_scene::{Before, Counts};

const CONNECTIONS: usize = 8;

/// How long it lasts: a quarter of a minute, or as many seconds as `PORTCULLIS_SOAK` says.
fn length() -> Result<Duration> {
    let secs = env::var("PORTCULLIS_SOAK").unwrap_or_else(|_| "15".to_owned());
    Ok(Duration::from_secs(secs.parse()?))
}

/// What Envoy has of the heap, in MiB.
async fn heap(gateway: &Gateway) -> Result<u64> {
    let memory: Value = serde_json::from_str(&gateway.admin().get("/memory").await?)?;
    let bytes: u64 = memory["allocated"].as_str().context("no heap")?.parse()?;
    Ok(bytes >> 20)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_memory_stays_flat_while_the_configuration_changes_under_load()
-> Result<()> {
    let gateway = Gateway::with("circuit_breaker").workers(2).edit(counts_all);
    let gateway = gateway
        .faults_by_request()
        .event_delay(Duration::from_millis(3))
        .reloadable()
        // Longer than any answer takes on a busy machine: what is under way then is cut off.
        .drain(Duration::from_secs(5));
    let mut gateway = gateway.start().await?;
    let before = Before::of(&gateway).await?;
    let until = Instant::now() + length()?;
    let mut tasks = JoinSet::new();
    for connection in 0..CONNECTIONS {
        let client = Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0)
            .build()?;
        let address = gateway.url("");
        tasks.spawn(async move {
            let mut counts = Counts::of(0, 0, 0);
            for request in 0.. {
                if Instant::now() >= until {
                    break;
                }
                let way = Way::ALL[(connection + request) % Way::ALL.len()];
                let what = || format!("{way:?}, connection {connection}, request {request}");
                way.go(&client, &address).await.with_context(what)?;
                counts = counts.and(way.counts());
            }
            anyhow::Ok(counts)
        });
    }
    let mut changes = 0;
    let mut settled = None;
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(500)).await;
        changes += 1;
        gateway
            .reload(|bootstrap| {
                let name = json!(format!("/api/v1/rag/status/breakers/{}", changes % 2));
                bootstrap.filter("circuit_breaker")?["status"] = json!({ "path": name });
                Ok(())
            })
            .await?;
        // Until all is warm, and what was replaced first has gone.
        if changes == 20 {
            settled = Some(heap(&gateway).await?);
        }
    }
    let mut expected = Counts::of(0, 0, 0);
    while let Some(ended) = tasks.join_next().await {
        expected = expected.and(ended??);
    }
    let counted = before.until_counted(&gateway, expected.admitted).await?;
    assert_eq!(counted, expected);
    let (settled, last) = (settled.context("it was too short")?, heap(&gateway).await?);
    println!("{expected:?}, {changes} changes, heap {settled} MiB, then {last} MiB");
    assert!(
        last <= settled + settled / 4 + 8,
        "{settled} MiB, then {last} MiB"
    );
    Ok(())
}
