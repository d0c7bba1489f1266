//! Starting and stopping.

use std::fmt;
use std::future::IntoFuture;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_service_token_verifier::Verifier;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::app::{App, AppState, Stopping};
use crate::connection::{Door, Line};
use crate::qdrant;
use crate::qdrant::node::Qdrant;
use crate::search::Library;
use crate::upstreams::Upstreams;
use crate::{Faults, Requests, Role, StartError, UpstreamSettings, api, control, token};

/// How long a stop waits for answers in progress. A client that does not read must not hold up a stop.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// How long connecting to an upstream or to another node may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The pause between two events of a streamed answer, unless another is set.
const EVENT_DELAY: Duration = Duration::from_millis(25);

/// The service; see [`Backend::builder`].
#[derive(Debug)]
pub struct Backend;

impl Backend {
    /// A backend on `127.0.0.1` and a free port, without a service token and without test routes.
    #[must_use]
    pub fn builder() -> Builder {
        Builder {
            bind: "127.0.0.1:0".to_owned(),
            control: "127.0.0.1:0".to_owned(),
            accepts: Accepts::Anybody,
            test_routes: false,
            event_delay: EVENT_DELAY,
            role: Role::Rag,
            upstreams: None,
            peers: Vec::new(),
        }
    }
}

/// What a backend is started with.
pub struct Builder {
    bind: String,
    control: String,
    accepts: Accepts,
    test_routes: bool,
    event_delay: Duration,
    role: Role,
    upstreams: Option<UpstreamSettings>,
    peers: Vec<String>,
}

/// Whose requests are answered.
enum Accepts {
    Anybody,
    Secret(String),
    Verified(Verifier),
}

impl Builder {
    /// The address to serve at, as `host:port`; port 0 takes a free one.
    #[must_use]
    pub fn bind(mut self, addr: impl fmt::Display) -> Self {
        self.bind = addr.to_string();
        self
    }

    /// The address of the control listener, as `host:port`. It is opened only together with [`Builder::test_routes`].
    #[must_use]
    pub fn control(mut self, addr: impl fmt::Display) -> Self {
        self.control = addr.to_string();
        self
    }

    /// The secret that every request has to carry in `X-Service-Token`. With `None` nothing is checked. It takes the
    /// place of an earlier [`Builder::verifier`].
    #[must_use]
    pub fn service_token(mut self, secret: Option<String>) -> Self {
        self.accepts = secret.map_or(Accepts::Anybody, Accepts::Secret);
        self
    }

    /// Who says, by a credential of whatever kind, which requests came through the gateway. It takes the place of an
    /// earlier [`Builder::service_token`].
    #[must_use]
    pub fn verifier(mut self, verifier: impl Into<Verifier>) -> Self {
        self.accepts = Accepts::Verified(verifier.into());
        self
    }

    /// Opens the control listener, the route `/_test/echo` and the request header `x-demo-fault`.
    ///
    /// All of them show or change what no ordinary caller may: the echo returns the service token to whoever asks.
    #[must_use]
    pub fn test_routes(mut self, enabled: bool) -> Self {
        self.test_routes = enabled;
        self
    }

    /// Whom it speaks as.
    #[must_use]
    pub fn role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    /// What a RAG service embeds, searches and writes by. With `None` it does so itself.
    #[must_use]
    pub fn upstreams(mut self, settings: Option<UpstreamSettings>) -> Self {
        self.upstreams = settings;
        self
    }

    /// The nodes of Qdrant's cluster, as `http://host:port`; it may be among them. Not ready before it has what they have.
    #[must_use]
    pub fn peers(mut self, urls: impl IntoIterator<Item = String>) -> Self {
        self.peers = trimmed(urls);
        self
    }

    /// The pause between two events, or two tokens, of a streamed answer.
    #[must_use]
    pub fn event_delay(mut self, delay: Duration) -> Self {
        self.event_delay = delay;
        self
    }

