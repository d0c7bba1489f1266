//! What `rate_limit` changes in bodies, on a real Envoy: of long prompts that come in any pieces nothing but a number, of streams
//! nothing but the event that was asked for.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use futures_util::{StreamExt as _, stream};
use portcullis_e2e::{Gateway, until};
use portcullis_idp::{Answer as Served, Idp};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::jwks_scene::{
    self, HOST, KEYS, RAG, every_second, good_set, good_token_of, until_asked,
};
use crate::rate_limit_tokens::left;

const WORD: &str =
    "data: {\"choices\":[{\"delta\":{\"content\":\"Hallo\"}}],\"usage\":null}\r\n\r\n";
const EXTRA: &str =
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":20}}\r\n\r\n";
const DONE: &str = "data: [DONE]\r\n\r\n";

/// Sends back what it receives, or streams, as a model does that speaks like OpenAI: in parts of so many bytes, and with what was
/// used where it is asked for that.
async fn answer(request: Request) -> Response {
    let (head, body) = request.into_parts();
    if head.method == Method::GET {
        return StatusCode::NOT_FOUND.into_response();
    }
    let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let said = head.headers.get("content-length").cloned();
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    if asked["stream"] != true {
        let mut echo = body.into_response();
        let said = said.unwrap_or(HeaderValue::from_static("none"));
        echo.headers_mut().insert("x-length", said);
        return echo;
    }
    let usage = asked["stream_options"]["include_usage"] == true;
    let text = [&*WORD.repeat(20), if usage { EXTRA } else { "" }, DONE].concat();
    let cut = asked["cut"].as_u64().unwrap_or(64).max(1);
    let parts: Vec<Bytes> = text
        .as_bytes()
        .chunks(usize::try_from(cut).unwrap_or(64))
        .map(Bytes::copy_from_slice)
        .collect();
    let length = text.len();
    let parts = stream::iter(parts).then(async |part| {
        // So that each is one of its own.
        tokio::time::sleep(Duration::from_millis(1)).await;
        Ok::<_, Infallible>(part)
    });
    let mut answer = Body::from_stream(parts).into_response();
    let headers = answer.headers_mut();
    headers.insert(
        "content-type",
        HeaderValue::from_static("text/event-stream"),
    );
    if asked["sized"] == true {
        headers.insert("content-length", HeaderValue::from(length));
    }
    answer
}

async fn upstream() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    Ok(address)
}

async fn start() -> Result<Gateway> {
    let gateway = Gateway::with("rate_limit")
        .workers(2)
        .upstream(upstream().await?);
    let gateway = gateway.edit(|bootstrap| {
        bootstrap.lets_bodies_be_read("rate_limit")?;
        let filter = bootstrap.filter("rate_limit")?;
        filter["limits"] = json!([{
            "name": "tokens", "key": ["header:x-user"], "quota": 1_000, "window": "1h", "algorithm": "fixed_window",
            "cost": {
                "tokens": { "input": 0, "output": 1 },
                "reserve": { "output": { "from": ["max_tokens", "options.num_predict"], "default": 900, "at_most": 1_000, "clamp": true } },
            },
        }]);
        filter["usage"] = json!({ "include_usage": "force" });
        Ok(())
    });
    gateway.start().await
}

fn client() -> Result<Client> {
    Ok(Client::builder().no_proxy().build()?)
}

