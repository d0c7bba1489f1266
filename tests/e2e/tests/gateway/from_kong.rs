//! The way out of Kong, which removed Wasm in 3.11: the configuration that `kong/kong.yml` has for the filter, as it stands, in
//! Envoy. What it answers is compared with what the same configuration answers on Kong 3.9's data plane, as the test host models it
//! (`docs/leaving-kong.md`).

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use portcullis_e2e::{
    Answer, Bootstrap, Gateway, INTER_SERVICE_SECRET, JWT_SECRET_KEY, Token, filters, repository,
};
use portcullis_testhost::{Dialect, Host, Module, Outcome, Request};
use reqwest::Method;
use serde_json::{Value, json};

use crate::common::{HEALTH, SEARCH, token};

/// The filter's part of `kong/kong.yml`, with its aliases resolved as Kong does it.
fn of_kong() -> Result<Value> {
    let text = std::fs::read_to_string(repository().join("kong/kong.yml"))?;
    let kong: Value = serde_saphyr::from_str(&text)?;
    let filter = kong.pointer("/services/0/filter_chains/0/filters/0");
    let filter = filter.context("kong/kong.yml has no filter")?;
    assert_eq!(filter["name"], "edge");
    Ok(filter["config"].clone())
}

/// `envoy/edge.yaml` with Kong's configuration in the place of its own.
async fn envoy() -> Result<Gateway> {
    let config = of_kong()?;
    let replaced = |bootstrap: &mut Bootstrap| {
        *bootstrap.filter("edge")? = config;
        Ok(())
    };
    Gateway::with("edge").edit(replaced).start().await
}

/// Kong's data plane with the same.
fn kong() -> Result<Host> {
    let module = Module::from_file(&filters().join("edge.wasm"))?;
    let host = Host::builder(Dialect::Kong)
        .env("JWT_SECRET_KEY", JWT_SECRET_KEY)
        .env("INTER_SERVICE_SECRET", INTER_SERVICE_SECRET);
    let mut host = host
        .build(&module, of_kong()?.to_string().as_bytes())
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    host.set_clock(u64::try_from(now.as_nanos())?);
    Ok(host)
}

/// What a client sees of an answer, as far as the filter makes it: the status, and of a refusal its kind.
#[derive(Debug, PartialEq)]
struct Seen {
    status: u32,
    kind: Value,
    challenge: Option<String>,
    user: Option<String>,
    service_token: Option<String>,
}

fn of_envoy(gateway: &Gateway, answer: &Answer) -> Seen {
    let body = answer.json().unwrap_or_default();
    let passed = answer.status == 200 && answer.header("content-type").is_some();
    let received = passed.then(|| gateway.requests().last(1));
    let received = received.and_then(|mut last| last.pop());
    let header = |name: &str| {
        let request = received.as_ref()?;
        request.only_value(name).map(str::to_owned)
    };
    Seen {
        status: u32::from(answer.status),
        kind: body["type"].clone(),
        challenge: answer.header("www-authenticate").map(str::to_owned),
        user: header("x-user-id"),
        service_token: header("x-service-token"),
    }
}

fn of_model(host: &mut Host, request: Request) -> Result<Seen> {
    let exchange = host
        .request(0, request)
        .map_err(|trap| anyhow::anyhow!("{trap}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let header = |name: &str| exchange.upstream_header(name).map(text);
    let seen = match &exchange.outcome {
        Outcome::LocalReply { status, body, .. } => {
            let body: Value = serde_json::from_slice(body).unwrap_or_default();
            Seen {
                status: *status,
                kind: body["type"].clone(),
                challenge: exchange.outcome.local_header("www-authenticate").map(text),
                user: None,
                service_token: None,
            }
        }
        // The backend's own.
        Outcome::Continue { .. } => Seen {
            status: 200,
            kind: Value::Null,
            challenge: None,
            user: header("x-user-id"),
            service_token: header("x-service-token"),
        },
        Outcome::Paused => anyhow::bail!("it waits"),
    };
    Ok(seen)
}

#[tokio::test]
async fn the_configuration_of_a_kong_file_gives_the_same_answers_in_envoy() -> Result<()> {
    let gateway = envoy().await?;
    let mut host = kong()?;
    let good = token();
    let foreign = Token::of("alice").signed("another secret than the one that the gateway has");
    let weak = Token::of("alice")
        .claim("scope", json!("rag:write"))
        .signed(JWT_SECRET_KEY);
    let old = Token::of("alice")
        .claim("exp", json!(1_000_000))
        .signed(JWT_SECRET_KEY);
    let late = Token::of("alice")
        .claim("aud", json!("another-api"))
        .signed(JWT_SECRET_KEY);
    let mut statuses = Vec::new();
    for (path, token, more) in [
        (SEARCH, None, None),
        (SEARCH, Some(&good), None),
        // What a client says that it is.
        (SEARCH, Some(&good), Some(("x-user-id", "mallory"))),
        (SEARCH, Some(&good), Some(("x-service-token", "guessed"))),
        (SEARCH, Some(&foreign), None),
        (SEARCH, Some(&weak), None),
        (SEARCH, Some(&old), None),
        (SEARCH, Some(&late), None),
        (HEALTH, None, None),
        ("/api/v1/rag/status/ready", None, None),
        ("/api/v1/rag/status/breakers", None, None),
        ("/api/v1/rag%2Fsearch", Some(&good), None),
        ("/elsewhere", Some(&good), None),
    ] {
        let mut asked = gateway.request(Method::GET, path);
        let mut modelled = Request::get(path)
            .authority("gateway")
            .peer("127.0.0.1:50000");
        let bearer = token.map(|token| ("authorization", format!("Bearer {token}")));
        let more = more.map(|(name, value)| (name, value.to_owned()));
        for (name, value) in bearer.into_iter().chain(more) {
            asked = asked.header(name, &value);
            modelled = modelled.header(name, &value);
        }
        let answer = Answer::to(asked).await?;
        let seen = of_envoy(&gateway, &answer);
        // What the filter answers itself reaches no backend.
        if path.ends_with("/ready") {
            assert_eq!(
                (seen.status, of_model(&mut host, modelled)?.status),
                (200, 200)
            );
            continue;
        }
        assert_eq!(seen, of_model(&mut host, modelled)?, "{path} {token:?}");
        statuses.push(seen.status);
    }
    for wanted in [200, 401, 403] {
        assert!(statuses.contains(&wanted), "no {wanted}: {statuses:?}");
    }
    Ok(())
}

#[tokio::test]
async fn the_limit_of_a_kong_file_refuses_the_same_request_in_envoy() -> Result<()> {
    let gateway = envoy().await?;
    let mut host = kong()?;
    let bearer = format!("Bearer {}", token());
    let mut refused_at = [None, None];
    for n in 1..=102 {
        let answer = gateway.get_as(&token(), HEALTH).await?;
        let request = Request::get(HEALTH)
            .authority("gateway")
            .peer("127.0.0.1:50000");
        let seen = of_model(&mut host, request.header("authorization", &bearer))?;
        for (at, status) in refused_at
            .iter_mut()
            .zip([u32::from(answer.status), seen.status])
        {
            if status == 429 && at.is_none() {
                *at = Some(n);
            }
        }
    }
    assert_eq!(refused_at, [Some(101), Some(101)]);
    Ok(())
}
