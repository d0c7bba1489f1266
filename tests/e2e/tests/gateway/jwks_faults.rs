//! Providers that answer wrongly, late or not at all, or that are somebody else.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use portcullis_e2e::until;
use portcullis_idp::{Answer as Served, Idp};
use serde_json::json;

use crate::common::SEARCH;
use crate::jwks_scene::{
    HOST, Latencies, RAG, assert_sound, every_second, fetches, gateway, good_set, good_token,
    good_token_of, keys_of, other_set, other_token_of, statuses, trust, until_all, until_fetched,
};

const ELSEWHERE: &str = "/elsewhere";

/// A provider for each way to fail, and what its fetches are counted as.
fn faults() -> [(&'static str, Served, &'static str); 8] {
    let late = Duration::from_millis(1_500);
    [
        (
            "garbage",
            Served::Garbage(b"<html>\xff\0</html>".to_vec()),
            "malformed",
        ),
        ("failing", Served::Status(500), "status"),
        (
            "empty",
            Served::Json(json!({ "keys": [] }).to_string()),
            "no_usable_key",
        ),
        ("moved", Served::Redirect(ELSEWHERE.to_owned()), "status"),
        ("huge", Served::Huge(10_000_000), "too_large"),
        ("cut", Served::Cut(r#"{"keys":["#.to_owned()), "unreachable"),
        // What comes after the timeout is not taken, however good it is.
        (
            "slow",
            Served::Slow(late, Box::new(other_set())),
            "unreachable",
        ),
        ("hanging", Served::Hang, "unreachable"),
    ]
}

/// All fail at once, so that there are always some that a worker waits for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_fails_is_counted_and_changes_and_delays_nothing() -> Result<()> {
    let idp = Idp::start(HOST).await?;
    idp.serve(ELSEWHERE, other_set());
    let providers = faults().map(|(name, ..)| {
        idp.serve(&keys_of(name), good_set());
        (name, every_second(name))
    });
    let gateway = gateway("edge", &idp, &providers).start().await?;
    let remembered = faults().map(|(name, ..)| good_token_of(name));
    for token in &remembered {
        until_all(&gateway, 200, || token.clone()).await?;
    }

    for (name, served, _) in faults() {
        idp.serve(&keys_of(name), served);
    }
    let mut latencies = Latencies::default();
    for (at, (name, _, result)) in faults().iter().enumerate() {
        until(
            &format!("two fetches of {name} with {result}"),
            async || {
                for (token, status) in [
                    (&good_token_of(name), 200),
                    (&remembered[at], 200),
                    (&other_token_of(name), 401),
                ] {
                    let answer = gateway.get_as(token, SEARCH).await?;
                    assert_eq!(answer.status, status, "{name}: {answer:?}");
                    latencies.note(&answer);
                }
                Ok(fetches(&gateway, name, result).await? >= 2)
            },
        )
        .await?;
        let words = [
            "event=keys_not_fetched",
            &format!("provider={name} result={result}"),
        ];
        gateway.output().wait_for(&words).await?;
    }
    latencies.assert_quick();
    for (name, ..) in faults() {
        let passed = statuses(&gateway, || good_token_of(name)).await?;
        assert_eq!(passed, BTreeSet::from([200]), "{name}");
    }
    assert_eq!(idp.requests(ELSEWHERE), 0, "a redirect was followed");

    // None of them is given up.
    for (name, ..) in faults() {
        idp.serve(&keys_of(name), other_set());
    }
    for (name, ..) in faults() {
        until_all(&gateway, 200, || other_token_of(name)).await?;
        let old = statuses(&gateway, || good_token_of(name)).await?;
        assert_eq!(old, BTreeSet::from([401]), "{name}");
    }
    assert_sound(&gateway);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_come_from_nobody_but_whom_the_cluster_trusts() -> Result<()> {
    let (idp, stranger) = (Idp::start(HOST).await?, Idp::start(HOST).await?);
    // Whose certificate is by an authority that the cluster does not know, whose is for another
    // name, and whose cluster is not there. The fourth does not suffer from it.
    let untrusted = ["forged", "misnamed", "lost"];
    idp.serve(&keys_of(RAG), good_set());
    let mut providers = vec![(RAG, every_second(RAG))];
    for name in untrusted {
        idp.serve(&keys_of(name), good_set());
        let mut remote = every_second(name);
        remote["upstream"] = json!(name);
        providers.push((name, remote));
    }
    let gateway = gateway("jwt_auth", &idp, &providers).edit(|bootstrap| {
        trust(bootstrap, "forged", &idp, HOST, stranger.ca_pem())?;
        trust(
            bootstrap,
            "misnamed",
            &idp,
            "login.example.com",
            idp.ca_pem(),
        )
    });
    let gateway = gateway.start().await?;
    until_all(&gateway, 200, good_token).await?;
    for name in untrusted {
        let result = match name {
            "lost" => "no_such_upstream",
            _ => "unreachable",
        };
        until_fetched(&gateway, name, result, 1).await?;
        let answered = statuses(&gateway, || good_token_of(name)).await?;
        assert_eq!(answered, BTreeSet::from([503]), "{name}");
        assert_eq!(idp.requests(&keys_of(name)), 0, "{name}");
    }
    // What it was that failed.
    for (name, why) in [
        ("forged", "fail_verify_error"),
        ("misnamed", "fail_verify_san"),
    ] {
        let failed = gateway
            .admin()
            .stat(&format!("cluster.{name}.ssl.{why}"))
            .await?;
        assert!(
            failed.is_some_and(|failed| failed > 0),
            "{name}: {failed:?}"
        );
    }
    assert_sound(&gateway);
    Ok(())
}
