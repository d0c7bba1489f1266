//! `envoy/egress.yaml`: between services and what they depend on, as stand-ins that hold the HTTP contract of Ollama and
//! Qdrant.

mod budgets;
mod scene;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use portcullis_e2e::backend::{Backend, Fault, Role, UpstreamSettings};
use portcullis_e2e::{Answer, Bootstrap, until, until_some};
use reqwest::StatusCode;
use serde_json::{Value, json};

use self::scene::{POINTS, Scene, client, url};
use crate::common::assert_problem;

const CLOSED: &str =
    r#"{"ollama_embedding":"closed","ollama_generation":"closed","qdrant_search":"closed"}"#;
const GENERATION_OPEN: &str =
    r#"{"ollama_embedding":"closed","ollama_generation":"open","qdrant_search":"closed"}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_failures_of_the_model_open_its_breaker_and_no_other() -> Result<()> {
    let scene = Scene::set(4).await?;
    assert_eq!(scene.breakers().await?, CLOSED);
    scene.trip_generation().await?;
    assert_eq!(scene.breakers().await?, GENERATION_OPEN);
    let asked = scene.ollama.requests().total();
    let mut took = Vec::new();
    for _ in 0..20 {
        let refused = Answer::to(scene.generating()).await?;
        assert_problem(&refused, 503, "circuit-open");
        assert!(
            (1..=30).contains(&refused.number("retry-after").unwrap_or_default()),
            "{refused:?}"
        );
        took.push(refused.took);
    }
    // Chats are of the same model. The client is new for each, and a machine may stop one for longer.
    let chat = client()
        .post(format!("{}/api/chat", scene.ollama_url))
        .json(&json!({}));
    assert_problem(&Answer::to(chat).await?, 503, "circuit-open");
    took.sort_unstable();
    assert!(took[10] < Duration::from_millis(25), "{took:?}");
    assert_eq!(scene.ollama.requests().total(), asked);
    assert_eq!(scene.embed().await?.status, 200);
    assert_eq!(scene.search().await?.status, 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_is_lost_without_a_failed_read_and_comes_back() -> Result<()> {
    let mut scene = Scene::set(4).await?;
    let lost = scene.nodes.remove(0);
    let address = lost.addr();
    lost.stop().await;
    // The first of these meet the node before anybody has noticed.
    for _ in 0..40 {
        let found = scene.search().await?;
        assert_eq!(found.status, 200, "{found:?}");
    }
    let retried = scene
        .gateway
        .admin()
        .stat("cluster.qdrant.upstream_rq_retry")
        .await?;
    assert!(
        retried.is_some_and(|retried| retried > 0),
        "no read has met the lost node"
    );
    scene.until_healthy(2).await?;
    assert_eq!(scene.breakers().await?, CLOSED);

    let peers = scene.nodes.iter().map(url);
    let back = Backend::builder()
        .role(Role::Qdrant)
        .bind(address)
        .peers(peers)
        .start()
        .await?;
    scene.until_healthy(3).await?;
    until("the node to be asked again", async || {
        assert_eq!(scene.search().await?.status, 200);
        Ok(back.requests().count(&format!("{POINTS}/query")) > 0)
    })
    .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_all_nodes_lost_the_breaker_opens() -> Result<()> {
    let mut scene = Scene::set(4).await?;
    for node in scene.nodes.drain(..) {
        node.stop().await;
    }
    for _ in 0..5 {
        let failed = scene.search().await?;
        assert_eq!(failed.status, 503, "{failed:?}");
        assert_ne!(
            failed.header("content-type"),
            Some("application/problem+json"),
            "{failed:?}"
        );
    }
    assert_problem(&scene.search().await?, 503, "circuit-open");
    let open =
        r#"{"ollama_embedding":"closed","ollama_generation":"closed","qdrant_search":"open"}"#;
    assert_eq!(scene.breakers().await?, open);
    // Also when the health checks have noticed, Envoy would ask: what is refused, the breaker refuses.
    scene.until_healthy(0).await?;
    assert_problem(&scene.search().await?, 503, "circuit-open");
    assert_eq!(scene.embed().await?.status, 200);
    Ok(())
}

/// While requests fail on it, it is left alone for that too: not for longer than it is gone.
#[tokio::test]
async fn a_node_that_is_killed_under_load_is_asked_again_with_its_first_good_check() -> Result<()> {
    let mut scene = Scene::set(2).await?;
    let lost = scene.nodes.remove(0);
    let address = lost.addr();
    lost.stop().await;
    for _ in 0..60 {
        assert_eq!(scene.search().await?.status, 200);
    }
    let ejected = "cluster.qdrant.outlier_detection.ejections_enforced_total";
    let ejected = scene.gateway.admin().stat(ejected).await?;
    assert!(
        ejected.is_some_and(|ejected| ejected > 0),
        "no request has failed on it"
    );
    tokio::time::sleep(Duration::from_secs(3)).await;
    let peers = scene.nodes.iter().map(url);
    let back = Backend::builder()
        .role(Role::Qdrant)
        .bind(address)
        .peers(peers)
        .start()
        .await?;
    let since = Instant::now();
    until("the node to be asked again", async || {
        assert_eq!(scene.search().await?.status, 200);
        Ok(back.requests().count(&format!("{POINTS}/query")) > 0)
    })
    .await?;
    // A check comes every two seconds, and what was left alone is looked at each second.
    assert!(
        since.elapsed() < Duration::from_secs(4),
        "{:?}",
        since.elapsed()
    );
    Ok(())
}

#[tokio::test]
async fn with_all_nodes_known_to_be_lost_the_breaker_opens_too() -> Result<()> {
    let mut scene = Scene::set(1).await?;
    for node in scene.nodes.drain(..) {
        node.stop().await;
    }
    scene.until_healthy(0).await?;
    for _ in 0..5 {
        assert_eq!(scene.search().await?.status, 503);
    }
    assert_problem(&scene.search().await?, 503, "circuit-open");
    let all_the_same = scene
        .gateway
        .admin()
        .stat("cluster.qdrant.lb_healthy_panic")
        .await?;
    assert!(
        all_the_same.is_some_and(|asked| asked >= 5),
        "{all_the_same:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_stream_passes_token_by_token() -> Result<()> {
    let delay = Duration::from_millis(100);
    let scene = Scene::with(1, delay, |_| Ok(())).await?;
    let mut answer = scene.generating().send().await?;
    assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
    let first = answer.chunk().await?.context("nothing came")?;
    let seen = Instant::now();
    let first: Value = serde_json::from_slice(&first).context("the first token alone")?;
    assert_eq!(first["done"], false);
    let mut lines = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        lines.extend(chunk.split(|byte| *byte == b'\n').map(<[u8]>::to_vec));
    }
    lines.retain(|line| !line.is_empty());
    let last: Value = serde_json::from_slice(lines.last().context("one token")?)?;
    assert_eq!(last["done"], true);
    // The first was here when most of the others were not even written.
    let rest = u32::try_from(lines.len())?;
    assert!(
        rest >= 5 && seen.elapsed() >= delay * (rest - 1),
        "{rest} in {:?}",
        seen.elapsed()
    );
    Ok(())
}

#[tokio::test]
async fn a_model_that_is_silent_fails_whether_it_has_begun_or_not() -> Result<()> {
    const FAILURES: &str = r#"circuit_breaker_failures{breaker="ollama_generation"}"#;
    let scene = Scene::with(1, Duration::from_secs(5), |bootstrap| {
        bootstrap.routes()?[0]["route"]["retry_policy"]["per_try_idle_timeout"] = json!("0.5s");
        Ok(())
    });
    let scene = scene.await?;
    let begun = scene.generating().send().await?;
    assert_eq!(begun.status(), 200);
    assert!(
        begun.text().await.is_err(),
        "it stops after its first token"
    );
    scene.gateway.admin().wait_for_metric(FAILURES, 1).await?;
    scene.ollama.faults().set(Fault::black_hole());
    assert_eq!(Answer::to(scene.generating()).await?.status, 504);
    scene.gateway.admin().wait_for_metric(FAILURES, 2).await
}

/// What the route's time-out would end far later.
#[tokio::test]
async fn a_model_that_begins_and_stalls_opens_its_breaker() -> Result<()> {
    const STALLED: &str = r#"circuit_breaker_stalled{breaker="ollama_generation"}"#;
    let scene = Scene::with(2, Duration::from_secs(60), |bootstrap| {
        generation(bootstrap)?["failures"]["stall"] = json!("500ms");
        Ok(())
    });
    let scene = scene.await?;
    for stalled in 1..=5 {
        let mut stream = scene.generating().send().await?;
        assert_eq!(stream.status(), 200);
        assert!(stream.chunk().await?.is_some(), "the first token");
        let admin = scene.gateway.admin();
        admin.wait_for_metric(STALLED, stalled).await?;
    }
    assert_eq!(scene.breakers().await?, GENERATION_OPEN);
    assert_problem(&Answer::to(scene.generating()).await?, 503, "circuit-open");
    assert_eq!(scene.embed().await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn a_model_whose_first_tokens_come_late_opens_its_breaker() -> Result<()> {
    let scene = Scene::with(1, Duration::ZERO, |bootstrap| {
        generation(bootstrap)?["trip"]["slow_first_token"]["slower_than"] = json!("100ms");
        Ok(())
    });
    let scene = scene.await?;
    let late = Fault::delay(Duration::from_millis(300)).on("/api/generate");
    scene.ollama.faults().set(late);
    for _ in 0..10 {
        assert_eq!(Answer::to(scene.generating()).await?.status, 200);
    }
    until("the breaker to open", async || {
        Ok(Answer::to(scene.generating()).await?.status == 503)
    })
    .await?;
    assert_eq!(scene.breakers().await?, GENERATION_OPEN);
    Ok(())
}

fn generation(bootstrap: &mut Bootstrap) -> Result<&mut Value> {
    Ok(&mut bootstrap.filter("circuit_breaker")?["breakers"][1])
}

#[tokio::test]
async fn a_read_is_asked_again_of_another_node_and_a_write_is_not() -> Result<()> {
    let scene = Scene::set(1).await?;
    let fault = Fault::status(StatusCode::SERVICE_UNAVAILABLE).on(POINTS);
    for node in &scene.nodes {
        node.faults().set(fault.clone());
        node.requests().clear();
    }
    let asked = |path: &str| -> Vec<u64> {
        scene
            .nodes
            .iter()
            .map(|node| node.requests().count(path))
            .collect()
    };
    assert_eq!(scene.upsert().await?.status, 503);
    assert_eq!(asked(POINTS).iter().sum::<u64>(), 1);
    assert_eq!(scene.search().await?.status, 503);
    let reads = asked(&format!("{POINTS}/query"));
    assert_eq!(reads.iter().sum::<u64>(), 3, "{reads:?}");
    scene.nodes[0].faults().clear();
    scene.nodes[1].faults().clear();
    for _ in 0..10 {
        assert_eq!(scene.search().await?.status, 200);
    }
    Ok(())
}

#[tokio::test]
async fn a_node_that_hangs_costs_a_read_two_seconds_and_does_not_fail_it() -> Result<()> {
    let scene = Scene::set(1).await?;
    scene.nodes[2].faults().set(Fault::black_hole().on(POINTS));
    let slow = until_some("a read to meet the node", async || {
        let found = scene.search().await?;
        ensure!(found.status == 200, "{found:?}");
        Ok((found.took > Duration::from_secs(1)).then_some(found.took))
    });
    let slow = slow.await?;
    assert!(slow < Duration::from_secs(5), "{slow:?}");
    Ok(())
}

#[tokio::test]
async fn a_service_searches_and_writes_through_the_gateway() -> Result<()> {
    let scene = Scene::with(2, Duration::from_millis(5), |_| Ok(())).await?;
    let mut settings = UpstreamSettings::new(&scene.ollama_url, &scene.qdrant_url);
    settings.breakers = Some(format!("{}/breakers", scene.qdrant_url));
    let rag = Backend::builder().upstreams(Some(settings)).start().await?;
    let ask = async |path: &str| {
        let request = client().get(format!("{}/api/v1/rag/{path}", url(&rag)));
        Answer::to(request.header("x-request-id", "the-edges")).await
    };
    let health = until_some("the service to have indexed", async || {
        let health = ask("status/health").await?.json()?;
        Ok((health["indexed"] == true).then_some(health))
    });
    assert_eq!(health.await?["circuit_breakers"].to_string(), CLOSED);
    let found = ask("search?q=half-open+breaker+probe").await?.json()?;
    assert_eq!(found["results"][0]["id"], "circuit-breaker", "{found}");
    let answer = ask("query?q=What+does+a+probe+of+a+breaker+decide").await?;
    assert!(
        answer.body.contains("event: token\n") && answer.body.contains("event: done\n"),
        "{answer:?}"
    );
    let asked = scene.ollama.requests().last(1);
    assert_eq!(
        asked[0].only_value("x-request-id"),
        Some("the-edges"),
        "one request throughout"
    );

    scene.trip_generation().await?;
    let refused = ask("query?q=What+does+a+probe+of+a+breaker+decide").await?;
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(
        (1..=30).contains(&refused.number("retry-after").unwrap_or_default()),
        "{refused:?}"
    );
    assert_eq!(
        ask("status/health").await?.json()?["circuit_breakers"]["ollama_generation"],
        "open"
    );
    assert_eq!(ask("search?q=breaker").await?.status, 200);
    Ok(())
}
