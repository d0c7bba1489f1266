//! A configuration that is replaced while the gateway runs, by the file that Envoy watches.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Result;
use portcullis_e2e::{Gateway, until};
use serde_json::json;

use crate::circuit_breaker::trip;
use crate::common::SEARCH;

#[tokio::test]
async fn an_open_breaker_stays_open_while_another_one_is_added() -> Result<()> {
    let gateway = Gateway::with("circuit_breaker").workers(4).reloadable();
    let mut gateway = gateway.start().await?;
    trip(&gateway).await?;
    gateway
        .reload(|bootstrap| {
            let breakers = &mut bootstrap.filter("circuit_breaker")?["breakers"];
            let other = json!({
                "name": "other", "match": { "paths": [{ "prefix": "/other" }] },
                "trip": { "failure_ratio": { "above": 0.5, "window": "10s", "minimum_requests": 2 } },
            });
            *breakers = json!([other, breakers[0]]);
            Ok(())
        })
        .await?;
    until("the new configuration to be in force", async || {
        let shown = gateway.get("/api/v1/rag/status/breakers").await?.json()?;
        Ok(shown == json!({ "other": "closed", "rag_service": "open" }))
    })
    .await?;
    assert_eq!(gateway.get(SEARCH).await?.status, 503);
    let gauge = r#"circuit_breaker_state{breaker="rag_service"}"#;
    gateway.admin().wait_for_metric(gauge, 2).await?;
    assert_eq!(gateway.requests().total(), 5);
    Ok(())
}

#[tokio::test]
async fn counts_of_a_limit_survive_and_a_configuration_that_is_refused_changes_nothing()
-> Result<()> {
    const QUOTA: u64 = 1_000;
    let gateway = Gateway::with("rate_limit").reloadable().edit(|bootstrap| {
        bootstrap.filter("rate_limit")?["limits"] = json!([{
            "name": "all", "key": ["constant"], "quota": QUOTA, "window": "24h",
            "algorithm": "fixed_window",
        }]);
        Ok(())
    });
    let mut gateway = gateway.start().await?;
    let mut sent = 0;
    let mut ask = async |gateway: &Gateway| -> Result<String> {
        let answer = gateway.get(SEARCH).await?;
        sent += 1;
        assert_eq!(answer.number("x-ratelimit-remaining"), Some(QUOTA - sent));
        Ok(answer
            .header("ratelimit-policy")
            .unwrap_or_default()
            .to_owned())
    };
    ask(&gateway).await?;
    let refused = gateway
        .reload(|bootstrap| {
            bootstrap.filter("rate_limit")?["limits"][0]["quota"] = json!("three");
            Ok(())
        })
        .await;
    let refused = refused.expect_err("a quota that is no number").to_string();
    assert!(refused.contains("limits[0].quota"), "{refused}");
    ask(&gateway).await?;
    gateway
        .reload(|bootstrap| {
            let limits = &mut bootstrap.filter("rate_limit")?["limits"];
            let other = json!({
                "name": "other", "key": ["constant"], "quota": 2 * QUOTA, "window": "24h",
                "algorithm": "fixed_window",
            });
            *limits = json!([limits[0], other]);
            Ok(())
        })
        .await?;
    until("the new configuration to be in force", async || {
        Ok(ask(&gateway).await?.contains("other"))
    })
    .await
}

/// Requests that go on, one after the other, until it is dropped.
pub(crate) struct Traffic {
    stop: std::sync::Arc<AtomicBool>,
    passed: std::sync::Arc<AtomicU32>,
    task: tokio::task::JoinHandle<Result<()>>,
}

impl Traffic {
    /// GETs of `url`, each on a connection of its own, that all must be answered with 200.
    pub(crate) fn start(url: String) -> Self {
        let (stop, passed) = (
            std::sync::Arc::<AtomicBool>::default(),
            std::sync::Arc::<AtomicU32>::default(),
        );
        let task = tokio::spawn({
            let (stop, passed) = (std::sync::Arc::clone(&stop), std::sync::Arc::clone(&passed));
            async move {
                let client = reqwest::Client::builder()
                    .no_proxy()
                    .pool_max_idle_per_host(0)
                    .timeout(Duration::from_secs(20))
                    .build()?;
                while !stop.load(Ordering::Relaxed) {
                    let answer = client.get(&url).send().await?;
                    let status = answer.status();
                    anyhow::ensure!(status == 200, "{status}: {}", answer.text().await?);
                    passed.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            }
        });
        Self { stop, passed, task }
    }

    /// Waits for so many more requests to have passed.
    pub(crate) async fn passes(&self, more: u32) -> Result<()> {
        let target = self.passed.load(Ordering::Relaxed).saturating_add(more);
        until("requests to pass", async || {
            anyhow::ensure!(!self.task.is_finished(), "a request did not pass");
            Ok(self.passed.load(Ordering::Relaxed) >= target)
        })
        .await
    }

    /// Ends it.
    ///
    /// # Errors
    /// A request was not answered with 200.
    pub(crate) async fn end(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await?
    }
}

#[tokio::test]
async fn no_request_is_lost_while_the_configuration_is_replaced_again_and_again() -> Result<()> {
    let gateway = Gateway::with("service_token").workers(4).reloadable();
    let mut gateway = gateway.start().await?;
    let traffic = Traffic::start(gateway.url(SEARCH));
    for times in 0..5 {
        traffic.passes(20).await?;
        gateway
            .reload(|bootstrap| {
                let secrets = &mut bootstrap.filter("service_token")?["credential"]["secrets"];
                let next = json!({ "id": format!("next-{times}"), "value": "n".repeat(64) });
                *secrets = json!([secrets[0], next]);
                Ok(())
            })
            .await?;
    }
    traffic.passes(20).await?;
    traffic.end().await
}
