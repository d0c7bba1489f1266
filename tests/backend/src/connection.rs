//! Connections that a request can cut.
//!
//! A fault has to be one at the socket: a client must see a reset, or an end in the middle of a body, and not a tidy
//! error answer. So every connection shares a [`Line`] with the requests on it, and once the line is cut no further
//! byte is read or written.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// How long accepting rests when the process is out of file descriptors or the like.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// A listener whose connections can be cut.
pub(crate) struct Door {
    listener: TcpListener,
    addr: SocketAddr,
}

impl Door {
    pub(crate) fn new(listener: TcpListener, addr: SocketAddr) -> Self {
        Self { listener, addr }
    }
}

impl Listener for Door {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    // Without it the events of a stream would be held back; if it fails they are merely late.
                    let _ = stream.set_nodelay(true);
                    return (
                        Connection {
                            stream,
                            line: Line::new(peer),
                        },
                        peer,
                    );
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    eprintln!(
                        "{}",
                        serde_json::json!({ "event": "accept_failed", "error": error.to_string() })
                    );
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addr)
    }
}

/// How a connection is cut.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(crate) enum Cut {
    /// The socket is closed; what was written before still arrives.
    Close = 1,
    /// The socket is reset.
    Reset = 2,
}

/// A request's hold on the connection that it came by.
#[derive(Clone)]
pub(crate) struct Line(Arc<LineState>);

struct LineState {
    peer: SocketAddr,
    /// 0 while the line is whole, else a [`Cut`].
    cut: AtomicU8,
    task: AtomicWaker,
}

impl Line {
    fn new(peer: SocketAddr) -> Self {
        Self(Arc::new(LineState {
            peer,
            cut: AtomicU8::new(0),
            task: AtomicWaker::new(),
        }))
    }

    /// The other end.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.0.peer
    }

    /// Cuts the connection. What a handler returns afterwards is never sent.
    pub(crate) fn cut(&self, how: Cut) {
        self.0.cut.store(how as u8, Ordering::Release);
        self.0.task.wake();
    }
}

impl Connected<IncomingStream<'_, Door>> for Line {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        stream.io().line.clone()
    }
}

/// A TCP stream that fails once its line is cut.
pub(crate) struct Connection {
    stream: TcpStream,
    line: Line,
}

impl Connection {
    fn check(&self, cx: &Context<'_>) -> io::Result<()> {
        self.line.0.task.register(cx.waker());
        let cut = self.line.0.cut.load(Ordering::Acquire);
        if cut == 0 {
            return Ok(());
        }
        if cut == Cut::Reset as u8 {
            // Closing with a linger of zero sends a reset instead of an orderly end.
            self.stream.set_zero_linger()?;
        }
        Err(io::Error::from(io::ErrorKind::ConnectionAborted))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
