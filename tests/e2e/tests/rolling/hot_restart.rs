//! Envoy's hot restart: a new process takes over the sockets of the old one.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::hot_restart_scene::Family;
use crate::node::{PAUSE, Place, QUERY, SEARCH, State, backend, bootstrap, client, token};
use crate::traffic::Traffic;

const FAILURES: &str = r#"circuit_breaker_failures{breaker="collections"}"#;
const STATE: &str = r#"circuit_breaker_state{breaker="collections"}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hot_restart_loses_no_request_but_what_the_filter_remembers() -> Result<()> {
    let backend = backend(PAUSE).await?;
    let place = place()?;
    let gateway = place.gateway;
    let url = |path: &str| format!("http://{gateway}{path}");

    let family = Family::new()?;
    let old = family
        .start(0, bootstrap("old", place, backend.addr())?)
        .await?;
    let state = State::make(gateway, &backend).await?;
    old.wait_for_metric(FAILURES, 5).await?;
    assert_eq!(old.metric(STATE).await?, Some(2));

    let traffic = Traffic::start(&url(SEARCH))?;
    traffic.passes(100, |by, _| by == "old").await?;
    let stream = client()?
        .get(url(QUERY))
        .bearer_auth(token())
        .send()
        .await?;
    let new = family
        .start(1, bootstrap("new", place, backend.addr())?)
        .await?;
    traffic.passes(100, |by, _| by == "new").await?;
    // What the old one had begun it ends.
    let answer = stream.error_for_status()?.text().await?;
    ensure!(answer.contains("event: done"), "{answer}");
    old.ends().await?;
    traffic.passes(300, |by, _| by == "new").await?;
    let seen = traffic.end().await;
    println!("hot restart: {}", seen.shown());
    seen.assert_none_failed();

    // What the filter shares among workers is the process's: breakers are closed, counts are nought.
    let breakers = state.breakers().await?;
    assert_eq!(
        breakers,
        json!({ "rag_service": "closed", "collections": "closed" })
    );
    assert!(!state.refused().await?);
    assert_eq!(state.count().await?, 1);
    // Envoy hands counters over.
    assert_eq!(new.metric(FAILURES).await?, Some(5));
    new.wait_for_metric(STATE, 0).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_outlasts_the_old_process_is_cut_off() -> Result<()> {
    // Seven times that: longer than we wait for the new process, and the five seconds that the old one is
    // given then.
    let pause = Duration::from_secs(4);
    let backend = backend(pause).await?;
    let place = place()?;
    let family = Family::new()?;
    let old = family
        .start(0, bootstrap("old", place, backend.addr())?)
        .await?;
    let request = client()?.get(format!("http://{}{QUERY}", place.gateway));
    let request = request.bearer_auth(token()).timeout(pause * 10);
    let stream = request.send().await?;
    let _new = family
        .start(1, bootstrap("new", place, backend.addr())?)
        .await?;
    old.ends().await?;
    let cut = stream.error_for_status()?.text().await;
    assert!(cut.is_err_and(|error| !error.is_timeout()));
    Ok(())
}

/// A place for both of a family.
fn place() -> Result<Place> {
    let mut place = Place::free()?;
    // The old one's administration is not handed over, so that each has its own.
    place.admin.set_port(0);
    Ok(place)
}
