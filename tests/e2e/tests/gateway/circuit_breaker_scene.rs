//! What the scenarios of the breaker need: a gateway that tells why each request ended, and what the
//! breaker counted it as.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result};
use portcullis_e2e::{Bootstrap, Gateway, until, until_some};
use serde_json::{Value, json};
use tokio::net::TcpSocket;

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) admitted: u64,
    pub(crate) successes: u64,
    pub(crate) failures: u64,
    pub(crate) ignored: u64,
    pub(crate) slow: u64,
}

pub(crate) const SUCCESS: Counts = Counts::of(1, 0, 0);
pub(crate) const FAILURE: Counts = Counts::of(0, 1, 0);
pub(crate) const IGNORED: Counts = Counts::of(0, 0, 1);

impl Counts {
    /// So many requests that turned out so; none was slow.
    pub(crate) const fn of(successes: u64, failures: u64, ignored: u64) -> Self {
        Self {
            admitted: successes + failures + ignored,
            successes,
            failures,
            ignored,
            slow: 0,
        }
    }

    /// Both together.
    pub(crate) const fn and(self, other: Self) -> Self {
        Self {
            admitted: self.admitted + other.admitted,
            successes: self.successes + other.successes,
            failures: self.failures + other.failures,
            ignored: self.ignored + other.ignored,
            slow: self.slow + other.slow,
        }
    }

    pub(crate) const fn slow(self) -> Self {
        Self {
            slow: self.admitted,
            ..self
        }
    }

    /// What the breaker of `envoy/circuit_breaker.yaml` has counted so far, at one moment.
    pub(crate) async fn read(gateway: &Gateway) -> Result<Self> {
        let all = gateway.admin().metrics("circuit_breaker_").await?;
        let ours = ("breaker".to_owned(), "rag_service".to_owned());
        let value = |what: &str| {
            let name = format!("circuit_breaker_{what}");
            let fits = |labels: &[_]| matches!(labels, [one] if *one == ours);
            let found = (all.iter()).find(|sample| sample.name == name && fits(&sample.labels));
            found.map(|sample| sample.value as u64).context(name)
        };
        Ok(Self {
            admitted: value("admitted")?,
            successes: value("successes")?,
            failures: value("failures")?,
            ignored: value("ignored")?,
            slow: value("slow")?,
        })
    }

    fn since(self, before: Self) -> Self {
        Self {
            admitted: self.admitted - before.admitted,
            successes: self.successes - before.successes,
            failures: self.failures - before.failures,
            ignored: self.ignored - before.ignored,
            slow: self.slow - before.slow,
        }
    }

    /// Whether nothing is under way.
    fn is_quiet(self) -> bool {
        self.admitted == self.successes + self.failures + self.ignored
    }
}

/// What came of a scenario's requests.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) counts: Counts,
    /// Why each ended, in Envoy's words: flags and `response.code_details`.
    pub(crate) ends: Vec<String>,
}

/// The gateway before a scenario.
pub(crate) struct Before {
    counts: Counts,
    logged: usize,
}

impl Before {
    pub(crate) async fn of(gateway: &Gateway) -> Result<Self> {
        Ok(Self {
            counts: Counts::read(gateway).await?,
            logged: gateway.output().access_log().len(),
        })
    }

    /// Waits until so many requests were admitted and settled since.
    pub(crate) async fn until_counted(&self, gateway: &Gateway, requests: u64) -> Result<Counts> {
        until_some("all requests to be settled", async || {
            let counts = Counts::read(gateway).await?.since(self.counts);
            Ok((counts.admitted >= requests && counts.is_quiet()).then_some(counts))
        })
        .await
    }

    /// Waits until so many requests were admitted, settled and logged since.
    pub(crate) async fn until_settled(&self, gateway: &Gateway, requests: u64) -> Result<Seen> {
        let counts = self.until_counted(gateway, requests).await?;
        let all = self.logged + usize::try_from(requests)?;
        until("all requests to be logged", async || {
            Ok(gateway.output().access_log().len() >= all)
        })
        .await?;
        let log = gateway.output().access_log();
        let ends = log.iter().skip(self.logged).map(|entry| {
            let word = |name: &str| entry[name].as_str().unwrap_or("-").to_owned();
            format!("{} {}", word("flags"), word("details"))
        });
        Ok(Seen {
            counts,
            ends: ends.collect(),
        })
    }
}

/// What is shown of the breaker of `envoy/circuit_breaker.yaml`.
pub(crate) async fn shown(gateway: &Gateway) -> Result<Value> {
    let answer = gateway.get("/api/v1/rag/status/breakers?verbose").await?;
    Ok(answer.json()?["rag_service"].take())
}

/// Never opens, tells within 50 ms what it has counted, and takes what lasts a second for slow; the
/// access log says why requests ended.
pub(crate) fn watched(bootstrap: &mut Bootstrap) -> Result<()> {
    let ratio = json!({
        "above": 0.999999, "window": "1s", "minimum_requests": 1_000_000, "slower_than": "1s",
    });
    trip(
        bootstrap,
        json!({ "consecutive_failures": 10_000, "slow_ratio": ratio }),
    )?;
    closes_at_once(bootstrap)?;
    logged(bootstrap)
}

/// Has a client know at once of an answer that breaks off, for which it waits a second otherwise.
pub(crate) fn closes_at_once(bootstrap: &mut Bootstrap) -> Result<()> {
    bootstrap.connection_manager()?["delayed_close_timeout"] = json!("0.02s");
    Ok(())
}

/// Sets what opens the breaker.
pub(crate) fn trip(bootstrap: &mut Bootstrap, trip: Value) -> Result<()> {
    bootstrap.filter("circuit_breaker")?["breakers"][0]["trip"] = trip;
    Ok(())
}

/// An access log that says why requests ended.
pub(crate) fn logged(bootstrap: &mut Bootstrap) -> Result<()> {
    let log = &mut bootstrap.connection_manager()?["access_log"][0]["typed_config"];
    log["log_format"] = json!({ "json_format": {
        "path": "%REQ(:PATH)%",
        "status": "%RESPONSE_CODE%",
        "flags": "%RESPONSE_FLAGS%",
        "details": "%RESPONSE_CODE_DETAILS%",
        "upstream": "%UPSTREAM_HOST%",
    } });
    Ok(())
}

/// Sends a path, and what is below it, to a cluster.
pub(crate) fn forward(path: &str, cluster: &str) -> Value {
    json!({ "match": { "prefix": path }, "route": { "cluster": cluster, "timeout": "30s" } })
}

/// A port of this machine at which nobody listens, and, as long as the socket is held, nobody can.
pub(crate) fn closed_port() -> Result<(TcpSocket, SocketAddr)> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let address = socket.local_addr()?;
    Ok((socket, address))
}
