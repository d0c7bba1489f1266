//! Two gateways behind one address, of which one is replaced.

use anyhow::{Result, bail, ensure};
use portcullis_e2e::{Bootstrap, until};
use serde_json::json;

use crate::front::Front;
use crate::node::{
    PAUSE, Place, QUERY, QUOTA, SEARCH, State, backend, bootstrap, client, start, stop, tell, token,
};
use crate::traffic::{Traffic, header};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_drained_and_replaced_loses_no_request() -> Result<()> {
    let backend = backend(PAUSE).await?;
    let places = [Place::free()?, Place::free()?];
    let old = start(bootstrap("a", places[0], backend.addr())?).await?;
    let survivor = start(bootstrap("b", places[1], backend.addr())?).await?;
    let front = Front::start(&places).await?;
    let state = State::make(survivor.gateway(), &backend).await?;

    let traffic = Traffic::start(&front.url(SEARCH))?;
    traffic.passes(100, |by, _| by == "a").await?;
    let stream = stream_through(&front, "a").await?;

    // From here on its /ready says 503, and it asks its clients to close what they keep open.
    tell(old.admin().address(), "/healthcheck/fail").await?;
    front.has_ready(1).await?;
    // What it had begun it ends.
    let active = "http.gateway.downstream_rq_active";
    let answer = stream.text().await?;
    ensure!(answer.contains("event: done"), "{answer}");
    until("the old gateway to be idle", async || {
        Ok(old.admin().stat(active).await? == Some(0))
    })
    .await?;
    traffic.passes(100, |by, _| by == "b").await?;
    stop(old).await?;
    traffic.passes(100, |by, _| by == "b").await?;

    let new = start(with_another_quota(bootstrap(
        "a",
        places[0],
        backend.addr(),
    )?)?)
    .await?;
    front.has_ready(2).await?;
    let changed = format!("q={}", QUOTA + 1);
    traffic
        .passes(300, |by, policy| by == "a" && policy.contains(&changed))
        .await?;
    let seen = traffic.end().await;
    println!("replaced: {}", seen.shown());
    seen.assert_none_failed();

    // The survivor knows what it knew.
    let breakers = state.breakers().await?;
    assert_eq!(
        breakers,
        json!({ "rag_service": "closed", "collections": "open" })
    );
    assert!(state.refused().await?);
    assert_eq!(state.count().await?, 4);
    // The new one has begun afresh.
    let afresh = State::none(new.gateway(), &backend);
    assert_eq!(afresh.count().await?, 1);
    Ok(())
}

/// That the other test can see a request that is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_stopped_without_being_drained_loses_some() -> Result<()> {
    let backend = backend(PAUSE).await?;
    let places = [Place::free()?, Place::free()?];
    let old = start(bootstrap("a", places[0], backend.addr())?).await?;
    let _survivor = start(bootstrap("b", places[1], backend.addr())?).await?;
    let front = Front::start(&places).await?;
    let traffic = Traffic::start(&front.url(SEARCH))?;
    traffic.passes(100, |by, _| by == "a").await?;
    let stream = stream_through(&front, "a").await?;
    stop(old).await?;
    assert!(stream.text().await.is_err(), "the stream was cut off");
    front.has_ready(1).await?;
    traffic.passes(100, |by, _| by == "b").await?;
    let seen = traffic.end().await;
    println!("stopped at once: {}", seen.shown());
    assert!(!seen.failed.is_empty());
    Ok(())
}

/// An answer in the making that comes through the gateway of this name.
async fn stream_through(front: &Front, gateway: &str) -> Result<reqwest::Response> {
    for _ in 0..20 {
        let request = client()?.get(front.url(QUERY)).bearer_auth(token());
        let response = request.send().await?.error_for_status()?;
        if header(&response, "x-gateway")? == gateway {
            return Ok(response);
        }
    }
    bail!("none of 20 requests went through {gateway}")
}

fn with_another_quota(mut bootstrap: Bootstrap) -> Result<Bootstrap> {
    bootstrap.filter("edge")?["rate_limit"]["limits"][0]["quota"] = json!(QUOTA + 1);
    Ok(bootstrap)
}
