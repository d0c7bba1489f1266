//! The users of `profile.json`, by goose. How many there are, for how long, and what is too slow, its
//! options say: `cargo xtask load` gives them.

mod summary;

use std::env;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use goose::goose::GooseUser;
use goose::prelude::*;
use serde::Deserialize;
use serde_json::Value;

use summary::Summary;

/// What users do; the script for k6 reads the same file.
#[derive(Debug, Deserialize)]
struct Profile {
    pause_seconds: [u64; 2],
    requests: Vec<Request>,
}

#[derive(Clone, Debug, Deserialize)]
struct Request {
    name: String,
    method: String,
    path: String,
    body: Option<Value>,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let token = env::var("TOKEN").context("TOKEN holds the users' token and is not set")?;
    let profile: Profile = serde_json::from_str(include_str!("../profile.json"))?;
    let [shortest, longest] = profile.pause_seconds.map(Duration::from_secs);
    let mut users = Scenario::new("users").set_wait_time(shortest, longest)?;
    for request in profile.requests {
        users = users.register_transaction(transaction(request, token.clone()));
    }
    let attack = GooseAttack::initialize()?.register_scenario(users);
    match attack.execute().await {
        Ok(metrics) => {
            println!("\n{}", Summary(&metrics));
            Ok(ExitCode::SUCCESS)
        }
        Err(GooseError::ThresholdsFailed { metrics, .. }) => {
            println!("\n{}", Summary(&metrics));
            Ok(ExitCode::FAILURE)
        }
        Err(error) => Err(error.into()),
    }
}

fn transaction(request: Request, token: String) -> Transaction {
    let name = request.name.clone();
    let send: goose::goose::TransactionFunction = Arc::new(move |user| {
        let (request, token) = (request.clone(), token.clone());
        Box::pin(async move { ask(user, &request, &token).await })
    });
    Transaction::new(send).set_name(&name)
}

/// Sends a request and reads the answer to its end.
async fn ask(user: &mut GooseUser, request: &Request, token: &str) -> TransactionResult {
    let method = match request.method.as_str() {
        "POST" => GooseMethod::Post,
        _ => GooseMethod::Get,
    };
    let mut prepared = user
        .get_request_builder(&method, &request.path)?
        .header("authorization", format!("Bearer {token}"))
        .header("x-forwarded-for", address(user.weighted_users_index));
    if let Some(body) = &request.body {
        prepared = prepared.header("content-type", "application/json");
        prepared = prepared.body(body.to_string());
    }
    let prepared = GooseRequest::builder()
        .method(method)
        .path(request.path.as_str())
        .name(request.name.as_str())
        .set_request_builder(prepared)
        .build();
    let mut answer = user.request(prepared).await?;
    // What has gone wrong is counted already, but for an answer that is cut off.
    if let Ok(response) = answer.response
        && response.status().is_success()
        && let Err(error) = response.text().await
    {
        let why = error.to_string();
        return user.set_failure("cut off", &mut answer.request, None, Some(&why));
    }
    Ok(())
}

/// A user's address, from the network for benchmarks (RFC 2544), for a gateway that is told to believe
/// it: to all others these users are one client, and are limited as one.
fn address(user: usize) -> String {
    let [.., high, low] = user.to_be_bytes();
    format!("198.18.{high}.{low}")
}
