//! A gateway at ports that its successor takes over.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::process;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use portcullis_e2e::backend::{Backend, Fault, Running};
use portcullis_e2e::{
    Answer, Bootstrap, Envoy, INTER_SERVICE_SECRET, JWT_SECRET_KEY, Listeners, Options, Token,
    envoy_binary, until,
};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

pub(crate) const SEARCH: &str = "/api/v1/rag/search?q=circuit+breaker&limit=1";
pub(crate) const QUERY: &str = "/api/v1/rag/query?q=circuit+breaker";
pub(crate) const COLLECTIONS: &str = "/api/v1/rag/collections";
pub(crate) const READY: &str = "/api/v1/rag/status/ready";
const BREAKERS: &str = "/api/v1/rag/status/breakers";

/// A client that is counted by itself. `envoy/edge.yaml` as it is behind a load balancer takes its
/// address from there.
const SOMEONE: &str = "192.0.2.7";

/// With which a streamed answer takes two seconds.
pub(crate) const PAUSE: Duration = Duration::from_millis(250);

/// Whose requests nobody wants to limit here.
pub(crate) const QUOTA: u64 = 1_000_000;

/// Where a gateway listens, and its successor after it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) gateway: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Place {
    /// One that is free, and stays so until the gateway has begun to listen and while it changes: at a
    /// loopback address of its own, where no other test listens.
    pub(crate) fn free() -> Result<Self> {
        static TAKEN: AtomicU8 = AtomicU8::new(2);
        let [.., high, low] = process::id().to_be_bytes();
        let own = TAKEN.fetch_add(1, Ordering::Relaxed);
        let address = IpAddr::from(Ipv4Addr::new(127, high, low, own));
        // Both at a time, so that they differ.
        let listeners = [
            TcpListener::bind((address, 0))?,
            TcpListener::bind((address, 0))?,
        ];
        let [gateway, admin] = listeners.map(|listener| listener.local_addr());
        Ok(Self {
            gateway: gateway?,
            admin: admin?,
        })
    }
}

/// The backend of all gateways, with a pause between two of the eight events of a streamed answer.
pub(crate) async fn backend(pause: Duration) -> Result<Running> {
    let backend = Backend::builder()
        .service_token(Some(INTER_SERVICE_SECRET.to_owned()))
        .event_delay(pause);
    Ok(backend.start().await?)
}

/// `envoy/edge.yaml` behind a load balancer, which says on each response which gateway it is. The
/// collections have a breaker of their own, so that it can be open while searches pass.
pub(crate) fn bootstrap(name: &str, place: Place, upstream: SocketAddr) -> Result<Bootstrap> {
    let mut bootstrap = Bootstrap::shipped("edge")?;
    bootstrap.listen(place.gateway.port(), place.admin.port())?;
    for (at, listens) in [
        ("/admin", place.admin),
        ("/static_resources/listeners/0", place.gateway),
    ] {
        *bootstrap.at(&format!("{at}/address/socket_address/address"))? = json!(listens.ip());
    }
    bootstrap.forward_to(upstream)?;
    let manager = bootstrap.connection_manager()?;
    manager["xff_num_trusted_hops"] = json!(1);
    manager["route_config"]["response_headers_to_add"] =
        json!([{ "header": { "key": "x-gateway", "value": name } }]);
    let filter = bootstrap.filter("edge")?;
    let limit = &mut filter["rate_limit"]["limits"][0];
    limit["quota"] = json!(QUOTA);
    limit["window"] = json!("24h");
    let breakers = filter["circuit_breaker"]["breakers"].as_array_mut();
    let breakers = breakers.context("envoy/edge.yaml has no breakers")?;
    let mut collections = breakers[0].clone();
    collections["name"] = json!("collections");
    collections["match"]["paths"] = json!([{ "prefix": COLLECTIONS }]);
    collections["open_for"]["initial"] = json!("5m");
    breakers[0]["match"]["paths"] = json!([{ "exact": "/api/v1/rag/search" }]);
    breakers.push(collections);
    Ok(bootstrap)
}

