//! One limit for several gateways, with a real Redis behind a real Webdis.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use portcullis_e2e::Gateway;
use serde_json::{Value, json};

use crate::common::{HOUR, early_in, flood};

fn webdis() -> SocketAddr {
    "127.0.0.1:17379".parse().unwrap()
}

/// A gateway of four workers, all of whose requests count under one key.
async fn gateway(domain: &str, limit: &Value, global: &Value) -> Result<Gateway> {
    let mut of_all = json!({
        "engine": "redis", "upstream": "ratelimit", "authority": "ratelimit.internal", "domain": domain,
    });
    for (name, value) in global.as_object().into_iter().flatten() {
        of_all[name] = value.clone();
    }
    let mut one = json!({ "name": "all", "key": ["constant"], "scope": "global" });
    for (name, value) in limit.as_object().into_iter().flatten() {
        one[name] = value.clone();
    }
    let gateway = Gateway::with("rate_limit")
        .workers(4)
        .edit(move |bootstrap| {
            bootstrap.add_cluster("ratelimit", &[webdis()])?;
            let config = bootstrap.filter("rate_limit")?;
            config["limits"] = json!([one]);
            config["global"] = of_all;
            Ok(())
        });
    gateway.start().await
}

fn domain(name: &str) -> String {
    format!("{name}_{}", std::process::id())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_that_wait_for_the_engine_admit_the_quota_together_and_not_one_more() -> Result<()>
{
    early_in(HOUR, Duration::from_secs(60)).await?;
    for limit in [
        json!({ "quota": 100, "window": "1h", "algorithm": "fixed_window" }),
        json!({ "quota": 100, "window": "1h", "algorithm": "token_bucket" }),
    ] {
        let domain = domain(limit["algorithm"].as_str().unwrap_or_default());
        let global = json!({ "first_request": "wait", "on_error": "deny", "timeout": "2s" });
        let gateways = [
            gateway(&domain, &limit, &global).await?,
            gateway(&domain, &limit, &global).await?,
            gateway(&domain, &limit, &global).await?,
        ];
        let floods = gateways
            .iter()
            .map(|gateway| flood(gateway, 16, 160, |request| request));
        let statuses = futures_util::future::try_join_all(floods).await?;
        println!("{domain}: {statuses:?}");
        let admitted: u64 = gateways
            .iter()
            .map(|gateway| gateway.requests().total())
            .sum();
        // What drips into a bucket while a lease is good is left out of it.
        let expected = match limit["algorithm"].as_str() {
            Some("token_bucket") => 99,
            _ => 100,
        };
        assert_eq!(admitted, expected, "{statuses:?}");
    }
    Ok(())
}
