//! A secret is exchanged while requests go on: for each kind, with the reference verifier in the
//! upstream, and none refused.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use portcullis_e2e::page::configurations;
use portcullis_e2e::{Bootstrap, Gateway, INTER_SERVICE_SECRET, until};
use portcullis_service_token_verifier::{
    Algorithm, Secret, SignatureVerifier, StaticVerifier, TokenVerifier, Verifier,
};
use serde_json::{Value, json};

use crate::common::SEARCH;
use crate::reload::Traffic;

/// An upstream that answers 200 to what its verifier accepts, and 401 to all else.
struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    verifier: RwLock<Verifier>,
    /// What the secrets of the last requests are called.
    seen: Mutex<Vec<String>>,
}

impl Upstream {
    async fn start(verifier: Verifier) -> Result<Self> {
        let shared = Arc::new(Shared {
            verifier: RwLock::new(verifier),
            seen: Mutex::default(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let routes = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(Self { address, shared })
    }

    fn accept(&self, verifier: Verifier) {
        *self
            .shared
            .verifier
            .write()
            .unwrap_or_else(PoisonError::into_inner) = verifier;
    }

    /// Waits until requests by this secret have come, and for a while none by another.
    async fn sees_only(&self, id: &str) -> Result<()> {
        self.seen().clear();
        until("requests by one secret only", async || {
            let mut seen = self.seen();
            if seen.iter().any(|seen| seen != id) {
                seen.clear();
            }
            Ok(seen.len() >= 30)
        })
        .await
        .with_context(|| format!("by {id}"))
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.shared
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> (StatusCode, String) {
    let verifier = shared
        .verifier
        .read()
        .unwrap_or_else(PoisonError::into_inner);
    match verifier.verify(&request, SystemTime::now()) {
        Ok(verified) => {
            let mut seen = shared.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.push(verified.key_id);
            (StatusCode::OK, String::new())
        }
        Err(error) => (StatusCode::UNAUTHORIZED, error.to_string()),
    }
}

const OLD: (&str, &str) = ("old", "old-old-old-old-old-old-old-old-old");
const NEW: (&str, &str) = ("new", "new-new-new-new-new-new-new-new-new");

/// The plugin's configuration with these secrets, the first of which is used.
fn credential(kind: &str, secrets: &[(&str, &str)]) -> Value {
    let secrets: Vec<_> = secrets
        .iter()
        .map(|(id, value)| json!({ "id": id, "value": value }))
        .collect();
    match kind {
        "jwt" => json!({
            "kind": kind, "issuer": "https://gateway", "subject": "gateway", "audience": "rag", "secrets": secrets,
        }),
        _ => json!({ "kind": kind, "secrets": secrets }),
    }
}

/// What accepts such a credential by any of these secrets.
fn verifier(kind: &str, secrets: &[(&str, &str)]) -> Result<Verifier> {
    let secrets = secrets.iter().map(|(id, value)| Secret::new(*id, *value));
    let secrets: Vec<_> = secrets.collect::<Result<_, _>>()?;
    Ok(match kind {
        "static" => StaticVerifier::new(secrets)?.into(),
        "jwt" => TokenVerifier::new(Algorithm::Hs256, secrets, "https://gateway")?
            .audience("rag")
            .into(),
        _ => SignatureVerifier::new(secrets)?.into(),
    })
}

async fn rotate(kind: &str) -> Result<()> {
    let upstream = Upstream::start(verifier(kind, &[OLD])?).await?;
    let send = |secrets: &'static [(&str, &str)]| {
        let credential = credential(kind, secrets);
        move |bootstrap: &mut portcullis_e2e::Bootstrap| -> Result<()> {
            bootstrap.filter("service_token")?["credential"] = credential;
            Ok(())
        }
    };
    let gateway = Gateway::with("service_token").workers(4).reloadable();
    let gateway = gateway.upstream(upstream.address).edit(send(&[OLD]));
    let mut gateway = gateway.start().await?;
    let traffic = Traffic::start(gateway.url(SEARCH));
    upstream.sees_only("old").await?;
    // The verifying side first.
    upstream.accept(verifier(kind, &[OLD, NEW])?);
    traffic.passes(30).await?;
    gateway.reload(send(&[NEW, OLD])).await?;
    gateway
        .output()
        .wait_for(&["event=ready", "secret_id=new"])
        .await?;
    upstream.sees_only("new").await?;
    upstream.accept(verifier(kind, &[NEW])?);
    traffic.passes(30).await?;
    gateway.reload(send(&[NEW])).await?;
    traffic.passes(30).await?;
    upstream.sees_only("new").await?;
    traffic.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_static_secret_is_exchanged_and_no_request_is_refused() -> Result<()> {
    rotate("static").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_secret_of_a_token_is_exchanged_and_no_request_is_refused() -> Result<()> {
    rotate("jwt").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_secret_of_a_signature_is_exchanged_and_no_request_is_refused() -> Result<()> {
    rotate("http_signature").await
}

/// The configuration that the page gives for a rotation.
fn as_on_the_page() -> Result<Value> {
    let [config] = configurations("service_token.md", "## Rotation")?;
    Ok(config)
}

fn with(config: Value) -> impl FnOnce(&mut Bootstrap) -> Result<()> {
    move |bootstrap| {
        *bootstrap.filter("service_token")? = config;
        let keys = bootstrap.environment("service_token")?;
        *keys = json!(["INTER_SERVICE_SECRET", "INTER_SERVICE_SECRET_2026_12"]);
        Ok(())
    }
}

/// A gateway that runs does not see the new variable; one that is started beside it does. That is what the page says to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_in_a_variable_of_its_own_comes_with_a_new_process_and_no_request_is_refused()
-> Result<()> {
    let old = ("2026-11", INTER_SERVICE_SECRET);
    let new = ("2026-12", "the-secret-of-december-of-32-bytes-or-more");
    let upstream = Upstream::start(verifier("static", &[old])?).await?;
    let before = || {
        json!({ "credential": { "kind": "static",
            "secrets": [{ "id": "2026-11", "env": "INTER_SERVICE_SECRET" }] } })
    };
    let gateway = Gateway::with("service_token")
        .reloadable()
        .upstream(upstream.address);
    let mut first = gateway.edit(with(before())).start().await?;
    let traffic = Traffic::start(first.url(SEARCH));
    upstream.sees_only("2026-11").await?;
    upstream.accept(verifier("static", &[old, new])?);

    // Nothing that goes wrong on the way is a request that is refused, nor the old secret under the new name.
    for secrets in [
        as_on_the_page()?["credential"]["secrets"].clone(),
        json!([{ "id": "2026-12", "env": "INTER_SERVICE_SECRET" }, { "id": "2026-11", "env": "INTER_SERVICE_SECRET" }]),
    ] {
        let mut config = before();
        config["credential"]["secrets"] = secrets;
        assert!(
            first.reload(with(config.clone())).await.is_err(),
            "{config}"
        );
        traffic.passes(10).await?;
    }
    assert!(upstream.seen().iter().all(|id| id == "2026-11"));

    let second = Gateway::with("service_token").upstream(upstream.address);
    let second = second.env("INTER_SERVICE_SECRET_2026_12", new.1);
    let second = second.edit(with(as_on_the_page()?)).start().await?;
    let other = Traffic::start(second.url(SEARCH));
    other.passes(30).await?;
    traffic.end().await?;
    drop(first);
    upstream.sees_only("2026-12").await?;
    upstream.accept(verifier("static", &[new])?);
    other.passes(30).await?;
    other.end().await
}

/// From the secret itself to a signed kind, one side at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_goes_from_static_to_a_signed_kind_and_no_request_is_refused() -> Result<()> {
    for kind in ["jwt", "http_signature"] {
        let upstream = Upstream::start(verifier("static", &[OLD])?).await?;
        let gateway = Gateway::with("service_token").workers(4).reloadable();
        let gateway = gateway.upstream(upstream.address).edit(|bootstrap| {
            bootstrap.filter("service_token")?["credential"] = credential("static", &[OLD]);
            Ok(())
        });
        let mut gateway = gateway.start().await?;
        let traffic = Traffic::start(gateway.url(SEARCH));
        upstream.sees_only("old").await?;
        upstream.accept(verifier("static", &[OLD])?.or(verifier(kind, &[NEW])?));
        gateway
            .reload(|bootstrap| {
                bootstrap.filter("service_token")?["credential"] = credential(kind, &[NEW]);
                Ok(())
            })
            .await?;
        upstream.sees_only("new").await?;
        upstream.accept(verifier(kind, &[NEW])?);
        traffic.passes(30).await?;
        traffic.end().await?;
    }
    Ok(())
}
