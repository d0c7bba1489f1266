//! One key that all clients have in common, on four workers: every request wants the same slot of
//! shared data at the same time.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use portcullis_e2e::{Gateway, PATIENCE};
use serde_json::json;
use tokio::time::timeout;

use crate::common::{HOUR, early_in, flood};

const CONNECTIONS: usize = 32;
const REQUESTS: usize = 2016;
const QUOTA: usize = 500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fixed_window_admits_exactly_its_quota() -> Result<()> {
    let admitted = hammer("fixed_window").await?.admitted;
    assert_eq!(admitted, QUOTA);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_bucket_admits_its_burst_and_what_dripped_in() -> Result<()> {
    let seen = hammer("token_bucket").await?;
    // A token every 7.2 s.
    let dripped = usize::try_from(seen.took.as_millis() / 7_200)?;
    let bounds = QUOTA..=QUOTA + dripped;
    assert!(
        bounds.contains(&seen.admitted),
        "{} {bounds:?}",
        seen.admitted
    );
    Ok(())
}

struct Seen {
    admitted: usize,
    took: Duration,
}

/// Sends all at once over all connections. Each of them gets all of its answers, or this fails; so
/// it does where one is neither 200 nor 429, and where the limiter counts a failure.
async fn hammer(algorithm: &str) -> Result<Seen> {
    early_in(HOUR, Duration::from_secs(20)).await?;
    let gateway = Gateway::with("rate_limit").workers(4).edit(|bootstrap| {
        let limit = &mut bootstrap.filter("rate_limit")?["limits"][0];
        limit["key"] = json!(["constant"]);
        limit["quota"] = json!(QUOTA);
        limit["window"] = json!("1h");
        limit["algorithm"] = json!(algorithm);
        Ok(())
    });
    let gateway = gateway.start().await?;
    let begun = Instant::now();
    let flood = flood(&gateway, CONNECTIONS, REQUESTS, |request| request);
    let statuses = timeout(PATIENCE, flood)
        .await
        .context("a connection did not get its answers")??;
    let took = begun.elapsed();
    let count = |status| statuses.get(&status).copied().unwrap_or(0);
    let (admitted, refused) = (count(200), count(429));
    assert_eq!(admitted + refused, REQUESTS, "{statuses:?}");
    assert_eq!(gateway.requests().total(), u64::try_from(admitted)?);

    // Workers hand over what they have counted once a second, conflicts with the rest.
    let admin = gateway.admin();
    for (metric, value) in [("allowed", admitted), ("limited", refused)] {
        let metric = format!("rate_limit_{metric}{{limit=\"per_ip\"}}");
        admin
            .wait_for_metric(&metric, u64::try_from(value)?)
            .await?;
    }
    let errors = admin.metrics("rate_limit_errors").await?;
    assert!(!errors.is_empty(), "they are announced");
    assert!(errors.iter().all(|error| error.value == 0.0), "{errors:?}");
    let conflicts = admin.stat("wasmcustom.rate_limit_conflicts").await?;
    let conflicts = conflicts.context("rate_limit_conflicts is announced")?;
    let by_worker = admin.connections_by_worker().await?;
    // Only writes can collide, and a request that is refused writes nothing.
    let per_thousand = |requests: usize| conflicts as f64 * 1000.0 / requests as f64;
    println!(
        "{algorithm}: {REQUESTS} requests within {took:?}, {admitted} admitted; \
         {conflicts} conflicts: {:.1} per thousand requests, {:.1} per thousand admitted; \
         connections by worker: {by_worker:?}",
        per_thousand(REQUESTS),
        per_thousand(admitted),
    );
    Ok(Seen { admitted, took })
}
