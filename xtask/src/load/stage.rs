//! A gateway that believes its users' addresses, and the backend behind it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use portcullis_e2e::backend::{Backend, Running};
use portcullis_e2e::{
    Admin, Answer, Bootstrap, Envoy, INTER_SERVICE_SECRET, JWT_SECRET_KEY, Listeners, Options,
    Output, Token,
};
use reqwest::Client;
use serde_json::json;

/// As many as the demo's.
const WORKERS: u32 = 4;

/// Everything that runs; it ends with this value.
pub struct Stage {
    envoy: Envoy,
    backend: Running,
    client: Client,
    token: String,
}

impl Stage {
    /// Starts backend and gateway.
    ///
    /// # Errors
    /// What can't be started, and why.
    pub async fn set(program: PathBuf) -> Result<Self> {
        let backend = Backend::builder()
            .service_token(Some(INTER_SERVICE_SECRET.to_owned()))
            .start();
        let backend = backend.await.context("the backend did not start")?;
        let mut bootstrap = Bootstrap::shipped("edge")?;
        bootstrap.listen(0, 0)?;
        bootstrap.forward_to(backend.addr())?;
        // As behind one load balancer, which here is whoever makes the load.
        bootstrap.connection_manager()?["xff_num_trusted_hops"] = json!(1);
        let secrets = [
            ("JWT_SECRET_KEY", JWT_SECRET_KEY),
            ("INTER_SERVICE_SECRET", INTER_SERVICE_SECRET),
        ];
        let envoy = Envoy::start(Options {
            program,
            bootstrap,
            workers: WORKERS,
            env: secrets
                .map(|(name, value)| (name.into(), value.into()))
                .to_vec(),
            listeners: Listeners::Static,
            drain: None,
        });
        Ok(Self {
            envoy: envoy.await?,
            backend,
            client: Client::builder()
                .no_proxy()
                .timeout(Duration::from_secs(35))
                .build()?,
            token: Token::of("alice").signed(JWT_SECRET_KEY),
        })
    }

    /// A URL of the gateway.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.envoy.gateway())
    }

    /// A token that it takes for ten minutes.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// GET with the token, from an address.
    ///
    /// # Errors
    /// There was no whole response.
    pub async fn get(&self, path: &str, from: &str) -> Result<Answer> {
        let request = self.client.get(self.url(path)).bearer_auth(&self.token);
        Answer::to(request.header("x-forwarded-for", from)).await
    }

    /// The backend.
    pub fn backend(&self) -> &Running {
        &self.backend
    }

    /// Envoy's administration.
    pub fn admin(&self) -> &Admin {
        self.envoy.admin()
    }

    /// What Envoy printed, its access log among it.
    pub fn output(&self) -> &Output {
        self.envoy.output()
    }
}
