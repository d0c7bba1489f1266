//! What generation may cost, and how much of it there is at a time: as the file ships it.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Result, ensure};
use portcullis_e2e::backend::{Backend, UpstreamSettings};
use portcullis_e2e::{Answer, until, until_some};
use reqwest::{Client, RequestBuilder};
use serde_json::json;

use super::scene::{Scene, client, url};
use crate::common::assert_problem;

/// Slots of the model.
const SLOTS: usize = 4;

/// What the stand-in takes for so many tokens.
fn words(tokens: usize) -> String {
    "a ".repeat(tokens)
}

async fn refused(request: RequestBuilder) -> Result<u64> {
    let answer = Answer::to(request).await?;
    assert_problem(&answer, 429, "quota-exceeded");
    let wait = answer.number("retry-after").unwrap_or_default();
    ensure!(wait > 0, "{answer:?}");
    Ok(wait)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_four_are_generated_a_fifth_is_refused_and_one_that_ends_makes_room() -> Result<()> {
    let scene = Scene::with(4, Duration::from_secs(3), |_| Ok(())).await?;
    let mut running = Vec::new();
    for _ in 0..SLOTS {
        let mut stream = scene.generating().send().await?;
        ensure!(stream.status() == 200, "{stream:?}");
        ensure!(stream.chunk().await?.is_some(), "no first token");
        running.push(stream);
    }
    refused(scene.generating()).await?;
    // A chat is of the same model, and what a user asks for takes a slot like anything else.
    let chat = client().post(format!("{}/api/chat", scene.ollama_url));
    refused(chat.header("x-user-id", "alice").json(&json!({}))).await?;
    assert_eq!(scene.ollama.requests().count("/api/generate"), 4);
    assert_eq!(scene.embed().await?.status, 200);
    running.pop();
    until("the slot to be free", async || {
        let stream = scene.generating().send().await?;
        Ok(stream.status() == 200)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_has_spent_the_budget_is_refused_through_every_service_and_others_are_not()
-> Result<()> {
    let scene = Scene::set(2).await?;
    let settings = UpstreamSettings::new(&scene.ollama_url, &scene.qdrant_url);
    let rag = Backend::builder().upstreams(Some(settings)).start().await?;
    let of = |user: &str| scene.generating().header("x-user-id", user);
    // Of 100,000 units an hour; the answer takes a few.
    let long = scene.generating_of(&words(99_000));
    let spent = Answer::to(long.header("x-user-id", "alice")).await?;
    ensure!(spent.status == 200, "{spent:?}");
    let line = [
        "event=usage",
        "limit=user_tokens",
        "input=99000",
        "known=told",
    ];
    until("it to be settled", async || {
        Ok(!scene.gateway.output().with(&line).is_empty())
    })
    .await?;
    // An answer is charged 512 tokens at first, at four units each: until they are there.
    let wait = refused(of("alice")).await?;
    ensure!((30..=80).contains(&wait), "{wait} s");
    assert_eq!(Answer::to(of("bob")).await?.status, 200);
    // What is asked in nobody's name the service answers for.
    assert_eq!(Answer::to(scene.generating()).await?.status, 200);

    // A service that passes on who asks.
    let query = async |user: &str| {
        let url = format!("{}/api/v1/rag/query?q=What+does+a+probe+decide", url(&rag));
        Answer::to(client().get(url).header("x-user-id", user)).await
    };
    until_some("the service to have indexed", async || {
        let answer = query("bob").await?;
        Ok((answer.status == 200).then_some(()))
    })
    .await?;
    let refused = query("alice").await?;
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.number("retry-after") > Some(0), "{refused:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_has_spent_its_budget_is_refused_and_another_is_not() -> Result<()> {
    let scene = Scene::set(2).await?;
    let long = words(200_000);
    // Of 1,000,000 units an hour.
    for turn in 1..=5 {
        let answer = Answer::to(scene.generating_of(&long)).await?;
        ensure!(answer.status == 200, "{turn}: {answer:?}");
    }
    until("the last to be settled", async || {
        let line = ["event=usage", "limit=service_tokens", "input=200000"];
        Ok(scene.gateway.output().with(&line).len() == 5)
    })
    .await?;
    refused(scene.generating()).await?;
    // Whatever name it gives.
    refused(scene.generating().header("x-user-id", "carol")).await?;
    let other = Client::builder()
        .no_proxy()
        .local_address(std::net::IpAddr::from(Ipv4Addr::new(127, 0, 0, 2)))
        .build()?;
    let request = scene.generating().build()?;
    assert_eq!(other.execute(request).await?.status(), 200);
    Ok(())
}

#[tokio::test]
async fn a_prompt_that_is_too_long_is_refused_and_a_batch_of_texts_is_not() -> Result<()> {
    let scene = Scene::set(1).await?;
    let long = words(550_000);
    let answer = Answer::to(scene.generating_of(&long)).await?;
    assert_eq!(answer.status, 413, "{answer:?}");
    assert_eq!(scene.ollama.requests().total(), 0);
    let batch = json!({ "model": "mxbai-embed-large", "input": [long] });
    let embed = client().post(format!("{}/api/embed", scene.ollama_url));
    assert_eq!(Answer::to(embed.json(&batch)).await?.status, 200);
    Ok(())
}