/// A body in pieces, whose length nobody says before.
fn in_pieces(body: &str, size: usize) -> reqwest::Body {
    let pieces: Vec<Bytes> = body
        .as_bytes()
        .chunks(size)
        .map(Bytes::copy_from_slice)
        .collect();
    let pieces = stream::iter(pieces).then(async |piece| {
        tokio::time::sleep(Duration::from_millis(2)).await;
        Ok::<_, Infallible>(piece)
    });
    reqwest::Body::wrap_stream(pieces)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_prompt_reaches_the_model_whole_but_for_the_number_that_is_lowered() -> Result<()> {
    let gateway = start().await?;
    let client = client()?;
    for (number, length) in [0, 20_000, 700_000].into_iter().enumerate() {
        let prompt = "ä\\\"x".repeat(length / 5);
        for (spelled, lowered) in [
            (r#""max_tokens": 5000"#, r#""max_tokens": 1000"#),
            (
                r#""options" : {"num_predict":2e3}"#,
                r#""options" : {"num_predict":1000}"#,
            ),
        ] {
            for pieces in [None, Some(9_000)] {
                let user = format!("user-{number}-{}-{pieces:?}", spelled.len());
                let body = |said: &str| format!(r#"{{"prompt":"{prompt}", {said} ,"z":[1 ,2]}}"#);
                let (sent, expected) = (body(spelled), body(lowered));
                let request = client
                    .post(gateway.url("/v1/completions"))
                    .header("x-user", &user)
                    .header("content-type", "application/json");
                let request = match pieces {
                    None => request.body(sent),
                    Some(size) => request.body(in_pieces(&sent, size)),
                };
                let answer = request.send().await?;
                ensure!(answer.status() == 200, "{user}: {answer:?}");
                let said = answer.headers()["x-length"].to_str()?.to_owned();
                let granted = answer.headers().get("x-ratelimit-granted-tokens");
                ensure!(
                    granted.is_some_and(|granted| granted == "1000"),
                    "{answer:?}"
                );
                let came = answer.text().await?;
                ensure!(came == expected, "{user}: {} bytes came", came.len());
                match pieces {
                    None => assert_eq!(said, expected.len().to_string()),
                    Some(_) => assert_eq!(said, "none"),
                }
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_at_once_share_what_is_left_and_none_gets_more() -> Result<()> {
    let gateway = start().await?;
    let client = client()?;
    let asking: Vec<_> = (0..40)
        .map(|_| {
            let request = client
                .post(gateway.url("/v1/completions"))
                .header("x-user", "one")
                .json(&json!({ "max_tokens": 400 }));
            tokio::spawn(request.send())
        })
        .collect();
    let mut granted = Vec::new();
    for asked in asking {
        let answer = asked.await??;
        if answer.status() == 429 {
            ensure!(answer.headers().contains_key("retry-after"), "{answer:?}");
            continue;
        }
        let came: Value = answer.json().await?;
        granted.push(came["max_tokens"].as_u64().context("a number")?);
    }
    granted.sort_unstable();
    assert_eq!(granted, [200, 400, 400]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_says_what_it_used_to_the_gateway_and_not_to_a_client_that_has_not_asked()
-> Result<()> {
    let gateway = start().await?;
    let client = client()?;
    let without = [&*WORD.repeat(20), DONE].concat();
    let with = [&*WORD.repeat(20), EXTRA, DONE].concat();
    for (number, cut) in [1, 7, 64, 100_000].into_iter().enumerate() {
        for sized in [false, true] {
            for asks in [false, true] {
                let mut body =
                    json!({ "stream": true, "max_tokens": 100, "cut": cut, "sized": sized });
                if asks {
                    body["stream_options"] = json!({ "include_usage": true });
                }
                let user = format!("user-{number}-{sized}-{asks}");
                let request = client
                    .post(gateway.url("/v1/chat/completions"))
                    .header("x-user", &user)
                    .json(&body);
                let answer = request.send().await?;
                ensure!(answer.status() == 200, "{answer:?}");
                let came = answer.text().await?;
                let expected = if asks { &with } else { &without };
                ensure!(came == *expected, "{user}, by {cut}: {came}");
                until("it is settled", async || {
                    Ok(left(&gateway, &client, &user).await? == 980)
                })
                .await?;
            }
        }
    }
    Ok(())
}

/// The body is there before the key is: it is changed in an event that is none of the request's own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_waits_for_a_key_is_changed_once_that_has_come() -> Result<()> {
    let idp = Idp::start(HOST).await?;
    let slowly = Served::Slow(Duration::from_millis(900), Box::new(good_set()));
    idp.serve(KEYS, slowly);
    let mut remote = every_second(RAG);
    (remote["refresh"], remote["timeout"]) = (json!("10m"), json!("5s"));
    remote["wait"] = json!("5s");
    let gateway = jwks_scene::gateway("edge", &idp, &[(RAG, remote)])
        .upstream(upstream().await?)
        .edit(|bootstrap| {
            bootstrap.lets_bodies_be_read("edge")?;
            *bootstrap.at("/static_resources/listeners/0/per_connection_buffer_limit_bytes")? =
                json!(1_000_000);
            bootstrap.filter("edge")?["rate_limit"] = json!({ "limits": [{
                "name": "tokens", "key": ["claim:sub"], "quota": 1_000, "window": "1h",
                "cost": {
                    "tokens": { "input": 0, "output": 1 },
                    "reserve": { "output": { "from": ["max_tokens"], "at_most": 1_000, "default": 900, "clamp": true } },
                },
            }] });
            Ok(())
        });
    let gateway = gateway.start().await?;
    until_asked(&idp, KEYS, 1).await?;
    let body = |most: u64| {
        format!(
            r#"{{"prompt":"{}","max_tokens": {most}}}"#,
            "x".repeat(100_000)
        )
    };
    let begun = Instant::now();
    let request = gateway
        .request(Method::POST, "/api/v1/rag/query")
        .header("content-type", "application/json")
        .bearer_auth(good_token_of(RAG))
        .body(body(5_000));
    let answer = request.send().await?;
    ensure!(
        begun.elapsed() > Duration::from_millis(300),
        "it has waited"
    );
    ensure!(answer.status() == 200, "{answer:?}");
    ensure!(answer.text().await? == body(1_000), "it came otherwise");
    Ok(())
}
