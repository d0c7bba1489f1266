//! The steps before a model: what a stream is charged, who leaves in the middle of one, and one that stalls.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use portcullis_e2e::Answer;
use reqwest::{Client, Method, Response};
use serde_json::Value;

use super::curl::Curl;
use super::page::{expect, log_line, see, show};
use super::stage::{Models, STALL};
use super::tour::Tour;

/// What a token of the prompt is charged, and one of the answer, as `envoy/models.yaml` says.
const PRICES: (u64, u64) = (1, 4);

/// After how many tokens a client leaves.
const ENOUGH: usize = 5;

/// What a model says before it stalls.
const SAID: usize = 2;

/// As many as the breaker of `envoy/models.yaml` takes.
const STALLED: usize = 3;

/// A question to the model.
pub(super) fn chat(models: &Models, token: &str) -> Curl {
    const QUESTION: &str = concat!(
        r#"{"model":"llama3.2","stream":true,"stream_options":{"include_usage":true},"#,
        r#""messages":[{"role":"user","content":"What does a circuit breaker do?"}]}"#
    );
    Curl::get(models.url("/v1/chat/completions"))
        .streamed()
        .method(Method::POST)
        .token(token)
        .json(QUESTION)
        .body_as("QUESTION")
}

/// An answer as it comes.
struct Stream {
    response: Response,
    begun: Instant,
    text: String,
}

impl Stream {
    async fn begin(curl: &Curl, client: &Client) -> Result<Self> {
        let begun = Instant::now();
        Ok(Self {
            response: curl.begin(client).await?,
            begun,
            text: String::new(),
        })
    }

    /// Reads on until so many tokens have come.
    async fn read(&mut self, tokens: usize) -> Result<()> {
        while said(&self.text).count() < tokens && self.part().await? {}
        let came = said(&self.text).count();
        ensure!(came >= tokens, "only {came} tokens came: {}", self.text);
        Ok(())
    }

    /// Reads on to its end.
    async fn read_whole(&mut self) -> Result<()> {
        while self.part().await? {}
        Ok(())
    }

    async fn part(&mut self) -> Result<bool> {
        let part = self.response.chunk().await?;
        self.text.push_str(&String::from_utf8_lossy(
            part.as_deref().unwrap_or_default(),
        ));
        Ok(part.is_some())
    }

    /// Shows what has come: the head, and the first token.
    fn show(&self) -> Result<Answer> {
        let first = events(&self.text).find(|event| content(event).is_some());
        let answer = Answer {
            status: self.response.status().as_u16(),
            headers: self.response.headers().clone(),
            body: first
                .with_context(|| format!("no token came: {}", self.text))?
                .to_string(),
            took: self.begun.elapsed(),
        };
        show(&answer);
        expect(&answer, 200)?;
        Ok(answer)
    }
}

