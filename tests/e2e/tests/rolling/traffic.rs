//! Requests that go on, many at a time, and what became of them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use portcullis_e2e::until;
use reqwest::{Client, Response};
use tokio::task::JoinSet;

use crate::node::{client, token};

/// How many clients ask at a time.
const CLIENTS: usize = 16;

/// Clients of which each sends its next request when the last one was answered.
pub(crate) struct Traffic {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    begun: Instant,
    clients: JoinSet<()>,
}

/// What became of the requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Those that were answered with 200, by the gateway that answered and its policy of limits.
    pub(crate) passed: BTreeMap<(String, String), u32>,
    /// Why others failed.
    pub(crate) failed: Vec<String>,
    /// How long it went on.
    pub(crate) took: Duration,
}

impl Traffic {
    /// GETs of `url`. Half of the clients keep their connection; the others open one for each request.
    pub(crate) fn start(url: &str) -> Result<Self> {
        Self::with_token(url, &token())
    }

    /// The same with another token.
    pub(crate) fn with_token(url: &str, token: &str) -> Result<Self> {
        let (stop, seen) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Seen>>::default());
        let mut clients = JoinSet::new();
        for place in 0..CLIENTS {
            let client = match place % 2 {
                0 => client()?,
                _ => Client::builder()
                    .no_proxy()
                    .pool_max_idle_per_host(0)
                    .timeout(portcullis_e2e::PATIENCE)
                    .build()?,
            };
            let (stop, seen) = (Arc::clone(&stop), Arc::clone(&seen));
            let (url, token) = (url.to_owned(), token.to_owned());
            clients.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let outcome = ask(client.get(&url).bearer_auth(&token)).await;
                    let mut seen = lock(&seen);
                    match outcome {
                        Ok(by) => *seen.passed.entry(by).or_default() += 1,
                        Err(error) => seen.failed.push(format!("{error:#}")),
                    }
                }
            });
        }
        Ok(Self {
            stop,
            seen,
            begun: Instant::now(),
            clients,
        })
    }

    /// Waits until so many more requests have passed that `fits` says yes to, by the gateway that
    /// answered and its policy of limits.
    pub(crate) async fn passes(&self, more: u32, fits: impl Fn(&str, &str) -> bool) -> Result<()> {
        let count = || -> u32 {
            let seen = lock(&self.seen);
            let fitting = seen
                .passed
                .iter()
                .filter(|((by, policy), _)| fits(by, policy));
            fitting.map(|(_, count)| count).sum()
        };
        let target = count() + more;
        until("requests to pass", async || Ok(count() >= target)).await
    }

    /// Ends it.
    pub(crate) async fn end(mut self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        while self.clients.join_next().await.is_some() {}
        let mut seen = lock(&self.seen).clone();
        seen.took = self.begun.elapsed();
        seen
    }
}

impl Seen {
    /// How many passed.
    pub(crate) fn total(&self) -> u32 {
        self.passed.values().sum()
    }

    /// In a line.
    pub(crate) fn shown(&self) -> String {
        let (passed, failed) = (self.total(), self.failed.len());
        let rate = f64::from(passed) / self.took.as_secs_f64();
        format!("{passed} passed ({rate:.0} a second), {failed} failed")
    }

    /// Checks that none failed.
    #[track_caller]
    pub(crate) fn assert_none_failed(&self) {
        let first = self.failed.iter().take(5).collect::<Vec<_>>();
        assert!(self.failed.is_empty(), "{}: {first:#?}", self.shown());
    }
}

/// The gateway that answered with 200, and its policy of limits.
async fn ask(request: reqwest::RequestBuilder) -> Result<(String, String)> {
    let response = request.send().await?;
    let by = (
        header(&response, "x-gateway")?,
        header(&response, "ratelimit-policy")?,
    );
    let status = response.status();
    let body = response.text().await?;
    ensure!(status == 200, "{status}: {body}");
    Ok(by)
}

/// A header of a response.
pub(crate) fn header(response: &Response, name: &str) -> Result<String> {
    let value = response.headers().get(name).map(|value| value.to_str());
    let value = value.with_context(|| format!("{}: no {name}", response.status()))?;
    Ok(value?.to_owned())
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
