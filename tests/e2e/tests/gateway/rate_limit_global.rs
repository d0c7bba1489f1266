//! One limit for several gateways, with a real Redis behind a real Webdis, a rate limit service, and Limitador.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use futures_util::future::try_join_all;
use portcullis_e2e::{Gateway, until};
use serde_json::{Value, json};

use crate::common::{HOUR, SEARCH, early_in, flood};
use crate::engines::limitador::Limitador;
use crate::engines::redis::Redis;
use crate::engines::rls::Rls;

/// A quota of 100 an hour.
fn windows() -> Value {
    json!({ "quota": 100, "window": "1h", "algorithm": "fixed_window" })
}

/// Adds fields to others.
fn with(mut fields: Value, others: &Value) -> Value {
    for (name, value) in others.as_object().into_iter().flatten() {
        fields[name] = value.clone();
    }
    fields
}

/// A gateway of four workers, all of whose requests count under one key.
async fn gateway(engine: SocketAddr, limit: &Value, global: &Value) -> Result<Gateway> {
    let global = with(
        json!({
            "engine": "redis", "upstream": "ratelimit", "authority": "ratelimit.internal", "domain": "rag",
            "timeout": "2s",
        }),
        global,
    );
    let limit = with(
        json!({ "name": "all", "key": ["constant"], "scope": "global" }),
        limit,
    );
    let gateway = Gateway::with("rate_limit").workers(4).edit(move |bootstrap| {
        let speaks_grpc = global["engine"] == "envoy_rls";
        let cluster = bootstrap.add_cluster("ratelimit", &[engine])?;
        if speaks_grpc {
            cluster["typed_extension_protocol_options"] = json!({
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": { "http2_protocol_options": {} },
                },
            });
        }
        let config = bootstrap.filter("rate_limit")?;
        config["limits"] = json!([limit]);
        config["global"] = global;
        Ok(())
    });
    gateway.start().await
}

/// So many requests to each of them at once; how many each of their backends has had in all.
async fn flooded(gateways: &[Gateway], requests: usize) -> Result<Vec<u64>> {
    let floods = gateways
        .iter()
        .map(|gateway| flood(gateway, 16, requests, |request| request));
    try_join_all(floods).await?;
    Ok(gateways
        .iter()
        .map(|gateway| gateway.requests().total())
        .collect())
}

const WAIT: &str = r#"{ "first_request": "wait", "on_error": "deny" }"#;

