//! The steps that need a backend which tells what it received, and fails on demand.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use portcullis_e2e::until;
use reqwest::Method;
use serde_json::{Value, json};

use super::curl::Curl;
use super::page::{excerpt, expect, see};
use super::tour::{SEARCH, Tour};

const BREAKERS: &str = "/api/v1/rag/status/breakers";

/// As many as a breaker of `envoy/edge.yaml` takes.
const FAILURES: usize = 5;

/// Enough for a median.
const REFUSALS: usize = 20;

impl Tour<'_> {
    pub(super) async fn forged(&mut self) -> Result<()> {
        self.title("A client that poses as a service, and as root");
        let curl = self.get(SEARCH).token(self.stage.token());
        let curl = curl
            .header("X-Service-Token", "forged")
            .header("X-User-Id", "root");
        expect(&self.ask(&curl).await?, 200)?;
        let control = self
            .stage
            .control("/_test/requests?last=1")
            .context("no control")?;
        let curl = Curl::get(control);
        println!("\n  What the backend received, by its own account:\n\n  $ {curl}");
        let received = curl.send(self.stage.client()).await?.json()?;
        let headers = received["requests"][0]["headers"]
            .as_array()
            .context("no headers")?;
        let values = |name: &str| -> Vec<&str> {
            let lines = headers.iter().filter(|line| line[0] == name);
            lines.filter_map(|line| line[1].as_str()).collect()
        };
        let service = values("x-service-token");
        let [secret] = service.as_slice() else {
            bail!("{} service tokens", service.len())
        };
        ensure!(
            *secret != "forged" && secret.len() == 64,
            "the forged token was not overwritten"
        );
        println!(
            "    x-service-token: ({} characters, not shown here)",
            secret.len()
        );
        for name in ["x-user-id", "x-user-scopes"] {
            println!("    {name}: {}", values(name).join(" | "));
        }
        ensure!(
            values("x-user-id") == ["alice"],
            "the forged user was not overwritten"
        );
        ensure!(
            values("authorization").concat().is_empty(),
            "the token was passed on"
        );
        see(
            "Both were overwritten: by the secret that no client holds, and by what the token says.",
        );
        Ok(())
    }

    pub(super) async fn breaker(&mut self) -> Result<()> {
        self.title("The backend fails five times");
        let control = self.stage.control("/_test/faults").context("no control")?;
        let fault =
            json!({ "status": 503, "path_prefix": "/api/v1/rag/search", "remaining": FAILURES });
        let put = self
            .ask(&Curl::get(control).method(Method::PUT).json(fault))
            .await?;
        ensure!(
            put.status < 300,
            "the backend did not take the fault: {put:?}"
        );
        let search = self.get(SEARCH).token(self.stage.token());
        println!("\n  $ {search}        # {FAILURES} times");
        for _ in 0..FAILURES {
            let failed = search.send(self.stage.client()).await?;
            expect(&failed, 503)?;
            println!("    {} {}", failed.status, excerpt(&failed.body));
        }
        see(
            "These are the backend's own answers. At the fifth the breaker opened, for all workers:",
        );
        let refused = self.ask(&search).await?;
        expect(&refused, 503)?;
        ensure!(
            refused.header("retry-after").is_some(),
            "the refusal does not say when to come back"
        );
        self.states("open").await?;

        self.title("While it is open, refusals cost next to nothing");
        println!("\n  $ {search}        # {REFUSALS} times");
        for _ in 0..REFUSALS {
            expect(&search.send(self.stage.client()).await?, 503)?;
        }
        let mut times = self.refusal_times(REFUSALS + 1).await?;
        times.sort_unstable();
        let (median, slowest) = (times[times.len() / 2], times[times.len() - 1]);
        println!("    {REFUSALS} of {REFUSALS} refused; the backend was not asked.");
        see(&format!(
            "From the request's first byte to the answer's last, by Envoy's access log: {median} µs in the \
             median, {slowest} µs at the slowest."
        ));
        ensure!(
            median < 1_000,
            "the median of the refusals is {median} µs, expected less than 1000"
        );

        self.title("The backend is well again, and the breaker finds out");
        print!("\n  Waiting for the breaker to try ");
        let begun = Instant::now();
        let states = self.get(BREAKERS).token(self.stage.token());
        loop {
            print!(".");
            std::io::stdout().flush()?;
            tokio::time::sleep(Duration::from_millis(500)).await;
            // Each look counts against the quota, so that there are few.
            if states
                .send(self.stage.client())
                .await?
                .body
                .contains("half_open")
            {
                break;
            }
            ensure!(
                begun.elapsed() < Duration::from_secs(15),
                "the breaker stays open"
            );
        }
        println!(" {:.1} s", begun.elapsed().as_secs_f32());
        expect(&self.ask(&search).await?, 200)?;
        self.states("closed").await?;
        see("One request was let through to try; it succeeded, and everything passes again.");
        Ok(())
    }

    async fn states(&self, expected: &str) -> Result<()> {
        let answer = self
            .ask(&self.get(BREAKERS).token(self.stage.token()))
            .await?;
        expect(&answer, 200)?;
        ensure!(
            answer.json()?["rag_service"] == expected,
            "expected the breaker to be {expected}"
        );
        Ok(())
    }

    /// How long the gateway took for its last refusals, in microseconds, by its access log.
    async fn refusal_times(&self, count: usize) -> Result<Vec<u64>> {
        let times = || -> Vec<u64> {
            let log = self.stage.output().access_log();
            let refusal = |entry: &&Value| entry["status"] == 503 && entry["upstream"].is_null();
            log.iter()
                .filter(refusal)
                .filter_map(|entry| entry["duration_us"].as_u64())
                .collect()
        };
        until("the refusals in the access log", async || {
            Ok(times().len() >= count)
        })
        .await?;
        Ok(times())
    }
}