pub(crate) fn environment() -> Vec<(std::ffi::OsString, std::ffi::OsString)> {
    let secrets = [
        ("JWT_SECRET_KEY", JWT_SECRET_KEY),
        ("INTER_SERVICE_SECRET", INTER_SERVICE_SECRET),
    ];
    secrets
        .map(|(name, value)| (name.into(), value.into()))
        .to_vec()
}

pub(crate) fn token() -> String {
    Token::of("alice").signed(JWT_SECRET_KEY)
}

pub(crate) fn client() -> Result<Client> {
    let client = Client::builder()
        .no_proxy()
        .timeout(portcullis_e2e::PATIENCE);
    Ok(client.build()?)
}

/// Starts a gateway.
pub(crate) async fn start(bootstrap: Bootstrap) -> Result<Envoy> {
    let options = Options {
        program: envoy_binary()?,
        bootstrap,
        workers: 2,
        env: environment(),
        listeners: Listeners::Static,
        drain: None,
    };
    Envoy::start(options).await
}

/// Tells a gateway's administration to do something.
pub(crate) async fn tell(admin: SocketAddr, what: &str) -> Result<()> {
    let request = client()?.post(format!("http://{admin}{what}"));
    request.send().await?.error_for_status()?;
    Ok(())
}

/// Stops a gateway as an operator does, and waits until it has ended.
pub(crate) async fn stop(mut gateway: Envoy) -> Result<()> {
    tell(gateway.admin().address(), "/quitquitquit").await?;
    until("the gateway to end", async || Ok(!gateway.is_running()?)).await
}

/// What one gateway remembers: a breaker that is open and requests that are counted.
pub(crate) struct State<'a> {
    gateway: SocketAddr,
    backend: &'a Running,
}

impl<'a> State<'a> {
    /// Makes it: opens the breaker of the collections and sends three requests from an address.
    pub(crate) async fn make(gateway: SocketAddr, backend: &'a Running) -> Result<Self> {
        let state = Self::none(gateway, backend);
        let fault = Fault::status(StatusCode::SERVICE_UNAVAILABLE).on(COLLECTIONS);
        backend.faults().set(fault.times(5));
        for _ in 0..5 {
            let failed = state.ask(COLLECTIONS, "198.51.100.1").await?;
            ensure!(failed.status == 503, "{failed:?}");
        }
        ensure!(
            state.breakers().await? == json!({ "rag_service": "closed", "collections": "open" })
        );
        for _ in 0..3 {
            state.count().await?;
        }
        Ok(state)
    }

    /// Of a gateway that was not told anything yet.
    pub(crate) fn none(gateway: SocketAddr, backend: &'a Running) -> Self {
        Self { gateway, backend }
    }

    /// Sends a request from the address, and says how many from there have been counted.
    pub(crate) async fn count(&self) -> Result<u64> {
        let answer = self.ask(SEARCH, SOMEONE).await?;
        ensure!(answer.status == 200, "{answer:?}");
        let number = |name: &str| {
            answer
                .number(name)
                .context("the answer does not say what is left")
        };
        Ok(number("x-ratelimit-limit")? - number("x-ratelimit-remaining")?)
    }

    /// The states of the breakers.
    pub(crate) async fn breakers(&self) -> Result<Value> {
        self.ask(BREAKERS, "198.51.100.2").await?.json()
    }

    /// The answer to a request that the open breaker refuses, without the backend being asked.
    pub(crate) async fn refused(&self) -> Result<bool> {
        let seen = self.backend.requests().count(COLLECTIONS);
        let answer = self.ask(COLLECTIONS, "198.51.100.1").await?;
        let asked = self.backend.requests().count(COLLECTIONS) > seen;
        Ok(answer.status == 503 && answer.body.contains("circuit-open") && !asked)
    }

    async fn ask(&self, path: &str, from: &str) -> Result<Answer> {
        let request = client()?.get(format!("http://{}{path}", self.gateway));
        let request = request.bearer_auth(token()).header("x-forwarded-for", from);
        Answer::to(request).await
    }
}
