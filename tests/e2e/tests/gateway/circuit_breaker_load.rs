//! `envoy/circuit_breaker.yaml` with four workers under load: the books balance, and a half-open
//! breaker lets through no more than it may.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use portcullis_e2e::backend::Fault;
use portcullis_e2e::{Answer, Bootstrap, Gateway, until};
use reqwest::{Client, Method, StatusCode};
use serde_json::json;
use tokio::task::JoinSet;

use crate::circuit_breaker::{is_from_upstream, state, trip as fail_five_times};
use crate::circuit_breaker_scene::{Before, Counts, closes_at_once, shown, trip};
use crate::common::{SEARCH, flood};

const CONNECTIONS: usize = 32;
/// A multiple of the number of ways.
const REQUESTS_EACH: usize = 99;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Answered,
    Streamed,
    /// The backend knows no such route.
    NotFound,
    Fails,
    /// The upstream resets its connection before the head.
    Dropped,
    BrokenOff,
    /// Its client leaves before the head.
    Abandoned,
    /// Its client leaves with the first piece of the answer.
    LeftInMidStream,
    /// The gateway answers 503 by itself.
    Direct,
}

impl Way {
    pub(crate) const ALL: [Self; 9] = [
        Self::Answered,
        Self::Fails,
        Self::Streamed,
        Self::Dropped,
        Self::Abandoned,
        Self::NotFound,
        Self::BrokenOff,
        Self::LeftInMidStream,
        Self::Direct,
    ];

    const fn path(self) -> &'static str {
        match self {
            Self::Answered | Self::Fails | Self::Dropped | Self::Abandoned => SEARCH,
            Self::Streamed | Self::BrokenOff | Self::LeftInMidStream => "/api/v1/rag/query?q=load",
            Self::NotFound => "/api/v1/rag/nothing/here",
            Self::Direct => "/api/v1/rag/direct",
        }
    }

    /// What the backend is asked to do.
    const fn fault(self) -> Option<&'static str> {
        match self {
            Self::Answered
            | Self::Streamed
            | Self::NotFound
            | Self::LeftInMidStream
            | Self::Direct => None,
            Self::Fails => Some("status=500"),
            Self::Dropped => Some("drop"),
            Self::BrokenOff => Some("break_off"),
            Self::Abandoned => Some("black_hole"),
        }
    }

    /// The status that its client sees, if any.
    const fn status(self) -> Option<u16> {
        match self {
            Self::Answered | Self::Streamed => Some(200),
            Self::NotFound => Some(404),
            Self::Fails => Some(500),
            Self::Dropped | Self::Direct => Some(503),
            Self::BrokenOff | Self::Abandoned | Self::LeftInMidStream => None,
        }
    }

    pub(crate) const fn counts(self) -> Counts {
        match self {
            Self::Answered | Self::Streamed | Self::NotFound | Self::LeftInMidStream => {
                Counts::of(1, 0, 0)
            }
            Self::Fails | Self::Dropped | Self::BrokenOff => Counts::of(0, 1, 0),
            Self::Abandoned | Self::Direct => Counts::of(0, 0, 1),
        }
    }

    pub(crate) async fn go(self, client: &Client, gateway: &str) -> Result<()> {
        let mut request = client.request(Method::GET, format!("{gateway}{}", self.path()));
        if let Some(fault) = self.fault() {
            request = request.header("x-demo-fault", fault);
        }
        match self {
            Self::Abandoned => {
                let left = request.timeout(Duration::from_millis(50)).send().await;
                ensure!(
                    left.is_err_and(|error| error.is_timeout()),
                    "there was an answer"
                );
            }
            Self::LeftInMidStream => {
                let piece = request.send().await?.chunk().await?;
                ensure!(piece.is_some(), "there was no piece");
            }
            Self::BrokenOff => ensure!(Answer::to(request).await.is_err(), "it was whole"),
            _ => {
                let answer = Answer::to(request).await?;
                let status = self.status().context("it is answered")?;
                ensure!(is_from_upstream(&answer, status), "{self:?}: {answer:?}");
            }
        }
        Ok(())
    }
}

