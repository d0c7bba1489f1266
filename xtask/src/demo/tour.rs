//! The tour: one step after another, each with the command, what came back, and what to see in it.

use anyhow::{Context as _, Result, bail, ensure};
use portcullis_e2e::{Answer, until};
use tokio::task::JoinSet;

use super::curl::Curl;
use super::page::{expect, log_line, see, show};
use super::stage::{OPEN_FOR, Stage};

/// What is searched for.
pub const SEARCH: &str = "/api/v1/rag/search?q=circuit+breaker&limit=2";

/// More than a minute's quota.
const FLOOD: usize = 120;

/// Walks through everything that the stage allows.
///
/// # Errors
/// Something was not as the tour says.
pub async fn walk(stage: &Stage) -> Result<()> {
    let mut tour = Tour { stage, step: 0 };
    println!(
        "\nThe gateway listens at {}, with envoy/edge.yaml and four workers.",
        stage.url("")
    );
    println!(
        "Its breaker stays open for {OPEN_FOR} here, where the file says 30s. $TOKEN is alice's, who may read."
    );
    tour.search().await?;
    tour.no_token().await?;
    tour.foreign_token().await?;
    match stage.control("") {
        Some(_) => {
            tour.forged().await?;
            tour.breaker().await?;
        }
        None => tour.leave_out(),
    }
    tour.limit().await?;
    if let Some(models) = stage.models() {
        tour.streams(models).await?;
    }
    tour.metrics().await?;
    println!("\nAll of it was as it should be.");
    Ok(())
}

/// The tour, at its present step.
pub(super) struct Tour<'a> {
    pub(super) stage: &'a Stage,
    step: u32,
}

impl Tour<'_> {
    async fn search(&mut self) -> Result<()> {
        self.title("A search with a good token");
        let answer = self
            .ask(&self.get(SEARCH).token(self.stage.token()))
            .await?;
        expect(&answer, 200)?;
        if self.stage.control("").is_some() {
            let results = answer.json()?["results"].as_array().map_or(0, Vec::len);
            ensure!(results > 0, "the search found nothing");
        }
        see("The backend answered, and the gateway says how much of the minute's quota is left.");
        Ok(())
    }

    async fn no_token(&mut self) -> Result<()> {
        self.title("The same without a token");
        let answer = self.ask(&self.get(SEARCH)).await?;
        expect(&answer, 401)?;
        see(
            "The backend never saw it. It was counted all the same: guessing at tokens is limited too.",
        );
        Ok(())
    }

    async fn foreign_token(&mut self) -> Result<()> {
        self.title("With a token that says the same, but was signed by somebody else");
        let curl = self.get(SEARCH).token(self.stage.foreign_token());
        println!(
            "\n  $ {}",
            curl.to_string().replace("$TOKEN", "$FOREIGN_TOKEN")
        );
        let answer = curl.send(self.stage.client()).await?;
        show(&answer);
        expect(&answer, 401)?;
        see("What was wrong with it is for the gateway's log alone:");
        let id = answer
            .header("x-request-id")
            .context("the answer has no x-request-id")?;
        log_line(self.stage.output(), &["event=refused", id]).await?;
        Ok(())
    }

    fn leave_out(&mut self) {
        self.title("Left out: forged headers, the breaker, and the streams of a model");
        println!(
            "\n  They need a backend that tells what it received and fails on demand, as the demo's own does."
        );
    }

    async fn limit(&mut self) -> Result<()> {
        self.title("A hundred requests a minute");
        let search = self.get(SEARCH).token(self.stage.token());
        let before = search.send(self.stage.client()).await?;
        let left = before
            .number("x-ratelimit-remaining")
            .context("the answer does not say what is left")?;
        println!(
            "\n  The tour has used {} of them; {left} are left.",
            100_u64.saturating_sub(left)
        );
        println!("\n  $ {search}        # {FLOOD} times, many at once");
        let mut requests = JoinSet::new();
        for _ in 0..FLOOD {
            let (search, client) = (search.clone(), self.stage.client().clone());
            requests.spawn(async move { search.send(&client).await });
        }
        let (mut admitted, mut refused) = (0_u64, None);
        while let Some(answer) = requests.join_next().await {
            let answer = answer??;
            match answer.status {
                200 => admitted += 1,
                429 => refused = Some(answer),
                other => bail!("expected 200 or 429, got {other}: {}", answer.body),
            }
        }
        println!(
            "    {admitted} passed, {} were refused. One of these:",
            FLOOD as u64 - admitted
        );
        let refused = refused.context("none was refused")?;
        show(&refused);
        // A sliding window gives one back every 0.6 s once the minute has turned.
        ensure!(
            (left..=left + 5).contains(&admitted),
            "{admitted} were admitted where {left} were left"
        );
        ensure!(
            refused.header("retry-after").is_some(),
            "the refusal does not say when to come back"
        );
        see("All four workers share one count. Retry-After says when there is room again.");
        Ok(())
    }

    async fn metrics(&mut self) -> Result<()> {
        self.title("What the metrics say");
        let url = format!("http://{}/stats/prometheus", self.stage.admin().address());
        println!(
            "\n  $ curl -s '{url}' | grep -E '^(circuit_breaker|rate_limit|jwt_auth|service_token)_'"
        );
        // Counters of requests that pass are handed over once a second.
        let limited = r#"rate_limit_limited{limit="per_ip"}"#;
        until("the counters to be handed over", async || {
            Ok(self
                .stage
                .admin()
                .metric(limited)
                .await?
                .is_some_and(|count| count > 0))
        })
        .await?;
        let text = self.stage.admin().get("/stats/prometheus").await?;
        let ours = [
            "circuit_breaker_",
            "rate_limit_",
            "jwt_auth_",
            "service_token_",
        ];
        let lines = text
            .lines()
            .filter(|line| ours.iter().any(|plugin| line.starts_with(plugin)));
        for line in lines.filter(|line| !line.ends_with(" 0") || line.contains("_state{")) {
            println!("    {line}");
        }
        see("Those at 0 are left out here, but for the breaker's state: 0 is closed.");
        Ok(())
    }

    pub(super) fn title(&mut self, text: &str) {
        self.step += 1;
        println!("\n{}. {text}", self.step);
    }

    pub(super) fn get(&self, path: &str) -> Curl {
        Curl::get(self.stage.url(path))
    }

    /// Shows a request, makes it, and shows the answer.
    pub(super) async fn ask(&self, curl: &Curl) -> Result<Answer> {
        println!("\n  $ {curl}");
        let answer = curl.send(self.stage.client()).await?;
        show(&answer);
        Ok(answer)
    }
}
