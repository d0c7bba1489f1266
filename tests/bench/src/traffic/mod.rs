//! The load and the upstream, both in this thread: what they cost is on another core than the gateway.

mod ask;
mod http1;
mod http2;
mod upstream;

use std::cell::Cell;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures_util::stream::{FuturesUnordered, TryStreamExt as _};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::time::timeout;

pub use ask::{Ask, CHUNKS, KEY_HEADER, Protocol};
use upstream::Received;
pub use upstream::{FAILING_PATH, STREAM_PATH};

/// So many requests are under way at a time: enough that a worker always has the next one at hand.
pub const CLIENTS: u32 = 16;

/// HTTP/2 has several streams on each of a few connections.
const HTTP2_CONNECTIONS: u32 = 4;

/// How long an answer may take. A machine may be busy with other things.
const PATIENCE: Duration = Duration::from_secs(30);

/// An upstream, and clients for gateways in front of it.
pub struct Traffic {
    runtime: Runtime,
    upstream: SocketAddr,
    received: Received,
}

impl Traffic {
    /// Starts the upstream on a port that is free.
    ///
    /// # Errors
    /// There is no port.
    pub fn start() -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let received: Received = Arc::new((0..CLIENTS).map(|_| Notify::new()).collect());
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let upstream = listener.local_addr()?;
        runtime.spawn(upstream::serve(listener, Arc::clone(&received)));
        Ok(Self {
            runtime,
            upstream,
            received,
        })
    }

    /// Where the upstream is.
    #[must_use]
    pub const fn upstream(&self) -> SocketAddr {
        self.upstream
    }

    /// A page of a gateway's administration; none if its status is not 200.
    ///
    /// # Errors
    /// Nobody answers there.
    pub fn page(&self, admin: SocketAddr, path: &str) -> Result<Option<Vec<u8>>> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: admin\r\n\r\n");
        let page = async {
            let mut connection = http1::Connection::open(admin).await?;
            connection.exchange(request.as_bytes(), || ()).await
        };
        let answer = self.runtime.block_on(in_time(page))?;
        Ok((answer.status == 200).then_some(answer.body))
    }

    /// Clients that ask this of a gateway.
    ///
    /// # Errors
    /// It can't be reached.
    pub fn connect(&self, gateway: SocketAddr, ask: &Ask) -> Result<Clients> {
        let clients = self.runtime.block_on(in_time(clients(gateway, ask)))?;
        Ok(Clients {
            ask: ask.clone(),
            clients,
            sent: Cell::new(0),
        })
    }

    /// Sends so many requests, each as soon as a client has its last answer.
    ///
    /// # Errors
    /// One was not answered as it must be, or not in time.
    pub fn send(&self, clients: &mut Clients, times: u32) -> Result<()> {
        let (ask, sent) = (&clients.ask, &clients.sent);
        let left = Cell::new(times);
        let all: FuturesUnordered<_> = (clients.clients.iter_mut())
            .zip(self.received.iter())
            .map(|(client, received)| client.send(ask, &left, sent, received))
            .collect();
        self.runtime.block_on(all.try_collect())
    }
}

/// Clients with connections that stay open.
pub struct Clients {
    ask: Ask,
    clients: Vec<Client>,
    sent: Cell<u64>,
}

enum Client {
    Http1 {
        connection: http1::Connection,
        request: Vec<u8>,
        key_at: Option<usize>,
    },
    Http2(http2::Connection),
}

async fn clients(gateway: SocketAddr, ask: &Ask) -> Result<Vec<Client>> {
    let mut clients = Vec::new();
    match ask.protocol {
        Protocol::Http1 => {
            for number in 0..CLIENTS as usize {
                let (request, key_at) = ask.http1(number);
                clients.push(Client::Http1 {
                    connection: http1::Connection::open(gateway).await?,
                    request,
                    key_at,
                });
            }
        }
        Protocol::Http2 => {
            for _ in 0..HTTP2_CONNECTIONS {
                let connection = http2::Connection::open(gateway).await?;
                for _ in 0..CLIENTS / HTTP2_CONNECTIONS {
                    clients.push(Client::Http2(connection.clone()));
                }
            }
        }
    }
    Ok(clients)
}

impl Client {
    async fn send(
        &mut self,
        ask: &Ask,
        left: &Cell<u32>,
        sent: &Cell<u64>,
        received: &Notify,
    ) -> Result<()> {
        while let Some(others) = left.get().checked_sub(1) {
            left.set(others);
            let number = sent.replace(sent.get() + 1);
            in_time(self.exchange(ask, number, received)).await?;
        }
        Ok(())
    }

    async fn exchange(&mut self, ask: &Ask, number: u64, received: &Notify) -> Result<()> {
        let expected = if ask.streamed { CHUNKS } else { 0 };
        let (status, chunks, body) = match self {
            Self::Http1 {
                connection,
                request,
                key_at,
            } => {
                if let (Some(at), Some(key)) = (*key_at, ask.key(number)) {
                    let place = request.get_mut(at..at + key.len());
                    place
                        .context("no place for the key")?
                        .copy_from_slice(key.as_bytes());
                }
                let on_chunk = || {
                    if ask.streamed {
                        received.notify_one();
                    }
                };
                let answer = connection.exchange(request, on_chunk).await?;
                (answer.status, answer.chunks, answer.body)
            }
            Self::Http2(connection) => {
                let request = ask.http2(0, number)?;
                (connection.exchange(request).await?, 0, Vec::new())
            }
        };
        if status != ask.status {
            let body = String::from_utf8_lossy(&body);
            bail!("{status} instead of {}: {body}", ask.status);
        }
        if ask.streamed && chunks != expected {
            bail!("{chunks} chunks instead of {expected}");
        }
        Ok(())
    }
}

async fn in_time<T>(what: impl Future<Output = Result<T>>) -> Result<T> {
    let answered = timeout(PATIENCE, what).await;
    answered.with_context(|| format!("no answer within {} s", PATIENCE.as_secs()))?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The upstream itself in the gateway's place.
    fn ask(ask: Ask, times: u32) -> Result<u64> {
        let traffic = Traffic::start()?;
        let mut clients = traffic.connect(traffic.upstream(), &ask)?;
        traffic.send(&mut clients, times)?;
        Ok(clients.sent.get())
    }

    #[test]
    fn as_many_are_sent_as_asked_for() -> Result<()> {
        assert_eq!(ask(Ask::get("/api/v1/rag/search?q=x"), 100)?, 100);
        assert_eq!(ask(Ask::get("/").of_keys(3), 5)?, 5);
        Ok(())
    }

    #[test]
    fn a_stream_comes_chunk_by_chunk() -> Result<()> {
        assert_eq!(ask(Ask::get(STREAM_PATH).streamed(), 20)?, 20);
        Ok(())
    }

    #[test]
    fn another_status_is_an_error() {
        let error = ask(Ask::get(FAILING_PATH), 1).unwrap_err().to_string();
        assert!(error.contains("503 instead of 200"), "{error}");
        assert_eq!(ask(Ask::get(FAILING_PATH).refused(503), 1).ok(), Some(1));
    }
}