/// Counts all, opens on nothing.
pub(crate) fn counts_all(bootstrap: &mut Bootstrap) -> Result<()> {
    let never = json!({ "above": 0.999999, "window": "10m", "minimum_requests": 1_000_000 });
    trip(
        bootstrap,
        json!({ "consecutive_failures": 10_000, "failure_ratio": never }),
    )?;
    closes_at_once(bootstrap)?;
    bootstrap.add_route(json!({
        "match": { "path": Way::Direct.path() }, "direct_response": { "status": 503 },
    }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_admitted_is_settled_once_whatever_becomes_of_it() -> Result<()> {
    let gateway = Gateway::with("circuit_breaker").workers(4).edit(counts_all);
    let gateway = gateway
        .faults_by_request()
        .event_delay(Duration::from_millis(3));
    let gateway = gateway.start().await?;
    let before = Before::of(&gateway).await?;
    let mut tasks = JoinSet::new();
    for connection in 0..CONNECTIONS {
        // A client of its own, so that none waits for another's connection.
        let client = Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(1)
            .build()?;
        let address = gateway.url("");
        tasks.spawn(async move {
            for request in 0..REQUESTS_EACH {
                let way = Way::ALL[(connection + request) % Way::ALL.len()];
                let what = || format!("{way:?}, connection {connection}, request {request}");
                way.go(&client, &address).await.with_context(what)?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    let all = u64::try_from(CONNECTIONS * REQUESTS_EACH)?;
    let each = all / u64::try_from(Way::ALL.len())?;
    let sum =
        |part: fn(Counts) -> u64| each * Way::ALL.map(|way| part(way.counts())).iter().sum::<u64>();
    let (successes, failures) = (sum(|way| way.successes), sum(|way| way.failures));
    let expected = Counts::of(successes, failures, sum(|way| way.ignored));
    assert_eq!(expected.admitted, all);
    assert_eq!(before.until_counted(&gateway, all).await?, expected);
    // Four workers have written to one window, and no write is lost.
    let window = json!({ "requests": successes + failures, "failures": failures });
    until("all workers to have told what was fine", async || {
        Ok(shown(&gateway).await?["failure_ratio"] == window)
    })
    .await?;
    let admin = gateway.admin();
    for metric in ["rejected", "transitions", "errors"] {
        let samples = admin.metrics(&format!("circuit_breaker_{metric}")).await?;
        assert!(!samples.is_empty(), "{metric} are announced");
        assert!(
            samples.iter().all(|sample| sample.value == 0.0),
            "{samples:?}"
        );
    }
    println!(
        "{expected:?}; connections by worker: {:?}",
        admin.connections_by_worker().await?
    );
    Ok(())
}

/// Two probes at a time, and more to close it than there will be.
fn probes(bootstrap: &mut Bootstrap) -> Result<()> {
    let breaker = &mut bootstrap.filter("circuit_breaker")?["breakers"][0];
    breaker["open_for"] = json!({ "initial": "300ms", "multiplier": 1, "jitter": 0 });
    breaker["half_open"] =
        json!({ "probes": PROBES, "successes_to_close": 1_000, "probe_lease": "35s" });
    Ok(())
}

const PROBES: u64 = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_never_has_more_requests_at_the_upstream_than_probes() -> Result<()> {
    let gateway = Gateway::with("circuit_breaker")
        .workers(4)
        .edit(probes)
        .start()
        .await?;
    let before = Before::of(&gateway).await?;
    fail_five_times(&gateway).await?;
    until("the breaker to be half-open", async || {
        Ok(state(&gateway).await? == "half_open")
    })
    .await?;
    let slow = Duration::from_millis(20);

    // While they succeed.
    gateway.requests().clear();
    gateway.faults().set(Fault::delay(slow));
    let statuses = flood(&gateway, CONNECTIONS, CONNECTIONS * 50, |request| request).await?;
    let count = |status| statuses.get(&status).copied().unwrap_or(0);
    assert_eq!(count(200) + count(503), CONNECTIONS * 50, "{statuses:?}");
    assert_eq!(gateway.requests().total(), u64::try_from(count(200))?);
    assert!(count(200) > 2, "{statuses:?}");
    assert_eq!(gateway.requests().most_at_once(), PROBES);
    assert_eq!(state(&gateway).await?, "half_open");

    // While they fail: each opens it again.
    gateway.requests().clear();
    gateway
        .faults()
        .set(Fault::status(StatusCode::INTERNAL_SERVER_ERROR).after(slow));
    let half_opened = r#"circuit_breaker_transitions{breaker="rag_service",to="half_open"}"#;
    until("it to be half-open for the fourth time", async || {
        flood(&gateway, CONNECTIONS, CONNECTIONS * 5, |request| request).await?;
        Ok(gateway.admin().metric(half_opened).await? >= Some(4))
    })
    .await?;
    let rounds = gateway.admin().metric(half_opened).await?;
    let rounds = rounds.context("it is announced")?;
    let reached = gateway.requests().total();
    assert!(
        (rounds..=rounds * PROBES).contains(&reached),
        "{reached} in {rounds} rounds"
    );
    assert_eq!(gateway.requests().most_at_once(), PROBES);
    // All that ever reached it, and no more.
    let (successes, failures) = (u64::try_from(count(200))?, 5 + reached);
    let settled = before.until_counted(&gateway, successes + failures);
    assert_eq!(settled.await?, Counts::of(successes, failures, 0));
    Ok(())
}
