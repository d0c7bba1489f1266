//! What the tour walks through: a gateway, a backend, and the keys to both.

use std::env;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use portcullis_e2e::backend::{Backend, Role, Running};
use portcullis_e2e::{Admin, Bootstrap, Envoy, Listeners, Options, Output};
use reqwest::Client;
use serde_json::json;

use crate::docker::random_hex;
use crate::token::{TokenSpec, mint};

/// So that state is seen to be shared.
const WORKERS: u32 = 4;

/// How long the breaker stays open here. `envoy/edge.yaml` says 30 s, which is long to watch.
pub const OPEN_FOR: &str = "3s";

/// How long a stream says nothing here until it has stalled. `envoy/models.yaml` says 30 s.
pub const STALL: &str = "1s";

/// Everything that runs; it ends with this value.
pub struct Stage {
    envoy: Envoy,
    backend: Option<Running>,
    models: Option<Models>,
    client: Client,
    token: String,
    foreign_token: String,
}

/// A model, and the gateway before it.
pub struct Models {
    envoy: Envoy,
    model: Running,
}

impl Stage {
    /// Starts a backend and a model, unless there is an upstream, and the gateways. `native`: whether their filters are native code.
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

        let token = |secret: &str| token(secret.as_bytes());
        let (good, foreign) = (token(&jwt_secret)?, token(&random_hex()?)?);
        let gateways = Gateways {
            program,
            native,
            env: vec![
                ("JWT_SECRET_KEY".into(), jwt_secret.into()),
                ("INTER_SERVICE_SECRET".into(), service_secret.into()),
            ],
        };
        let open_for = "/circuit_breaker/breakers/0/open_for/initial";
        let edge = gateways.start("edge", port, upstream, (open_for, OPEN_FOR));
        let models = async {
            match backend {
                Some(_) => Models::start(&gateways).await.map(Some),
                None => Ok(None),
            }
        };
        let (envoy, models) = tokio::try_join!(edge, models)?;
        // A connection for each request, so that all workers get some.
        let client = Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0)
            .timeout(Duration::from_secs(35));
        Ok(Self {
            envoy,
            backend,
            models,
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

    /// The model of the demo, and the gateway before it; `None` with a backend of the user's own.
    pub fn models(&self) -> Option<&Models> {
        self.models.as_ref()
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

    /// What the gateways printed last.
    pub fn last_lines(&self) -> String {
        let models = self.models.iter().map(Models::output);
        let outputs = std::iter::once(self.output()).chain(models);
        outputs
            .map(|output| output.tail(20))
            .collect::<Vec<_>>()
            .join("\n")
    }
}

impl Models {
    async fn start(gateways: &Gateways) -> Result<Self> {
        let model = Backend::builder().role(Role::Ollama).test_routes(true);
        let model = model
            .start()
            .await
            .context("the demo's model did not start")?;
        let stall = "/circuit_breaker/breakers/0/failures/stall";
        let envoy = gateways.start("models", 0, model.addr(), (stall, STALL));
        Ok(Self {
            envoy: envoy.await?,
            model,
        })
    }

    /// A URL of the gateway.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.envoy.gateway())
    }

    /// What the gateway printed.
    pub fn output(&self) -> &Output {
        self.envoy.output()
    }

    /// How many requests have reached the model.
    pub fn asked(&self) -> u64 {
        self.model.requests().total()
    }
}

/// What the gateways are started with.
struct Gateways {
    program: PathBuf,
    native: bool,
    env: Vec<(OsString, OsString)>,
}

impl Gateways {
    /// Starts one with the file `envoy/<name>.yaml`, in which one time of the filter is shorter, so that it can be watched.
    async fn start(
        &self,
        name: &str,
        port: u16,
        upstream: SocketAddr,
        (pointer, time): (&str, &str),
    ) -> Result<Envoy> {
        let mut bootstrap = Bootstrap::shipped(name)?;
        bootstrap.listen(port, 0)?;
        bootstrap.forward_to(upstream)?;
        let shorter = bootstrap.filter("edge")?.pointer_mut(pointer);
        *shorter.with_context(|| format!("envoy/{name}.yaml has no {pointer}"))? = json!(time);
        if self.native {
            bootstrap.run_natively()?;
        }
        Envoy::start(Options {
            program: self.program.clone(),
            bootstrap,
            workers: WORKERS,
            env: self.env.clone(),
            listeners: Listeners::Static,
            drain: None,
        })
        .await
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
