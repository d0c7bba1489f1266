//! What the tour walks through: a gateway, a backend, and the keys to both.

use std::env;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use portcullis_e2e::backend::{Backend, Running};
use portcullis_e2e::{Admin, Bootstrap, Envoy, Listeners, Options, Output};
use reqwest::Client;
use serde_json::json;

use crate::docker::random_hex;
use crate::token::{TokenSpec, mint};

/// So that state is seen to be shared.
const WORKERS: u32 = 4;

/// How long the breaker stays open here. `envoy/edge.yaml` says 30 s, which is long to watch.
pub const OPEN_FOR: &str = "3s";

/// Everything that runs; it ends with this value.
pub struct Stage {
    envoy: Envoy,
    backend: Option<Running>,
    client: Client,
    token: String,
    foreign_token: String,
}

impl Stage {
    /// Starts a backend, unless there is an upstream, and the gateway. `native`: whether its filters are native code.
    ///
    /// # Errors
    /// What can't be started, and why.
    pub async fn set(
        program: PathBuf,
        upstream: Option<SocketAddr>,
        port: u16,
        native: bool,
    ) -> Result<Self> {
        let jwt_secret = random_hex()?;
        let service_secret = match upstream {
            None => random_hex()?,
            Some(_) => env::var("INTER_SERVICE_SECRET").context(
                "a backend of your own expects its secret in X-Service-Token; set INTER_SERVICE_SECRET to it, \
                 or to any 32 characters if it does not look at it",
            )?,
        };
        let backend = match upstream {
            Some(_) => None,
            None => Some(backend(service_secret.clone()).await?),
        };
        let upstream = upstream
            .or(backend.as_ref().map(Running::addr))
            .context("no upstream")?;

        let mut bootstrap = Bootstrap::shipped("edge")?;
        bootstrap.listen(port, 0)?;
        bootstrap.forward_to(upstream)?;
        let breaker = bootstrap
            .filter("edge")?
            .pointer_mut("/circuit_breaker/breakers/0/open_for/initial");
        *breaker.context("envoy/edge.yaml does not say how long its breaker stays open")? =
            json!(OPEN_FOR);
        if native {
            bootstrap.run_natively()?;
        }

        let token = |secret: &str| token(secret.as_bytes());
        let (good, foreign) = (token(&jwt_secret)?, token(&random_hex()?)?);
        let env = [
            ("JWT_SECRET_KEY", jwt_secret),
            ("INTER_SERVICE_SECRET", service_secret),
        ];
        let env = env
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        let envoy = Envoy::start(Options {
            program,
            bootstrap,
            workers: WORKERS,
            env,
            listeners: Listeners::Static,
            drain: None,
        })
        .await?;
        // A connection for each request, so that all workers get some.
        let client = Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0)
            .timeout(Duration::from_secs(35));
        Ok(Self {
            envoy,
            backend,
            client: client.build()?,
            token: good,
            foreign_token: foreign,
        })
    }

    /// A URL of the gateway.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.envoy.gateway())
    }

    /// A URL by which the demo's own backend is controlled; `None` for a backend of the user's own.
    pub fn control(&self, path: &str) -> Option<String> {
        Some(format!(
            "http://{}{path}",
            self.backend.as_ref()?.control_addr()?
        ))
    }

    /// Envoy's administration.
    pub fn admin(&self) -> &Admin {
        self.envoy.admin()
    }

    /// What Envoy printed, its access log among it.
    pub fn output(&self) -> &Output {
        self.envoy.output()
    }

    /// Whoever makes the requests.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// A token of the dashboard's.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The same token, signed by somebody else.
    pub fn foreign_token(&self) -> &str {
        &self.foreign_token
    }

    /// What the gateway printed last.
    pub fn last_lines(&self) -> String {
        self.output().tail(20)
    }
}

async fn backend(secret: String) -> Result<Running> {
    let backend = Backend::builder()
        .service_token(Some(secret))
        .test_routes(true);
    backend
        .start()
        .await
        .context("the demo's backend did not start")
}

fn token(secret: &[u8]) -> Result<String> {
    let spec = TokenSpec {
        subject: "alice",
        scope: "rag:read",
        issuer: "https://auth.tradingsystem.local",
        audience: "rag-api",
        kid: "dash-2026",
        issued_at: SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
        ttl: 3_600,
    };
    mint(&spec, secret)
}
