//! Keys that are fetched: a provider on HTTPS, and a gateway of four workers that trusts it.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use portcullis_e2e::{Answer, Bootstrap, Builder, Gateway, PATIENCE, until};
use portcullis_idp::{Answer as Served, Idp};
use portcullis_issuer::{Key, jwks};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::common::SEARCH;

/// The host of all providers, which the certificate is for.
pub(crate) const HOST: &str = "id.example.com";

/// The provider of most tests.
pub(crate) const RAG: &str = "rag";

/// Where it serves its keys.
pub(crate) const KEYS: &str = "/realms/rag/keys";

/// More than one, so that they have to share what one of them fetches.
pub(crate) const WORKERS: u32 = 4;

/// What a provider calls itself.
pub(crate) fn issuer(provider: &str) -> String {
    format!("https://{HOST}/realms/{provider}")
}

/// Where a provider serves its keys.
pub(crate) fn keys_of(provider: &str) -> String {
    format!("/realms/{provider}/keys")
}

/// How a provider's keys are fetched: as often as can be.
pub(crate) fn every_second(provider: &str) -> Value {
    json!({
        "upstream": "idp", "authority": HOST, "path": keys_of(provider),
        "refresh": "1s", "timeout": "1s", "refetch_min_interval": "1s",
    })
}

/// A gateway that believes these providers, each with its `remote_jwks`; the cluster `idp` is where
/// it finds them.
pub(crate) fn gateway(filter: &str, idp: &Idp, providers: &[(&str, Value)]) -> Builder {
    Gateway::with(filter)
        .workers(WORKERS)
        .edit(|bootstrap| trust(bootstrap, "idp", idp, HOST, idp.ca_pem()))
        .edit(|bootstrap| {
            if filter == "edge" {
                // These tests ask more often than anybody may.
                bootstrap.filter(filter)?["rate_limit"]["limits"][0]["quota"] = json!(1_000_000);
            }
            let config = jwt_auth(bootstrap, filter)?;
            let shipped = config["providers"]["dashboard"].clone();
            let provider = |(name, remote_jwks): &(&str, Value)| {
                let mut provider = shipped.clone();
                provider["issuer"] = json!(issuer(name));
                provider["algorithms"] =
                    json!(["RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA"]);
                provider["keys"] = json!([{ "remote_jwks": remote_jwks }]);
                ((*name).to_owned(), provider)
            };
            config["providers"] = providers.iter().map(provider).collect();
            let names: Vec<_> = providers.iter().map(|(name, _)| name).collect();
            config["rules"][1]["require"]["any_of"] = json!(names);
            Ok(())
        })
}

/// Adds a cluster for `idp`, of which a certificate for that name by that authority is expected.
pub(crate) fn trust(
    bootstrap: &mut Bootstrap,
    name: &str,
    idp: &Idp,
    server_name: &str,
    ca_pem: &str,
) -> Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, idp.port()));
    bootstrap.add_tls_cluster(name, address, server_name, ca_pem)
}

/// The configuration of `jwt_auth`, wherever it stands.
pub(crate) fn jwt_auth<'a>(bootstrap: &'a mut Bootstrap, filter: &str) -> Result<&'a mut Value> {
    let config = bootstrap.filter(filter)?;
    Ok(if filter == "edge" {
        &mut config["jwt_auth"]
    } else {
        config
    })
}

/// A key set as it is served.
pub(crate) fn set(keys: &[(&str, &Key)]) -> Served {
    Served::Json(jwks(keys).to_string())
}

/// The set that most tests begin with.
pub(crate) fn good_set() -> Served {
    set(&[("rsa-1", Key::of("RS256"))])
}

/// A token of that provider by the key of [`good_set`].
pub(crate) fn good_token_of(provider: &str) -> String {
    token(provider, "RS256", "rsa-1", Key::of("RS256"))
}

/// The same of [`RAG`].
pub(crate) fn good_token() -> String {
    good_token_of(RAG)
}

/// A set with a key that is not in [`good_set`].
pub(crate) fn other_set() -> Served {
    set(&[("rsa-2", Key::other("RS256"))])
}

/// A token of that provider by the key of [`other_set`].
pub(crate) fn other_token_of(provider: &str) -> String {
    token(provider, "RS256", "rsa-2", Key::other("RS256"))
}

