//! `envoy/circuit_breaker.yaml` with a route for WebSockets: a connection that is upgraded lives as
//! long as its two ends like.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use portcullis_e2e::{Bootstrap, Builder, Gateway, PATIENCE, until};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use crate::circuit_breaker::{state, trip};
use crate::circuit_breaker_scene::{Before, Counts, forward, watched};

const SOCKET: &str = "/api/v1/rag/socket";

/// Longer than [`watched`] takes for slow.
const LIFE: Duration = Duration::from_millis(1_200);

/// How a connection ends: its client leaves; the upstream closes it first, which RFC 6455 (section
/// 7.1.1) asks of a server; the upstream resets it, which Envoy does not tell from closing.
const LEAVE: &str = "leave";
const CLOSE: &str = "close";
const RESET: &str = "reset";

/// A gateway that upgrades, before an upstream that does too.
async fn upgrading() -> Result<Builder> {
    let upstream = upstream().await?;
    Ok(Gateway::with("circuit_breaker")
        .workers(4)
        .edit(|bootstrap| {
            bootstrap.add_cluster("sockets", &[upstream])?;
            let mut route = forward(SOCKET, "sockets");
            route["route"]["timeout"] = json!("0s");
            route["route"]["upgrade_configs"] = json!([{ "upgrade_type": "websocket" }]);
            bootstrap.add_route(route)
        }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_was_upgraded_is_a_success_however_long_it_lives() -> Result<()> {
    let gateway = upgrading().await?.edit(watched).start().await?;
    let before = Before::of(&gateway).await?;
    let mut sockets = Vec::new();
    for last in [LEAVE, CLOSE, RESET] {
        let mut socket = Socket::open(&gateway).await?;
        socket.echo("first").await?;
        sockets.push((socket, last));
    }
    sleep(LIFE).await;
    for (mut socket, last) in sockets {
        socket.echo("second").await?;
        socket.end(last).await?;
    }
    let seen = before.until_settled(&gateway, 3).await?;
    assert_eq!(seen.counts, Counts::of(3, 0, 0), "{seen:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgraded_probe_does_not_hold_its_permit() -> Result<()> {
    let soon = |bootstrap: &mut Bootstrap| {
        bootstrap.filter("circuit_breaker")?["breakers"][0]["open_for"] =
            json!({ "initial": "500ms", "jitter": 0 });
        Ok(())
    };
    let gateway = upgrading().await?.edit(soon).start().await?;
    trip(&gateway).await?;
    until("the breaker to be half-open", async || {
        Ok(state(&gateway).await? == "half_open")
    })
    .await?;
    let mut socket = Socket::open(&gateway).await?;
    // The head was enough: the connection is still there.
    assert_eq!(state(&gateway).await?, "closed");
    socket.echo("still here").await?;
    assert_eq!(gateway.requests().total(), 5);
    Ok(())
}

/// A client's end.
struct Socket(TcpStream);

impl Socket {
    async fn open(gateway: &Gateway) -> Result<Self> {
        let mut stream = TcpStream::connect(gateway.address()).await?;
        let request = format!(
            "GET {SOCKET} HTTP/1.1\r\nhost: gateway\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let head = timeout(PATIENCE, head(&mut stream)).await??;
        ensure!(head.starts_with("HTTP/1.1 101 "), "{head}");
        Ok(Self(stream))
    }

    /// Sends a text, and reads it back.
    async fn echo(&mut self, text: &str) -> Result<()> {
        self.0.write_all(text.as_bytes()).await?;
        let mut back = vec![0; text.len()];
        timeout(PATIENCE, self.0.read_exact(&mut back)).await??;
        assert_eq!(back, text.as_bytes());
        Ok(())
    }

    /// Leaves, or says how the upstream is to end it, and waits until it has.
    async fn end(mut self, how: &str) -> Result<()> {
        if how == LEAVE {
            return Ok(());
        }
        self.0.write_all(how.as_bytes()).await?;
        // An end or a reset: the gateway's way to say so is not what this is about.
        let _ = timeout(PATIENCE, self.0.read(&mut [0]))
            .await
            .context("it lives on")?;
        Ok(())
    }
}

/// An upstream that switches protocols, and then sends back what it gets, until it is told to end. It
/// knows no frames; neither does Envoy.
async fn upstream() -> Result<SocketAddr> {
    const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\n\
        upgrade: websocket\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                head(&mut stream).await?;
                stream.write_all(SWITCHED.as_bytes()).await?;
                let mut buffer = [0; 64];
                loop {
                    let read = stream.read(&mut buffer).await?;
                    match std::str::from_utf8(buffer.get(..read).unwrap_or_default())? {
                        "" | CLOSE => return anyhow::Ok(()),
                        RESET => return Ok(stream.set_zero_linger()?),
                        text => stream.write_all(text.as_bytes()).await?,
                    }
                }
            });
        }
    });
    Ok(address)
}

/// Reads up to the empty line.
async fn head(stream: &mut TcpStream) -> Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8(head)?)
}