impl Tour<'_> {
    pub(super) async fn streams(&mut self, models: &Models) -> Result<()> {
        self.title("A model streams its answer, and its user has a budget of tokens");
        println!(
            "\n  A second gateway, with envoy/models.yaml, stands before a model. A token of the prompt costs 1, one of the answer 4."
        );
        let chat = chat(models, self.stage.token());
        println!("\n  $ {}", chat.sets_body().unwrap_or_default());
        println!("\n  $ {chat}");
        let mut stream = Stream::begin(&chat, self.stage.client()).await?;
        stream.read_whole().await?;
        let answer = stream.show()?;
        let usage = events(&stream.text).last().context("no events")?["usage"].take();
        let told = |name: &str| usage[name].as_u64().context("no such count");
        let (input, output) = (told("prompt_tokens")?, told("completion_tokens")?);
        println!(
            "    … and so on. The last event says what it used: {input} tokens of the prompt, {output} of the answer."
        );
        let budget = member(&answer, "ratelimit-policy", "q")?;
        let left = member(&answer, "ratelimit", "r")?;
        see(
            "What it might use was taken from the budget before it began. At its end it was charged for what it did use:",
        );
        let settled = Settled::of(models, &answer, "told").await?;
        let used = input * PRICES.0 + output * PRICES.1;
        ensure!(
            settled.charged == used && used < settled.reserved,
            "expected a charge of {used}: {settled:?}"
        );
        ensure!(
            left + settled.reserved == budget,
            "{left} of {budget} were left: {settled:?}"
        );
        self.leaves(models, &chat, budget - used).await?;
        self.stalls(models, &chat).await
    }

    /// With so much left of the budget.
    async fn leaves(&mut self, models: &Models, chat: &Curl, budget: u64) -> Result<()> {
        self.title("A client leaves in the middle of its stream");
        println!("\n  $ {chat}        # gone after {ENOUGH} tokens");
        let mut stream = Stream::begin(chat, self.stage.client()).await?;
        stream.read(ENOUGH).await?;
        let answer = stream.show()?;
        drop(stream);
        see("It is charged for what came until then, by its length, and has the rest back:");
        let settled = Settled::of(models, &answer, "estimated").await?;
        ensure!(
            0 < settled.charged && settled.charged < settled.reserved,
            "charged for nothing or all: {settled:?}"
        );
        let left = member(&answer, "ratelimit", "r")?;
        ensure!(
            left + settled.reserved == budget,
            "{left} of {budget} were left: {settled:?}"
        );
        Ok(())
    }

    async fn stalls(&mut self, models: &Models, chat: &Curl) -> Result<()> {
        self.title("A model begins to answer and then says nothing more");
        let stalling = chat
            .clone()
            .header("x-demo-stream", &format!("stall={SAID}"));
        println!("\n  $ {stalling}        # {STALLED} times at once");
        let mut streams = Vec::new();
        for _ in 0..STALLED {
            streams.push(Stream::begin(&stalling, self.stage.client()).await?);
        }
        for stream in &mut streams {
            stream.read(SAID).await?;
            let status = stream.response.status();
            ensure!(status == 200, "expected 200, got {status}");
            println!("    {} and {SAID} tokens", status.as_u16());
        }
        see(&format!(
            "All three heads were fine. After {STALL} of silence (30s in the file) each counts as a failure, and the breaker opens:"
        ));
        log_line(models.output(), &["event=opened", "cause=stall"]).await?;
        let asked = models.asked();
        println!("\n  $ {chat}");
        let refused = chat.send(self.stage.client()).await?;
        show(&refused);
        expect(&refused, 503)?;
        ensure!(
            refused.header("retry-after").is_some(),
            "the refusal does not say when to come back"
        );
        ensure!(
            models.asked() == asked && refused.took < Duration::from_secs(1),
            "the model was asked, or the refusal took {:?}",
            refused.took
        );
        see(&format!(
            "Refused in {:.1} ms, and the model was not asked: nobody waits for one that has gone silent.",
            refused.took.as_secs_f64() * 1_000.0
        ));
        Ok(())
    }
}

/// What a request was charged, by the gateway's log.
#[derive(Debug)]
struct Settled {
    reserved: u64,
    charged: u64,
}

impl Settled {
    /// Waits for the line of the request with this answer, and shows it.
    async fn of(models: &Models, answer: &Answer, known: &str) -> Result<Self> {
        let id = answer.header("x-request-id");
        let id = id.context("the answer has no x-request-id")?;
        let line = log_line(models.output(), &["event=usage", id]).await?;
        let says = |word: &str| line.split(' ').find_map(|said| said.strip_prefix(word));
        ensure!(says("known=") == Some(known), "expected known={known}");
        let number = |word: &str| says(word)?.parse().ok();
        let settled = number("reserved=").zip(number("charged="));
        let (reserved, charged) = settled.context("it does not say what was charged")?;
        Ok(Self { reserved, charged })
    }
}

/// The documents of a stream, as far as they have come.
fn events(text: &str) -> impl Iterator<Item = Value> {
    text.lines()
        .filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok())
}

/// A document's token.
fn content(event: &Value) -> Option<&str> {
    let content = event["choices"][0]["delta"]["content"].as_str();
    content.filter(|token| !token.is_empty())
}

/// The tokens of a stream, as far as they have come.
fn said(text: &str) -> impl Iterator<Item = String> {
    events(text).filter_map(|event| content(&event).map(str::to_owned))
}

/// A number in a header of the kind of `"tokens";r=40;t=30`.
fn member(answer: &Answer, header: &str, name: &str) -> Result<u64> {
    let value = answer.header(header);
    let value = value.with_context(|| format!("the answer has no {header}"))?;
    number(value, name).with_context(|| format!("{header}: {value} has no {name}"))
}

fn number(value: &str, name: &str) -> Option<u64> {
    let mut members = value.split(';').filter_map(|part| part.split_once('='));
    members.find(|(key, _)| *key == name)?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_come_of_a_stream_are_its_whole_events_with_text() {
        let role = r#"data: {"choices":[{"delta":{"role":"assistant","content":""}}]}"#;
        let token = r#"data: {"choices":[{"delta":{"content":"A "}}],"usage":null}"#;
        let text = format!("{role}\n\n{token}\n\n{token}\n\ndata: [DONE]\n\ndata: {{\"cho");
        assert_eq!(said(&text).collect::<String>(), "A A ");
        assert_eq!(events(&text).count(), 3);
    }

    #[test]
    fn a_limits_header_tells_what_is_left() {
        assert_eq!(number(r#""tokens";r=199430;t=3600"#, "r"), Some(199_430));
        assert_eq!(number(r#""tokens";r=199430;t=3600"#, "q"), None);
    }
}
