//! A port that is open, or shut and kept.

use std::io;
use std::mem;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 128;

/// How long accepting rests when the process is out of file descriptors or the like.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// A port of `127.0.0.1`. Dropping it closes it, and the connections.
pub(crate) struct Door {
    port: u16,
    state: State,
}

enum State {
    /// Connections are accepted.
    Open {
        /// Nothing is sent: the task sees it dropped.
        open: oneshot::Sender<()>,
        task: JoinHandle<()>,
    },
    /// Connections are refused. The socket does not listen, but it is bound, so that the system gives the port to
    /// nobody else.
    Shut(Option<TcpSocket>),
}

impl Door {
    /// A free port, shut.
    pub(crate) fn new() -> io::Result<Self> {
        let socket = bind(0)?;
        Ok(Self {
            port: socket.local_addr()?.port(),
            state: State::Shut(Some(socket)),
        })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Opens it unless it is open: from now on `serve` is called for each connection.
    pub(crate) fn open<F>(
        &mut self,
        serve: impl Fn(TcpStream) -> F + Send + 'static,
    ) -> io::Result<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let State::Shut(socket) = &mut self.state else {
            return Ok(());
        };
        let socket = socket.take().map_or_else(|| bind(self.port), Ok)?;
        let listener = socket.listen(BACKLOG)?;
        let (open, shut) = oneshot::channel();
        let task = tokio::spawn(accept(listener, serve, shut));
        self.state = State::Open { open, task };
        Ok(())
    }

    /// Shuts it unless it is shut, and returns when all connections are closed.
    pub(crate) async fn shut(&mut self) {
        match mem::replace(&mut self.state, State::Shut(None)) {
            State::Open { open, task } => {
                drop(open);
                // A task that panicked has closed everything too.
                let _ = task.await;
                // What fails here is tried again when the door is opened.
                self.state = State::Shut(bind(self.port).ok());
            }
            shut @ State::Shut(_) => self.state = shut,
        }
    }
}

fn bind(port: u16) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    // Connections that were closed linger for a while, and would keep the port from being bound again.
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    Ok(socket)
}

async fn accept<F>(
    listener: TcpListener,
    serve: impl Fn(TcpStream) -> F,
    mut shut: oneshot::Receiver<()>,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut shut => break,
            // Those that have ended are let go.
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream));
                }
                Err(error) => {
                    eprintln!("can't accept a connection: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    connections.shutdown().await;
}
