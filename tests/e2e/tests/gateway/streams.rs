//! Models that say nothing behind their head, and where requests go then.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use portcullis_e2e::backend::{Backend, Role, Running};
use portcullis_e2e::{Answer, Gateway, until};
use reqwest::Client;
use serde_json::{Value, json};

const PROMPT: &str = "Probes decide when a breaker closes, and nothing else.\n\nWhat do probes do?";

async fn model(delay: Duration) -> Result<Running> {
    let model = Backend::builder().role(Role::Ollama).test_routes(true);
    Ok(model.event_delay(delay).start().await?)
}

async fn start(model: &Running, small: Option<&Running>, breaker: Value) -> Result<Gateway> {
    let small = small.map(Running::addr);
    let gateway = Gateway::with("circuit_breaker")
        .workers(2)
        .upstream(model.addr())
        .edit(move |bootstrap| {
            let filter = bootstrap.filter("circuit_breaker")?;
            filter["breakers"] = json!([breaker]);
            if let Some(small) = small {
                bootstrap.add_cluster("small", &[small])?;
                let routes = bootstrap.routes()?;
                let mut route = json!({ "match": { "prefix": "/" }, "route": { "cluster": "small", "timeout": "0s" } });
                route["match"]["headers"] =
                    json!([{ "name": "x-model-tier", "string_match": { "exact": "small" } }]);
                routes.insert(0, route);
            }
            Ok(())
        });
    gateway.start().await
}

fn stream(client: &Client, gateway: &Gateway, odd: &str) -> reqwest::RequestBuilder {
    let messages = json!([{ "role": "user", "content": PROMPT }]);
    let request = client.post(gateway.url("/v1/chat/completions"));
    let request = request.json(&json!({ "model": "m", "stream": true, "messages": messages }));
    match odd {
        "" => request,
        odd => request.header("x-demo-stream", odd),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_answers_and_stalls_opens_its_breaker_and_one_that_is_slow_does_not()
-> Result<()> {
    // Each token takes half as long as silence may.
    let model = model(Duration::from_millis(500)).await?;
    let breaker = json!({
        "name": "model", "trip": { "consecutive_failures": 3 }, "failures": { "stall": "1s" },
        "open_for": { "initial": "60s" },
    });
    let gateway = start(&model, None, breaker).await?;
    let client = Client::builder().no_proxy().build()?;
    let steady = stream(&client, &gateway, "").send().await?;
    ensure!(steady.status() == 200);
    let whole = steady.text().await?;
    ensure!(whole.ends_with("data: [DONE]\n\n"), "{whole}");
    let begun = Instant::now();
    let mut stalled = Vec::new();
    for _ in 0..3 {
        let answer = stream(&client, &gateway, "stall=1").send().await?;
        ensure!(answer.status() == 200, "{answer:?}");
        stalled.push(answer);
    }
    let mut opened = None;
    until("the breaker to open", async || {
        let answer = client.get(gateway.url("/api/version")).send().await?;
        opened = Some(begun.elapsed());
        Ok(answer.status() == 503)
    })
    .await?;
    println!(
        "open {:?} after the first stream began",
        opened.unwrap_or_default()
    );
    ensure!(opened < Some(Duration::from_secs(6)), "{opened:?}");
    let metric = gateway
        .admin()
        .wait_for_metric("circuit_breaker_stalled{breaker=\"model\"}", 3);
    metric.await?;
    drop(stalled);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_a_breaker_is_open_the_gateways_routes_choose_another_model() -> Result<()> {
    let large = model(Duration::ZERO).await?;
    let small = model(Duration::ZERO).await?;
    let breaker = json!({
        "name": "model", "trip": { "consecutive_failures": 2 },
        "on_open": { "set": { "x-model-tier": "small" } },
    });
    let gateway = start(&large, Some(&small), breaker).await?;
    let client = Client::builder().no_proxy().build()?;
    let get = |tier: bool, fault: bool| {
        let mut request = client.get(gateway.url("/api/version"));
        if tier {
            request = request.header("x-model-tier", "small");
        }
        if fault {
            request = request.header("x-demo-fault", "status=503");
        }
        Answer::to(request)
    };
    // No client chooses the other one by itself.
    ensure!(get(true, false).await?.status == 200);
    assert_eq!((large.requests().total(), small.requests().total()), (1, 0));
    for _ in 0..2 {
        ensure!(get(false, true).await?.status == 503);
    }
    until("requests to go elsewhere", async || {
        ensure!(get(false, false).await?.status == 200);
        Ok(small.requests().total() >= 3)
    })
    .await?;
    ensure!(
        large.requests().total() <= 6,
        "{}",
        large.requests().total()
    );
    Ok(())
}