/// The same of [`RAG`].
pub(crate) fn other_token() -> String {
    other_token_of(RAG)
}

/// A token that is good if its key is, and that differs from all others, so that no worker
/// remembers it.
pub(crate) fn token(provider: &str, algorithm: &str, kid: &str, key: &Key) -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let claims = json!({
        "iss": issuer(provider), "aud": "rag-api", "sub": "alice", "scope": "rag:read",
        "iat": now, "exp": now + 600, "jti": NUMBER.fetch_add(1, Ordering::Relaxed),
    });
    key.token(algorithm, json!({ "kid": kid }), &claims)
}

/// How long requests took.
#[derive(Debug, Default)]
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    /// Longer than a request takes on a busy machine, and shorter than a wait for a provider.
    const QUICK: Duration = Duration::from_millis(250);

    pub(crate) fn note(&mut self, answer: &Answer) {
        self.0.push(answer.took);
    }

    /// Checks that requests were not slowed down: one in twenty may be, since all machines stall.
    #[track_caller]
    pub(crate) fn assert_quick(&self) {
        let slow: Vec<_> = self.0.iter().filter(|took| **took >= Self::QUICK).collect();
        assert!(
            slow.len() * 20 <= self.0.len(),
            "of {}: {slow:?}",
            self.0.len()
        );
    }
}

/// Asks over one new connection after another until each worker has answered.
pub(crate) async fn on_every_worker(
    gateway: &Gateway,
    mut ask: impl AsyncFnMut() -> Result<Answer>,
) -> Result<Vec<Answer>> {
    let admin = gateway.admin();
    let before = admin.connections_by_worker().await?;
    assert_eq!(before.len(), usize::try_from(WORKERS)?, "{before:?}");
    let mut answers = Vec::new();
    until("a connection to each worker", async || {
        for _ in 0..8 {
            answers.push(ask().await?);
        }
        let after = admin.connections_by_worker().await?;
        Ok(after
            .iter()
            .zip(&before)
            .all(|(after, before)| after > before))
    })
    .await?;
    Ok(answers)
}

/// The statuses that the workers answer a token with.
pub(crate) async fn statuses(
    gateway: &Gateway,
    mut token: impl FnMut() -> String,
) -> Result<BTreeSet<u16>> {
    let answers = on_every_worker(gateway, async || gateway.get_as(&token(), SEARCH).await).await?;
    Ok(answers.iter().map(|answer| answer.status).collect())
}

/// Waits until all workers answer a token with this status.
pub(crate) async fn until_all(
    gateway: &Gateway,
    status: u16,
    mut token: impl FnMut() -> String,
) -> Result<()> {
    until(&format!("{status} of all workers"), async || {
        Ok(statuses(gateway, &mut token).await? == BTreeSet::from([status]))
    })
    .await
}

/// Waits until a path was asked for so many times.
pub(crate) async fn until_asked(idp: &Idp, path: &str, times: usize) -> Result<()> {
    let asked = timeout(PATIENCE, idp.wait_for(path, times)).await;
    asked.with_context(|| format!("{path} was asked for {} times", idp.requests(path)))
}

/// How many fetches of a provider's keys ended so.
pub(crate) async fn fetches(gateway: &Gateway, provider: &str, result: &str) -> Result<u64> {
    let name = format!("wasmcustom.jwt_auth_jwks_fetches.provider.{provider}.result.{result}");
    Ok(gateway.admin().stat(&name).await?.unwrap_or_default())
}

/// Waits until so many fetches of a provider's keys ended so.
pub(crate) async fn until_fetched(
    gateway: &Gateway,
    provider: &str,
    result: &str,
    count: u64,
) -> Result<()> {
    until(
        &format!("{count} fetches of {provider} with {result}"),
        async || Ok(fetches(gateway, provider, result).await? >= count),
    )
    .await
}

/// Checks that nothing broke that Envoy would go on without.
#[track_caller]
pub(crate) fn assert_sound(gateway: &Gateway) {
    for broken in ["[critical]", "[error]", "Uncaught", "panicked"] {
        assert_eq!(gateway.output().with(&[broken]), [""; 0]);
    }
}
