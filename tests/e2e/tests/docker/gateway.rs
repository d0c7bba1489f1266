//! The edge itself: killed, and given another configuration under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context as _, Result};
use portcullis_e2e::until;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::kind::Kind;
use crate::stack::{HEALTH, SEARCH, Stack, stack};

#[tokio::test]
async fn a_gateway_that_dies_is_back_by_itself_with_all_its_rules() -> Result<()> {
    let stack = stack().await?;
    let id = stack.container("gateway").await?;
    let restarts = async || {
        let count = stack.docker(&["inspect", "--format", "{{.RestartCount}}", &id]);
        anyhow::Ok(count.await?.trim().parse::<u32>()?)
    };
    let before = restarts().await?;
    // As the kernel kills what takes too much memory. `docker kill` would count as wanted.
    let kill = format!(
        r#"for p in /proc/[0-9]*; do case "$(readlink $p/exe)" in */{}) kill -9 "${{p#/proc/}}";; esac; done"#,
        stack.kind.program()
    );
    // The container's end may come before the command's.
    let _ = stack.docker(&["exec", &id, "bash", "-c", &kill]).await;
    until("the container to be started again", async || {
        Ok(restarts().await? == before + 1)
    })
    .await?;
    until("the gateway to answer", async || {
        let answer = stack.caller().get(SEARCH).await;
        Ok(answer.is_ok_and(|answer| answer.status == 200))
    })
    .await?;
    let refused = stack.caller().with_token(None).get(SEARCH).await?;
    assert_eq!(refused.status, 401, "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn envoys_image_has_the_filters_as_native_code_too() -> Result<()> {
    let stack = stack().await?;
    if stack.kind != Kind::Envoy {
        return Ok(());
    }
    let id = stack.container("gateway").await?;
    let config = json!({ "static_resources": { "listeners": [{
        "name": "native",
        "address": { "socket_address": { "address": "127.0.0.1", "port_value": 0 } },
        "filter_chains": [{ "filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": "native",
                "route_config": {},
                "http_filters": [
                    { "name": "rate_limit", "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter",
                        "dynamic_module_config": { "name": "portcullis" },
                        "filter_name": "rate_limit",
                        "filter_config": {
                            "@type": "type.googleapis.com/google.protobuf.Struct",
                            "value": { "limits": [{ "name": "l", "key": ["client_address"], "quota": 1, "window": "1m" }] },
                        },
                    } },
                    { "name": "router", "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" } },
                ],
            },
        }] }],
    }] } });
    let validate = format!("envoy --mode validate --config-yaml '{config}' 2>&1");
    let said = stack
        .docker(&["exec", &id, "bash", "-c", &validate])
        .await?;
    assert!(said.contains("OK"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_configuration_under_load_loses_no_request_and_no_count() -> Result<()> {
    let mut stack = stack().await?;
    let limit = async |stack: &mut Stack, quota: u32| {
        let change = |filter: &mut Value| {
            let limit = &mut filter["rate_limit"]["limits"][0];
            // So that no minute ends while this goes on.
            limit["window"] = json!("24h");
            limit["quota"] = json!(quota);
        };
        stack.reconfigure(change).await
    };
    limit(&mut stack, 100_000).await?;
    let counted = stack.caller();
    for _ in 0..60 {
        assert_eq!(counted.get(HEALTH).await?.status, 200);
    }

    let done = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for client in 0..8 {
        let caller = stack.caller();
        let (done, answered) = (Arc::clone(&done), Arc::clone(&answered));
        clients.spawn(async move {
            let mut sent: u32 = 0;
            while !done.load(Ordering::Relaxed) {
                // No address has more than the quota.
                let address = format!("203.0.{client}.{}", sent / 50 % 250);
                let answer = caller.clone().at(&address).get(SEARCH).await?;
                assert_eq!(answer.status, 200, "{answer:?}");
                answered.fetch_add(1, Ordering::Relaxed);
                sent += 1;
            }
            anyhow::Ok(())
        });
    }
    for quota in [200, 300, 100] {
        let before = answered.load(Ordering::Relaxed);
        limit(&mut stack, quota).await?;
        until("requests under the new configuration", async || {
            Ok(answered.load(Ordering::Relaxed) > before + 50)
        })
        .await?;
    }
    done.store(true, Ordering::Relaxed);
    while let Some(client) = clients.join_next().await {
        client?.context("a request was lost")?;
    }

    // What was taken of the quota before is taken still; on Kong a reload empties the zone.
    let taken = match stack.kind {
        Kind::Envoy => 60,
        Kind::Kong => 0,
    };
    // By a connection of its own: those of before have the old configuration until they are drained.
    let counted = stack.caller().at(counted.address());
    for number in taken + 1..=101 {
        let answer = counted.get(HEALTH).await?;
        let expected = if number <= 100 { 200 } else { 429 };
        assert_eq!(answer.status, expected, "{number}: {answer:?}");
    }
    stack.reconfigure(|_| ()).await
}
