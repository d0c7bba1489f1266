//! `envoy/rate_limit.yaml`

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use portcullis_e2e::backend::Fault;
use portcullis_e2e::{Answer, Gateway, PATIENCE};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::common::{SEARCH, assert_problem, early_in_a_minute, flood, preflight};

/// Long enough for a flood on a busy machine.
const ROOM: Duration = Duration::from_secs(10);

with_one_and_four_workers! {
    async fn a_request_passes_and_is_told_where_the_client_stands(workers) {
        let gateway = Gateway::with("rate_limit").workers(workers).start().await?;
        for remaining in [99, 98, 97] {
            let answer = gateway.get(SEARCH).await?;
            assert_eq!(answer.status, 200);
            assert!(!answer.json()?["results"].as_array().unwrap().is_empty());
            assert_eq!(answer.header("ratelimit-policy"), Some(r#""per_ip";q=100;w=60"#));
            let state = answer.header("ratelimit").unwrap();
            assert!(state.starts_with(&format!(r#""per_ip";r={remaining};t="#)), "{state}");
            assert_eq!(answer.number("x-ratelimit-limit"), Some(100));
            assert_eq!(answer.number("x-ratelimit-remaining"), Some(remaining));
            assert!((1..=60).contains(&answer.number("x-ratelimit-reset").unwrap()));
            assert_eq!(answer.number("x-ratelimit-limit-minute"), Some(100));
            assert_eq!(answer.number("x-ratelimit-remaining-minute"), Some(remaining));
            assert_eq!(answer.header("retry-after"), None);
        }
        gateway.admin().wait_for_metric(r#"rate_limit_allowed{limit="per_ip"}"#, 3).await?;
    }

    async fn a_hundred_a_minute_are_admitted_of_400_over_32_connections(workers) {
        early_in_a_minute(ROOM).await?;
        let gateway = Gateway::with("rate_limit").workers(workers).start().await?;
        let statuses = flood(&gateway, 32, 416, |request| request).await?;
        assert_eq!(statuses, BTreeMap::from([(200, 100), (429, 316)]));
        assert_eq!(gateway.requests().total(), 100);
        gateway.admin().wait_for_metric(r#"rate_limit_allowed{limit="per_ip"}"#, 100).await?;
        gateway.admin().wait_for_metric(r#"rate_limit_limited{limit="per_ip"}"#, 316).await?;
    }

    async fn a_fixed_window_admits_its_quota_and_then_the_next_window_does(workers) {
        let gateway = Gateway::with("rate_limit").workers(workers).edit(|bootstrap| {
            let limit = &mut bootstrap.filter("rate_limit")?["limits"][0];
            limit["algorithm"] = json!("fixed_window");
            limit["window"] = json!("3s");
            limit["quota"] = json!(5);
            Ok(())
        });
        let gateway = gateway.start().await?;
        // To the end of the window at hand.
        let wait = gateway.get(SEARCH).await?.number("x-ratelimit-reset").unwrap();
        tokio::time::sleep(Duration::from_secs(wait)).await;
        let statuses = flood(&gateway, 4, 16, |request| request).await?;
        assert_eq!(statuses, BTreeMap::from([(200, 5), (429, 11)]));
        let refused = gateway.get(SEARCH).await?;
        let retry_after = refused.number("retry-after").unwrap();
        assert!((1..=3).contains(&retry_after), "{retry_after}");
        tokio::time::sleep(Duration::from_secs(retry_after)).await;
        assert_eq!(gateway.get(SEARCH).await?.status, 200);
    }

    async fn a_refusal_says_when_to_come_back_and_does_not_reach_the_upstream(workers) {
            let gateway = tight(workers, 2).await?;
        for _ in 0..2 {
            assert_eq!(gateway.get(SEARCH).await?.status, 200);
        }
        let refused = gateway.get(SEARCH).await?;
        assert_problem(&refused, 429, "quota-exceeded");
        let retry_after = refused.number("retry-after").unwrap();
        assert!((1..=7_200).contains(&retry_after), "{retry_after}");
        assert_eq!(refused.header("ratelimit-policy"), Some(r#""per_ip";q=2;w=3600"#));
        assert!(refused.header("ratelimit").unwrap().starts_with(r#""per_ip";r=0;t="#));
        assert_eq!(refused.number("x-ratelimit-limit"), Some(2));
        assert_eq!(refused.number("x-ratelimit-remaining"), Some(0));
        assert_eq!(refused.number("x-ratelimit-remaining-hour"), Some(0));
        assert_eq!(gateway.requests().total(), 2);
    }

    async fn shadow_lets_pass_and_counts(workers) {
            let gateway = Gateway::with("rate_limit").workers(workers).edit(|bootstrap| {
            let config = bootstrap.filter("rate_limit")?;
            config["mode"] = json!("shadow");
            config["limits"][0]["quota"] = json!(2);
            config["limits"][0]["window"] = json!("1h");
            Ok(())
        });
        let gateway = gateway.start().await?;
        for _ in 0..5 {
            let answer = gateway.get(SEARCH).await?;
            assert_eq!(answer.status, 200);
            assert_eq!(answer.header("ratelimit"), None);
        }
        let admin = gateway.admin();
        admin.wait_for_metric(r#"rate_limit_shadow_limited{limit="per_ip"}"#, 3).await?;
        admin.wait_for_metric(r#"rate_limit_limited{limit="per_ip"}"#, 0).await?;
        gateway.output().wait_for(&["rate_limit", "shadow_refused", "reason=quota_exceeded"]).await?;
    }
}

#[tokio::test]
async fn a_client_can_not_choose_the_address_that_it_is_counted_under() -> Result<()> {
    let gateway = tight(4, 3).await?;
    for n in 0..3 {
        let forged = format!("198.51.100.{n}");
        let headers = [
            ("x-forwarded-for", forged.as_str()),
            ("x-real-ip", "203.0.113.9"),
        ];
        assert_eq!(gateway.get_with(SEARCH, &headers).await?.status, 200);
    }
    let headers = [
        ("x-forwarded-for", "203.0.113.77"),
        ("x-envoy-external-address", "203.0.113.78"),
    ];
    assert_eq!(gateway.get_with(SEARCH, &headers).await?.status, 429);
    Ok(())
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn every_client_address_has_a_count_of_its_own() -> Result<()> {
    let gateway = tight(4, 2).await?;
    for _ in 0..2 {
        assert_eq!(gateway.get(SEARCH).await?.status, 200);
    }
    assert_eq!(gateway.get(SEARCH).await?.status, 429);
    // All of 127.0.0.0/8 is this machine.
    let other = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
    let other = other
        .local_address("127.0.0.2".parse::<std::net::IpAddr>()?)
        .build()?;
    for status in [200, 200, 429] {
        assert_eq!(
            Answer::to(other.get(gateway.url(SEARCH))).await?.status,
            status
        );
    }
    Ok(())
}

#[tokio::test]
async fn behind_a_trusted_proxy_the_address_is_what_the_proxy_says() -> Result<()> {
    let gateway = Gateway::with("rate_limit").edit(|bootstrap| {
        let config = bootstrap.filter("rate_limit")?;
        config["limits"][0]["quota"] = json!(1);
        config["limits"][0]["window"] = json!("1h");
        config["client_address"] = json!({ "trusted_proxies": ["127.0.0.0/8"] });
        // Envoy would append an address of this machine, where a real proxy's peer is not local.
        bootstrap.connection_manager()?["skip_xff_append"] = json!(true);
        Ok(())
    });
    let gateway = gateway.start().await?;
    for (forwarded, status) in [
        ("198.51.100.1", 200),
        ("198.51.100.2", 200),
        ("198.51.100.1", 429),
        // What stands left of it is what the client made up.
        ("203.0.113.9, 198.51.100.2", 429),
        // A customer's /64 is one client.
        ("2001:db8:0:1::1", 200),
        ("2001:db8:0:1::2", 429),
        ("2001:db8:0:2::1", 200),
    ] {
        let answer = gateway
            .get_with(SEARCH, &[("x-forwarded-for", forwarded)])
            .await?;
        assert_eq!(answer.status, status, "{forwarded}");
    }
    Ok(())
}

#[tokio::test]
async fn a_preflight_is_not_counted_and_any_other_options_request_is() -> Result<()> {
    let gateway = tight(1, 1).await?;
    for _ in 0..3 {
        // The backend knows no OPTIONS, but it was asked.
        assert_eq!(preflight(&gateway, SEARCH).await?.status, 405);
    }
    assert_eq!(gateway.get(SEARCH).await?.status, 200);
    assert_eq!(
        Answer::to(gateway.request(Method::OPTIONS, SEARCH))
            .await?
            .status,
        429
    );
    Ok(())
}

#[tokio::test]
async fn a_refused_request_is_charged_to_no_limit() -> Result<()> {
    let gateway = Gateway::with("rate_limit").edit(|bootstrap| {
        bootstrap.filter("rate_limit")?["limits"] = json!([
            { "name": "all", "key": ["client_address"], "quota": 5, "window": "1h" },
            { "name": "per_user", "key": ["header:x-user"], "quota": 1, "window": "1h" },
        ]);
        Ok(())
    });
    let gateway = gateway.start().await?;
    for (user, status) in [
        ("a", 200),
        ("a", 429),
        ("a", 429),
        ("a", 429),
        ("b", 200),
        ("c", 200),
        ("d", 200),
        ("e", 200),
        ("f", 429),
    ] {
        let answer = gateway.get_with(SEARCH, &[("x-user", user)]).await?;
        assert_eq!(answer.status, status, "{user}");
        let policy = answer.header("ratelimit-policy").unwrap();
        assert!(policy.contains(r#""all";q=5;w=3600"#), "{policy}");
    }
    Ok(())
}

#[tokio::test]
async fn a_refusal_is_one_log_line_that_a_client_can_not_forge() -> Result<()> {
    let gateway = tight(1, 1).await?;
    gateway.get(SEARCH).await?;
    let target = "/api/v1/rag/search?q=x%0arate_limit:%20forged\"=\\status=200";
    assert_eq!(gateway.raw_get(target, &[]).await?.status, 429);
    let line = gateway
        .output()
        .wait_for(&["rate_limit", "reason=quota_exceeded"])
        .await?;
    for part in [
        "limit=per_ip",
        "status=429",
        "method=GET",
        "path=",
        "request_id=",
    ] {
        assert!(line.contains(part), "{line}");
    }
    assert_eq!(gateway.output().with(&["quota_exceeded"]).len(), 1);
    Ok(())
}

async fn tight(workers: u32, quota: u32) -> Result<Gateway> {
    let gateway = Gateway::with("rate_limit")
        .workers(workers)
        .edit(|bootstrap| {
            let limit = &mut bootstrap.filter("rate_limit")?["limits"][0];
            limit["quota"] = json!(quota);
            // A sliding window: whichever hour it is, a burst of seconds gets the quota and no more.
            limit["window"] = json!("1h");
            Ok(())
        });
    gateway.start().await
}

/// What the gateway did not serve is given back, but not where an attempt before the last one has reached the upstream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_that_the_gateway_holds_back_gives_nobody_more_than_the_quota() -> Result<()> {
    const QUOTA: usize = 10;
    let gateway = Gateway::with("rate_limit").workers(4).edit(|bootstrap| {
        let limit = &mut bootstrap.filter("rate_limit")?["limits"][0];
        limit["quota"] = json!(QUOTA);
        limit["window"] = json!("1h");
        for route in bootstrap.routes()? {
            route["route"]["retry_policy"] = json!({ "retry_on": "5xx,reset", "num_retries": 1 });
        }
        bootstrap.at("/static_resources/clusters/0")?["circuit_breakers"] =
            json!({ "thresholds": [{ "max_connections": 1, "max_pending_requests": 1 }] });
        Ok(())
    });
    let gateway = gateway.start().await?;
    gateway
        .faults()
        .set(Fault::status(StatusCode::SERVICE_UNAVAILABLE));
    for round in 0..6 {
        let ask = async |n: usize| {
            let name = format!("{round}-{n}");
            gateway.get_with(SEARCH, &[("x-number", &name)]).await
        };
        futures_util::future::try_join_all((0..50).map(ask)).await?;
    }
    let received = gateway.requests().all();
    let numbers = received
        .iter()
        .map(|received| received.values("x-number").concat());
    let reached: std::collections::BTreeSet<_> = numbers.collect();
    assert!((1..=QUOTA).contains(&reached.len()), "{}", reached.len());
    Ok(())
}