    /// Builds the index, opens the sockets and serves in the background of the current Tokio runtime.
    ///
    /// # Errors
    ///
    /// When the service token is empty or can't stand in a header, an address cannot be bound or the index cannot be
    /// built.
    pub async fn start(self) -> Result<Running, StartError> {
        let verifier = match self.accepts {
            Accepts::Anybody => None,
            Accepts::Secret(secret) if secret.is_empty() => return Err(StartError::EmptyToken),
            Accepts::Secret(secret) => Some(token::only(secret).map_err(StartError::Token)?),
            Accepts::Verified(verifier) => Some(verifier),
        };
        let library = Library::open().map_err(|error| StartError::Index(error.to_string()))?;
        let listener = bind(&self.bind).await?;
        let addr = local_addr(&listener, &self.bind)?;
        let (stop, stopping) = watch::channel(false);
        let client = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .map_err(|error| StartError::Client(error.to_string()))?;
        let upstreams = self.upstreams.filter(|_| self.role == Role::Rag);
        let app = App(Arc::new(AppState {
            role: self.role,
            library,
            upstreams: upstreams.map(|settings| Upstreams::new(settings, client.clone())),
            qdrant: Qdrant::new(client, self.peers),
            verifier,
            faults: Faults::default(),
            requests: Requests::default(),
            event_delay: self.event_delay,
            test_routes: self.test_routes,
            stopping: Stopping::new(stopping.clone()),
            started: Instant::now(),
        }));

        let mut servers = JoinSet::new();
        let mut control_addr = None;
        if self.test_routes {
            let control = bind(&self.control).await?;
            control_addr = Some(local_addr(&control, &self.control)?);
            let stopping = Stopping::new(stopping.clone());
            let serve = axum::serve(control, control::router(&app))
                .with_graceful_shutdown(async move { stopping.wait().await });
            servers.spawn(serve.into_future());
        }
        let routes = api::router(&app).into_make_service_with_connect_info::<Line>();
        let stopping = Stopping::new(stopping);
        let serve = axum::serve(Door::new(listener, addr), routes)
            .with_graceful_shutdown(async move { stopping.wait().await });
        servers.spawn(serve.into_future());

        let mut chores = JoinSet::new();
        chores.spawn(chore(app.clone()));
        Ok(Running {
            addr,
            control_addr,
            app,
            stop,
            servers,
            chores,
        })
    }
}

/// A backend that serves until it is stopped or dropped.
pub struct Running {
    addr: SocketAddr,
    control_addr: Option<SocketAddr>,
    app: App,
    stop: watch::Sender<bool>,
    servers: JoinSet<io::Result<()>>,
    /// Ends with this value.
    chores: JoinSet<()>,
}

impl Running {
    /// Where it serves.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where it is controlled, if test routes are enabled.
    #[must_use]
    pub fn control_addr(&self) -> Option<SocketAddr> {
        self.control_addr
    }

    /// How it fails, from now on.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.app.0.faults
    }

    /// What reached it.
    #[must_use]
    pub fn requests(&self) -> &Requests {
        &self.app.0.requests
    }

    /// Whom Qdrant's writes are handed on to from now on, as `http://host:port`; it may be among them.
    pub fn set_peers(&self, urls: impl IntoIterator<Item = String>) {
        self.app.0.qdrant.peers.set(trimmed(urls));
    }

    /// Closes the listeners, lets answers in progress finish for up to five seconds, and returns.
    ///
    /// Requests in a black hole get their connection reset.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        self.chores.abort_all();
        let all = async { while self.servers.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_GRACE, all).await.is_err() {
            self.servers.abort_all();
        }
    }
}

/// What is done beside answering.
async fn chore(app: App) {
    match (app.0.role, &app.0.upstreams) {
        (Role::Rag, Some(upstreams)) => upstreams.index(&app.0.library).await,
        (Role::Qdrant, _) => qdrant::catch_up(&app).await,
        (Role::Rag | Role::Ollama, _) => {}
    }
}

/// Without the slash that a base address may end with.
fn trimmed(urls: impl IntoIterator<Item = String>) -> Vec<String> {
    let urls = urls.into_iter();
    urls.map(|url| url.trim_end_matches('/').to_owned())
        .collect()
}

async fn bind(addr: &str) -> Result<TcpListener, StartError> {
    TcpListener::bind(addr)
        .await
        .map_err(|source| StartError::Bind {
            addr: addr.to_owned(),
            source,
        })
}

fn local_addr(listener: &TcpListener, addr: &str) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|source| StartError::Bind {
        addr: addr.to_owned(),
        source,
    })
}