fn wait() -> Value {
    serde_json::from_str(WAIT).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_that_wait_for_the_engine_admit_the_quota_together_and_not_one_more() -> Result<()>
{
    early_in(HOUR, Duration::from_secs(60)).await?;
    let bucket = json!({ "quota": 100, "window": "1h", "algorithm": "token_bucket" });
    // What drips into a bucket while a lease is good is left out of it.
    for (limit, expected) in [(windows(), 100), (bucket, 99)] {
        let Some(redis) = Redis::start().await? else {
            return Ok(());
        };
        let mut gateways = Vec::new();
        for _ in 0..3 {
            gateways.push(gateway(redis.address(), &limit, &wait()).await?);
        }
        let admitted = flooded(&gateways, 160).await?;
        println!("{limit}: {admitted:?}");
        assert_eq!(admitted.iter().sum::<u64>(), expected, "{admitted:?}");
        let answer = gateways[0].get(SEARCH).await?;
        assert_eq!(answer.status, 429, "{answer:?}");
        assert!(
            answer.number("retry-after").is_some_and(|wait| wait > 0),
            "{answer:?}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_that_lend_go_beyond_the_quota_by_a_lease_each_at_most() -> Result<()> {
    early_in(HOUR, Duration::from_secs(60)).await?;
    let Some(redis) = Redis::start().await? else {
        return Ok(());
    };
    let mut gateways = Vec::new();
    for _ in 0..3 {
        gateways.push(gateway(redis.address(), &windows(), &json!({ "on_error": "deny" })).await?);
    }
    for _ in 0..6 {
        flooded(&gateways, 160).await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let admitted: u64 = gateways
        .iter()
        .map(|gateway| gateway.requests().total())
        .sum();
    println!("{admitted} admitted of 100");
    assert!((95..=130).contains(&admitted), "{admitted}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_engine_a_gateway_spends_what_it_holds_and_then_its_share_until_it_is_back()
-> Result<()> {
    early_in(HOUR, Duration::from_secs(60)).await?;
    let Some(mut redis) = Redis::start().await? else {
        return Ok(());
    };
    let global = json!({ "first_request": "wait", "on_error": "local", "local_share": 0.25, "timeout": "300ms" });
    let gateways = [gateway(redis.address(), &windows(), &global).await?];
    let [alone] = &gateways;
    assert_eq!(alone.get(SEARCH).await?.status, 200);
    redis.kill().await?;
    let before = alone.requests().total();
    let statuses = flood(alone, 16, 160, |request| request).await?;
    let admitted = alone.requests().total() - before;
    println!("{statuses:?} before {before}");
    // A quarter, and what it may still have held: a lease at most.
    assert!((25..=35).contains(&admitted), "{admitted}");
    alone
        .admin()
        .wait_for_metric("rate_limit_engine_away{}", 1)
        .await?;
    redis.start_again().await?;
    until("the engine is asked again", async || {
        Ok(alone.get(SEARCH).await?.status == 200)
    })
    .await?;
    alone
        .admin()
        .wait_for_metric("rate_limit_engine_away{}", 0)
        .await?;
    assert_eq!(alone.output().with(&["event=engine_away"]).len(), 1);
    alone.output().wait_for(&["event=engine_back"]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_engine_is_away_requests_pass_or_are_refused_as_it_says_and_none_waits_for_long()
-> Result<()> {
    let Some(redis) = Redis::start().await? else {
        return Ok(());
    };
    for (on_error, status) in [("allow", 200), ("deny", 503)] {
        let global = json!({ "first_request": "wait", "on_error": on_error, "timeout": "300ms" });
        let gateway = gateway(redis.address(), &windows(), &global).await?;
        assert_eq!(gateway.get(SEARCH).await?.status, 200);
        redis.signal("-STOP").await?;
        let begun = std::time::Instant::now();
        for number in 0..20 {
            let answered = gateway.get(SEARCH).await?.status;
            // What is held is spent before.
            let holds = number < 10 && answered == 200;
            assert!(
                holds || answered == status,
                "{on_error}: {number}: {answered}"
            );
        }
        let took = begun.elapsed();
        println!("{on_error}: 20 requests while the engine stands still took {took:?}");
        assert!(took < Duration::from_secs(2), "{took:?}");
        redis.signal("-CONT").await?;
        until("the engine is asked again", async || {
            let answer = gateway.get(SEARCH).await?;
            Ok(
                gateway.admin().metric("rate_limit_engine_away{}").await? == Some(0)
                    && answer.status == 200,
            )
        })
        .await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_replaced_and_an_idle_one_give_nobody_more_than_the_quota() -> Result<()>
{
    early_in(HOUR, Duration::from_secs(60)).await?;
    let Some(redis) = Redis::start().await? else {
        return Ok(());
    };
    let mut admitted = 0;
    let mut gateways = vec![
        gateway(redis.address(), &windows(), &wait()).await?,
        gateway(redis.address(), &windows(), &wait()).await?,
    ];
    for gateway in &gateways {
        flood(gateway, 16, 16, |request| request).await?;
    }
    let returned = "rate_limit_lease_returned{limit=\"all\"}";
    let units = "rate_limit_lease_units{limit=\"all\"}";
    // What the first one does not spend goes back.
    let first = &gateways[0];
    until("what is not spent goes back", async || {
        let of = async |name| anyhow::Ok(first.admin().metric(name).await?.unwrap_or(0));
        Ok(of(units).await? - of(returned).await? == first.requests().total())
    })
    .await?;
    // The second one is gone, with what it holds.
    let second = gateways
        .pop()
        .map_or(0, |gateway| gateway.requests().total());
    admitted += second;
    gateways.push(gateway(redis.address(), &windows(), &wait()).await?);
    admitted += flooded(&gateways, 160).await?.iter().sum::<u64>();
    println!("{admitted} admitted of 100");
    assert!((90..=100).contains(&admitted), "{admitted}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_limit_service_counts_for_several_gateways() -> Result<()> {
    early_in(HOUR, Duration::from_secs(60)).await?;
    let rls = Rls::start("all", 100, 3_600).await?;
    let global = with(wait(), &json!({ "engine": "envoy_rls" }));
    let mut gateways = Vec::new();
    for _ in 0..2 {
        gateways.push(gateway(rls.address(), &windows(), &global).await?);
    }
    let admitted: u64 = flooded(&gateways, 160).await?.iter().sum();
    println!("{admitted} admitted of 100");
    // It counts what it refuses.
    assert!((90..=100).contains(&admitted), "{admitted}");
    // A limit that it does not know is no limit without end.
    let other = with(windows(), &json!({ "name": "other" }));
    let gateway = gateway(rls.address(), &other, &global).await?;
    assert_eq!(gateway.get(SEARCH).await?.status, 503);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limitador_counts_for_several_gateways() -> Result<()> {
    let limitador = Limitador::start("rag", "all", 100, 3_600).await?;
    let global = with(wait(), &json!({ "engine": "limitador" }));
    let mut gateways = Vec::new();
    for _ in 0..2 {
        gateways.push(gateway(limitador.address(), &windows(), &global).await?);
    }
    let admitted: u64 = flooded(&gateways, 160).await?.iter().sum();
    println!("{admitted} admitted of 100");
    assert!((95..=100).contains(&admitted), "{admitted}");
    Ok(())
}
