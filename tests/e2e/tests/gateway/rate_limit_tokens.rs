//! Budgets of tokens: what models use, as each vendor writes it, with clients that leave and bodies that are long.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use portcullis_e2e::backend::{Backend, Role, Running};
use portcullis_e2e::{Answer, Gateway, until};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const PROMPT: &str = "Probes decide when a breaker closes, and nothing else.\n\nWhat do probes do?";

/// What writes nothing.
const EMBEDDINGS: &str = "/v1/embeddings";

async fn model(delay: Duration) -> Result<Running> {
    let model = Backend::builder().role(Role::Ollama).test_routes(true);
    Ok(model.event_delay(delay).start().await?)
}

/// A budget for each `x-user`: a token of the prompt is one unit, one of the answer four.
async fn start(model: &Running, workers: u32, quota: u64, at_most: u64) -> Result<Gateway> {
    let gateway = Gateway::with("rate_limit")
        .workers(workers)
        .upstream(model.addr())
        .edit(move |bootstrap| {
            bootstrap.lets_bodies_be_read("rate_limit")?;
            let filter = bootstrap.filter("rate_limit")?;
            filter["limits"] = json!([{
                "name": "tokens", "key": ["header:x-user"], "quota": quota, "window": "1h", "algorithm": "fixed_window",
                "cost": {
                    "tokens": { "input": 1, "output": 4 },
                    "reserve": { "input": 30, "output": { "from": ["options.num_predict"], "default": at_most, "at_most": at_most } },
                },
            }]);
            filter["log"] = json!("usage");
            Ok(())
        });
    gateway.start().await
}

fn client() -> Result<Client> {
    Ok(Client::builder().no_proxy().build()?)
}

/// How vendors are asked: path, body, and what is odd about the stream.
fn dialects() -> Vec<(&'static str, Value, &'static str)> {
    let messages = json!([{ "role": "user", "content": PROMPT }]);
    let openai = |usage: bool| json!({ "model": "m", "stream": true, "messages": messages, "stream_options": { "include_usage": usage } });
    let ollama = json!({ "model": "llama3.2:3b", "prompt": PROMPT });
    let gemini = json!({ "contents": [{ "role": "user", "parts": [{ "text": PROMPT }] }] });
    let stream = json!({ "model": "m", "stream": true, "messages": messages });
    let response = |stream: bool| json!({ "model": "m", "input": PROMPT, "stream": stream });
    vec![
        ("/v1/chat/completions", openai(true), ""),
        ("/v1/chat/completions", openai(true), "cut=7"),
        ("/v1/chat/completions", openai(true), "late-usage"),
        (
            "/v1/chat/completions",
            json!({ "model": "m", "messages": messages }),
            "",
        ),
        ("/api/generate", ollama.clone(), ""),
        (
            "/api/chat",
            json!({ "model": "llama3.2:3b", "messages": messages, "stream": false }),
            "",
        ),
        ("/v1/messages", stream.clone(), "cut=1"),
        (
            "/v1beta/models/demo:streamGenerateContent?alt=sse",
            gemini,
            "cut=3",
        ),
        ("/v2/chat", stream, ""),
        (
            EMBEDDINGS,
            json!({ "model": "m", "input": [PROMPT, "and what do they not do?"] }),
            "",
        ),
        ("/v1/responses", response(false), ""),
        ("/v1/responses", response(true), ""),
        ("/v1/responses", response(true), "cut=5"),
    ]
}

