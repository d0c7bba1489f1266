//! A gateway with a backend behind it: what a scenario starts.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use portcullis_backend::{Backend, Faults, Requests, Running};
use reqwest::{Method, RequestBuilder};

use crate::wait::PATIENCE;
use crate::{Admin, Answer, Bootstrap, Envoy, Listeners, Options, Output, RawAnswer, paths, raw};

/// What signs tokens.
pub const JWT_SECRET_KEY: &str = "5a1f0c7e93d24b68a5c0e1f7b3d9286450c7a1e8f2b6d4930e7c5a8b1d2f4e60";

/// What the backend expects of the gateway.
pub const INTER_SERVICE_SECRET: &str =
    "c3e7d1a95b0f48627d9e3c1a8f5b024676e1d0c9b8a7f6e5d4c3b2a190817263";

/// An Envoy with one of our configurations, and the backend that it guards.
pub struct Gateway {
    envoy: Envoy,
    bootstrap: Bootstrap,
    backend: Running,
    client: reqwest::Client,
}

/// What a gateway is started with.
pub struct Builder {
    bootstrap: Result<Bootstrap>,
    workers: u32,
    upstream: Option<SocketAddr>,
    service_token: bool,
    event_delay: Duration,
    test_routes: bool,
    listeners: Listeners,
    drain: Option<Duration>,
    env: Vec<(String, String)>,
}

impl Gateway {
    /// A gateway with `envoy/<name>.yaml`, one worker, and a backend that asks for the service token
    /// if that configuration injects it.
    #[must_use]
    pub fn with(name: &str) -> Builder {
        Builder {
            bootstrap: Bootstrap::shipped(name),
            workers: 1,
            upstream: None,
            service_token: name.ends_with("service_token") || name.ends_with("edge"),
            event_delay: Duration::from_millis(25),
            test_routes: false,
            listeners: Listeners::Static,
            drain: None,
            env: Vec::new(),
        }
    }

    /// A request. It has a connection of its own, so that one after another they reach all workers.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path))
    }

    /// GET.
    ///
    /// # Errors
    /// There was no whole response.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        Answer::to(self.request(Method::GET, path)).await
    }

    /// GET with a token.
    ///
    /// # Errors
    /// There was no whole response.
    pub async fn get_as(&self, token: &str, path: &str) -> Result<Answer> {
        Answer::to(self.request(Method::GET, path).bearer_auth(token)).await
    }

    /// GET with headers.
    ///
    /// # Errors
    /// There was no whole response.
    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
        let request = self.request(Method::GET, path);
        let with =
            |request: RequestBuilder, header: &(&str, &str)| request.header(header.0, header.1);
        Answer::to(headers.iter().fold(request, with)).await
    }

    /// Sends a GET by hand, with a target and header lines as they are given.
    ///
    /// # Errors
    /// There was no response.
    pub async fn raw_get(&self, target: &str, headers: &[&str]) -> Result<RawAnswer> {
        let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        let request =
            format!("GET {target} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n{lines}\r\n");
        raw::exchange(self.address(), request.as_bytes()).await
    }

    /// A path's URL.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    /// Changes the configuration of a gateway that is [`Builder::reloadable`] while it runs.
    ///
    /// # Errors
    /// Envoy refused it; what was in force before stays so.
    pub async fn reload(&mut self, edit: impl FnOnce(&mut Bootstrap) -> Result<()>) -> Result<()> {
        let mut bootstrap = self.bootstrap.clone();
        edit(&mut bootstrap)?;
        self.envoy.reload(bootstrap.clone()).await?;
        self.bootstrap = bootstrap;
        Ok(())
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.envoy.gateway()
    }

    /// Envoy's administration.
    #[must_use]
    pub fn admin(&self) -> &Admin {
        self.envoy.admin()
    }

    /// What Envoy prints.
    #[must_use]
    pub fn output(&self) -> &Output {
        self.envoy.output()
    }

    /// How the backend fails.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        self.backend.faults()
    }

    /// What reached the backend.
    #[must_use]
    pub fn requests(&self) -> &Requests {
        self.backend.requests()
    }
}

impl Builder {
    /// Worker threads.
    #[must_use]
    pub fn workers(mut self, workers: u32) -> Self {
        self.workers = workers;
        self
    }

    /// Changes the configuration.
    #[must_use]
    pub fn edit(mut self, edit: impl FnOnce(&mut Bootstrap) -> Result<()>) -> Self {
        self.bootstrap = self.bootstrap.and_then(|mut bootstrap| {
            edit(&mut bootstrap)?;
            Ok(bootstrap)
        });
        self
    }

    /// Sends requests elsewhere than to the backend.
    #[must_use]
    pub fn upstream(mut self, upstream: SocketAddr) -> Self {
        self.upstream = Some(upstream);
        self
    }

    /// The backend's pause between two events of a streamed answer.
    #[must_use]
    pub fn event_delay(mut self, delay: Duration) -> Self {
        self.event_delay = delay;
        self
    }

    /// Lets a request say how the backend is to fail it, in the header `x-demo-fault`.
    #[must_use]
    pub fn faults_by_request(mut self) -> Self {
        self.test_routes = true;
        self
    }

    /// One more variable in Envoy's environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Lets the configuration be changed while it runs.
    #[must_use]
    pub fn reloadable(mut self) -> Self {
        self.listeners = Listeners::Watched;
        self
    }

    /// How long what is replaced serves the connections that it has.
    #[must_use]
    pub fn drain(mut self, drain: Duration) -> Self {
        self.drain = Some(drain);
        self
    }

    /// Starts backend and gateway.
    ///
    /// # Errors
    /// [`crate::Refused`] when Envoy does not take the configuration, anything else when something
    /// is missing.
    pub async fn start(self) -> Result<Gateway> {
        let backend = Backend::builder()
            .service_token(self.service_token.then(|| INTER_SERVICE_SECRET.to_owned()))
            .event_delay(self.event_delay)
            .test_routes(self.test_routes)
            .start()
            .await
            .context("the backend did not start")?;
        let mut bootstrap = self.bootstrap?;
        bootstrap.listen(0, 0)?;
        bootstrap.forward_to(self.upstream.unwrap_or(backend.addr()))?;
        let secrets = [
            ("JWT_SECRET_KEY", JWT_SECRET_KEY),
            ("INTER_SERVICE_SECRET", INTER_SERVICE_SECRET),
        ];
        let options = Options {
            program: paths::envoy_binary()?,
            bootstrap: bootstrap.clone(),
            workers: self.workers,
            listeners: self.listeners,
            drain: self.drain,
            env: secrets
                .map(|(name, value)| (name.into(), value.into()))
                .into_iter()
                .chain(
                    self.env
                        .into_iter()
                        .map(|(name, value)| (name.into(), value.into())),
                )
                .collect(),
        };
        let client = reqwest::Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0)
            .timeout(PATIENCE)
            .build()?;
        Ok(Gateway {
            envoy: Envoy::start(options).await?,
            bootstrap,
            backend,
            client,
        })
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the gateway's last lines:\n{}", self.output().tail(60));
        }
    }
}
