//! Requests at a time, over four workers.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use portcullis_e2e::{Answer, Gateway, until};
use reqwest::Client;
use serde_json::json;

use crate::circuit_breaker_load::Way;
use crate::common::{SEARCH, flood};

async fn start(most: u64) -> Result<Gateway> {
    let gateway = Gateway::with("rate_limit")
        .workers(4)
        .edit(move |bootstrap| {
            let limit = json!({ "name": "gpu", "key": ["constant"], "in_flight": most });
            bootstrap.filter("rate_limit")?["limits"] = json!([limit]);
            Ok(())
        });
    let gateway = gateway
        .faults_by_request()
        .event_delay(Duration::from_millis(3));
    gateway.start().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_backend_never_has_more_at_a_time_and_none_is_lost() -> Result<()> {
    const MOST: u64 = 4;
    let gateway = start(MOST).await?;
    let statuses = flood(&gateway, 32, 640, |request| {
        request.header("x-demo-fault", "delay=5")
    });
    let statuses = statuses.await?;
    let count = |status| statuses.get(&status).copied().unwrap_or(0);
    let (admitted, refused) = (count(200), count(429));
    assert_eq!(admitted + refused, 640, "{statuses:?}");
    assert_eq!(gateway.requests().total(), u64::try_from(admitted)?);
    assert_eq!(gateway.requests().most_at_once(), MOST);
    let admin = gateway.admin();
    for (metric, value) in [("allowed", admitted), ("limited", refused)] {
        let metric = format!("rate_limit_{metric}{{limit=\"gpu\"}}");
        admin
            .wait_for_metric(&metric, u64::try_from(value)?)
            .await?;
    }
    println!("{admitted} of 640 admitted, {MOST} at a time");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_a_request_ends_another_is_admitted_at_once() -> Result<()> {
    let gateway = start(1).await?;
    let client = Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(0)
        .build()?;
    let ways = Way::ALL.into_iter().filter(|way| *way != Way::Direct);
    for way in ways {
        way.go(&client, &gateway.url("")).await?;
        // The gateway hears of a client that leaves a moment later. A lease would take ten seconds at least.
        let ended = Instant::now();
        loop {
            let answer = Answer::to(client.get(gateway.url(SEARCH))).await?;
            if answer.status == 200 {
                break;
            }
            ensure!(answer.status == 429, "{way:?}: {answer:?}");
            ensure!(
                answer.header("retry-after").is_some(),
                "{way:?}: {answer:?}"
            );
            ensure!(
                ended.elapsed() < Duration::from_secs(5),
                "{way:?} is not over"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    Ok(())
}

/// What a configuration has admitted that is replaced meanwhile is counted for as long as it lives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_outlives_its_configuration_and_is_counted_all_the_while() -> Result<()> {
    /// Longer than two leases.
    const LONG: Duration = Duration::from_secs(25);
    let gateway = Gateway::with("rate_limit").workers(2).edit(|bootstrap| {
        let limit = json!({ "name": "gpu", "key": ["constant"], "in_flight": 1 });
        bootstrap.filter("rate_limit")?["limits"] = json!([limit]);
        Ok(())
    });
    let gateway = gateway
        .reloadable()
        .drain(Duration::from_secs(300))
        .event_delay(Duration::from_secs(4));
    let mut gateway = gateway.start().await?;
    let client = Client::builder().no_proxy().build()?;
    let mut stream = client
        .get(gateway.url("/api/v1/rag/query?q=load"))
        .send()
        .await?;
    assert!(stream.chunk().await?.is_some());
    let begun = Instant::now();
    gateway
        .reload(|bootstrap| {
            let limits = &mut bootstrap.filter("rate_limit")?["limits"];
            let other =
                json!({ "name": "other", "key": ["constant"], "quota": 1000, "window": "1h" });
            *limits = json!([limits[0], other]);
            Ok(())
        })
        .await?;
    until("the new configuration to be in force", async || {
        let answer = gateway.get(SEARCH).await?;
        let policy = answer.header("ratelimit-policy").unwrap_or_default();
        Ok(policy.contains("other"))
    })
    .await?;
    while begun.elapsed() < LONG {
        assert_eq!(
            gateway.get(SEARCH).await?.status,
            429,
            "{:?}",
            begun.elapsed()
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(stream.chunk().await?.is_some(), "it still lives");
    drop(stream);
    until("the stream's place to be free", async || {
        Ok(gateway.get(SEARCH).await?.status == 200)
    })
    .await
}