/// What is left of the budget.
pub(crate) async fn left(gateway: &Gateway, client: &Client, user: &str) -> Result<u64> {
    // A path that the model does not have: its 404 takes nothing.
    let request = client.get(gateway.url("/nothing")).header("x-user", user);
    let answer = Answer::to(request).await?;
    ensure!(answer.status == 404, "{answer:?}");
    let state = answer
        .header("ratelimit")
        .context("nothing is said of it")?;
    let left = state
        .split(";r=")
        .nth(1)
        .and_then(|left| left.split(';').next());
    Ok(left.context("what is left")?.parse()?)
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// Bytes with what no two answers have alike taken out: times.
fn without_times(bytes: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes);
    let lines = text
        .lines()
        .map(|line| match serde_json::from_str::<Value>(line) {
            Ok(mut value) if value.get("created_at").is_some() => {
                value["created_at"] = json!("");
                value.to_string()
            }
            _ => line.to_owned(),
        });
    lines.collect::<Vec<_>>().join("\n").into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_answer_used_is_charged_as_its_vendor_says_it_and_no_byte_of_it_changes()
-> Result<()> {
    let model = model(Duration::ZERO).await?;
    let gateway = start(&model, 2, 100_000, 1_000).await?;
    let client = client()?;
    let direct = format!("http://{}", model.addr());
    for (number, (path, body, odd)) in dialects().into_iter().enumerate() {
        let user = format!("user-{number}");
        let ask = |base: &str| {
            let request = client.post(format!("{base}{path}")).header("x-user", &user);
            request.header("x-demo-stream", odd).json(&body)
        };
        let ask = |base: &str| match odd {
            "" => client
                .post(format!("{base}{path}"))
                .header("x-user", &user)
                .json(&body),
            _ => ask(base),
        };
        let expected = ask(&direct).send().await?.bytes().await?;
        let answer = ask(&gateway.url("")).send().await?;
        ensure!(answer.status() == 200, "{path}: {answer:?}");
        let answer = answer.bytes().await?;
        assert_eq!(
            hash(&without_times(&answer)),
            hash(&without_times(&expected)),
            "{path} {odd}"
        );
        // What the stand-in says of itself.
        let text = String::from_utf8_lossy(&expected);
        let number_at = |name: &str| {
            let found = text.rsplit(&format!("\"{name}\":")).next()?;
            let digits: String = found.chars().take_while(char::is_ascii_digit).collect();
            (found.len() != text.len()).then(|| digits.parse::<u64>().ok())?
        };
        let input = [
            "prompt_tokens",
            "prompt_eval_count",
            "input_tokens",
            "promptTokenCount",
        ];
        let output = [
            "completion_tokens",
            "eval_count",
            "output_tokens",
            "candidatesTokenCount",
        ];
        let first = |names: &[&str]| names.iter().find_map(|name| number_at(name));
        let input = first(&input).context("it says what it read")?;
        let output = first(&output).unwrap_or_default();
        ensure!((output > 5) == (path != EMBEDDINGS), "{path}: {text}");
        let charged = input + 4 * output;
        until(
            &format!("{path} {odd} to be charged {charged}"),
            async || Ok(left(&gateway, &client, &user).await? == 100_000 - charged),
        )
        .await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_comes_compressed_all_the_same_passes_as_it_is_and_stays_charged_what_was_reserved()
-> Result<()> {
    let model = model(Duration::ZERO).await?;
    let gateway = start(&model, 1, 100_000, 1_000).await?;
    let client = client()?;
    for (number, stream) in [false, true].into_iter().enumerate() {
        let user = format!("user-{number}");
        let ask = |base: &str| {
            let request = client.post(format!("{base}/v1/responses"));
            let request = request.header("x-user", &user);
            let request = request.header("accept-encoding", "gzip");
            request
                .header("x-demo-fault", "gzip")
                .json(&json!({ "input": PROMPT, "stream": stream }))
        };
        let expected = ask(&format!("http://{}", model.addr())).send().await?;
        let expected = expected.bytes().await?;
        let answer = ask(&gateway.url("")).send().await?;
        assert_eq!(answer.headers()["content-encoding"], "gzip");
        let answer = answer.bytes().await?;
        ensure!(answer.starts_with(b"\x1f\x8b") && answer == expected);
        let asked = model.requests().last(1);
        let asked = asked.first().context("it was asked")?;
        assert_eq!(asked.only_value("accept-encoding"), Some("identity"));
        let unreadable = "rate_limit_unreadable{limit=\"tokens\"}";
        let seen = number as u64 + 1;
        gateway.admin().wait_for_metric(unreadable, seen).await?;
        assert_eq!(left(&gateway, &client, &user).await?, 100_000 - 4_030);
        let line = "known=unreadable reserved=4030 charged=4030";
        gateway.output().wait_for(&["event=usage", line]).await?;
    }
    Ok(())
}

/// A third of the clients leave at some byte; what the others and they got is charged, and no more is let through than the budget.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_streams_at_once_use_no_more_than_the_budget() -> Result<()> {
    const BUDGET: u64 = 1_000;
    let model = model(Duration::from_millis(4)).await?;
    let gateway = start(&model, 4, BUDGET, 20).await?;
    let client = client()?;
    let body =
        json!({ "model": "llama3.2:3b", "prompt": PROMPT, "options": { "num_predict": 10 } });
    let mut streams = tokio::task::JoinSet::new();
    for number in 0..200_usize {
        let request = client
            .post(gateway.url("/api/generate"))
            .header("x-user", "all");
        let request = request.json(&body);
        streams.spawn(async move {
            let mut answer = request.send().await?;
            if answer.status() != 200 {
                ensure!(answer.status() == 429, "{answer:?}");
                return anyhow::Ok((false, 0));
            }
            let most = match number % 3 {
                0 => 150 * (number % 7) + 1,
                _ => usize::MAX,
            };
            let (mut got, mut tokens) = (0, 0_u64);
            while let Some(chunk) = answer.chunk().await? {
                got += chunk.len();
                let text = String::from_utf8_lossy(&chunk).into_owned();
                tokens += text.matches("\"response\":\"").count() as u64;
                if got > most {
                    break;
                }
            }
            Ok((true, tokens))
        });
    }
    let (mut admitted, mut tokens) = (0_u64, 0);
    while let Some(stream) = streams.join_next().await {
        let (passed, got) = stream??;
        admitted += u64::from(passed);
        tokens += got;
    }
    // Each is charged 30 and 4 for each of 10 tokens, and gives back what it has not used: more than 14 may pass one after another.
    ensure!(admitted >= BUDGET / 70, "{admitted} were admitted");
    let mut settled = 0;
    until("all streams to be settled", async || {
        let before = std::mem::replace(
            &mut settled,
            left(&gateway, &client, "all").await.unwrap_or(0),
        );
        Ok(before == settled && settled > 0)
    })
    .await
    .ok();
    let used = BUDGET - settled;
    let generated = 4 * tokens;
    println!("{admitted} of 200 admitted, {tokens} tokens seen, {used} of {BUDGET} charged");
    ensure!(used <= BUDGET, "{used} of {BUDGET}");
    ensure!(
        used * 100 >= generated * 95,
        "{used} charged for {generated} and the prompts"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_does_not_come_holds_nothing_and_one_that_is_too_long_goes_no_further()
-> Result<()> {
    let model = model(Duration::ZERO).await?;
    let gateway = start(&model, 1, 100_000, 1_000).await?;
    let client = client()?;
    let asked = model.requests().total();
    let long = format!("{{\"x\":\"{}\"}}", "y".repeat(1_100_000));
    let request = client
        .post(gateway.url("/api/generate"))
        .header("x-user", "a");
    let answer = request.body(long).send().await?;
    assert_eq!(answer.status(), 413);
    for (body, status) in [("{", 400), ("", 400), ("{}", 400)] {
        let request = client
            .post(gateway.url("/api/generate"))
            .header("x-user", "a");
        let answer = Answer::to(request.body(body)).await?;
        assert_eq!(answer.status, status, "{body}: {answer:?}");
    }
    // The empty one and `{}` were the model's to refuse.
    assert_eq!(model.requests().total(), asked + 2);
    // Nothing behind the head.
    let mut slow = tokio::net::TcpStream::connect(gateway.address()).await?;
    let head = "POST /api/generate HTTP/1.1\r\nhost: g\r\nx-user: b\r\ncontent-length: 9\r\nconnection: close\r\n\r\n{";
    slow.write_all(head.as_bytes()).await?;
    let begun = Instant::now();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await?;
    ensure!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    let took = begun.elapsed();
    ensure!((25..40).contains(&took.as_secs()), "{took:?}");
    assert_eq!(model.requests().total(), asked + 2);
    assert_eq!(left(&gateway, &client, "b").await?, 100_000);
    Ok(())
}

/// Decided on by a tick while half of its body is there: nothing of it is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_a_limit_in_shadow_has_not_waited_for_goes_on_whole() -> Result<()> {
    let model = model(Duration::ZERO).await?;
    let gateway = Gateway::with("rate_limit")
        .upstream(model.addr())
        .edit(|bootstrap| {
            bootstrap.lets_bodies_be_read("rate_limit")?;
            bootstrap.filter("rate_limit")?["limits"] = json!([{
                "name": "tokens", "key": ["constant"], "quota": 10_000, "window": "1h", "mode": "shadow",
                "cost": { "tokens": {} },
            }]);
            Ok(())
        });
    let gateway = gateway.start().await?;
    let body = json!({ "model": "llama3.2:3b", "prompt": PROMPT, "stream": false }).to_string();
    let (first, second) = body.split_at(body.len() / 2);
    let mut connection = tokio::net::TcpStream::connect(gateway.address()).await?;
    let length = body.len();
    let head = format!(
        "POST /api/generate HTTP/1.1\r\nhost: g\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{first}"
    );
    connection.write_all(head.as_bytes()).await?;
    let output = gateway.output();
    let begun = Instant::now();
    while output.with(&["reason=body_timed_out"]).is_empty() {
        ensure!(
            begun.elapsed() < Duration::from_secs(45),
            "it waits for ever"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    connection.write_all(second.as_bytes()).await?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await?;
    ensure!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("\"done\":true"),
        "{answer}"
    );
    Ok(())
}
