//! The provider.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use axum::body::Body;
use axum::http::{Response, StatusCode};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::Answer;
use crate::authority::Authority;
use crate::door::Door;
use crate::requests::Requests;

/// A provider that serves until it is stopped or dropped.
///
/// Paths are compared as they were sent, without the query.
pub struct Idp {
    port: u16,
    authority: Authority,
    shared: Arc<Shared>,
    door: tokio::sync::Mutex<Door>,
}

#[derive(Default)]
struct Shared {
    answers: Mutex<HashMap<String, Answer>>,
    requests: Requests,
}

impl Idp {
    /// Starts on `127.0.0.1` and a free port, in the background of the current Tokio runtime. Its certificate is for
    /// `name`, such as `id.example.com`, and by an authority of its own.
    ///
    /// It speaks HTTP/1.1 over TLS 1.2 or 1.3, and answers 404 until it is told what to [serve](Self::serve).
    ///
    /// # Errors
    /// `name` is no DNS name, or there is no free port.
    pub async fn start(name: &str) -> Result<Self> {
        let authority = Authority::vouching_for(name)
            .with_context(|| format!("no certificate for {name:?}"))?;
        let door = Door::new().context("no free port")?;
        let idp = Self {
            port: door.port(),
            authority,
            shared: Arc::default(),
            door: tokio::sync::Mutex::new(door),
        };
        idp.resume().await?;
        Ok(idp)
    }

    /// The port, which stays the same.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The authority's certificate as PEM: what a client has to trust.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.authority.pem
    }

    /// What a path answers from now on. Requests that are being answered are not affected.
    pub fn serve(&self, path: &str, answer: Answer) {
        self.shared.answers().insert(path.to_owned(), answer);
    }

    /// How many requests came for a path since the start or the last [`reset`](Self::reset). They are counted before
    /// they are answered, whatever the answer is.
    #[must_use]
    pub fn requests(&self, path: &str) -> usize {
        self.shared.requests.count(path)
    }

    /// The headers of the last request for a path since the start or the last [`reset`](Self::reset), `host` included.
    /// Names are in lower case; bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn last_request(&self, path: &str) -> Option<Vec<(String, String)>> {
        self.shared.requests.last(path)
    }

    /// Waits until at least `n` requests for a path are counted.
    pub async fn wait_for(&self, path: &str, n: usize) {
        self.shared.requests.wait_for(path, n).await;
    }

    /// Forgets the requests. What is served stays.
    pub fn reset(&self) {
        self.shared.requests.clear();
    }

    /// An outage: closes all connections, whatever is under way, and refuses new ones. Does nothing during an outage.
    ///
    /// The system gives the port to nobody else meanwhile. What is served and the counts stay.
    pub async fn stop(&self) {
        self.door.lock().await.shut().await;
    }

    /// Ends an outage, on the same port and with the same certificate. Does nothing outside of one.
    ///
    /// # Errors
    /// The port can't be listened at.
    pub async fn resume(&self) -> Result<()> {
        let (tls, shared) = (self.authority.server.clone(), self.shared.clone());
        let serve = move |stream| connection(stream, tls.clone(), shared.clone());
        let mut door = self.door.lock().await;
        door.open(serve)
            .with_context(|| format!("can't listen at port {}", self.port))
    }
}

impl fmt::Debug for Idp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = &self.port;
        f.debug_struct("Idp")
            .field("port", port)
            .finish_non_exhaustive()
    }
}

impl Shared {
    async fn respond(&self, request: &Request<Incoming>) -> Response<Body> {
        let path = request.uri().path();
        // Before the request is counted: whoever waits for it may then change the answer.
        let answer = self.answers().get(path).cloned();
        self.requests.push(path, request.headers());
        let missing = Answer::Status(StatusCode::NOT_FOUND.as_u16());
        answer.unwrap_or(missing).response().await
    }

    fn answers(&self) -> MutexGuard<'_, HashMap<String, Answer>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn connection(stream: TcpStream, tls: TlsAcceptor, shared: Arc<Shared>) {
    // A client that does not trust the certificate ends here, and says so on its side.
    let Ok(stream) = tls.accept(stream).await else {
        return;
    };
    let service = service_fn(async |request| Ok::<_, Infallible>(shared.respond(&request).await));
    // Errors are those that the client sees too: it went away, or the answer was to be cut.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
