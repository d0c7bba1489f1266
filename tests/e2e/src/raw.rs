//! Requests that no client library would send.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::wait::PATIENCE;

/// A response as text.
#[derive(Clone, Debug)]
pub struct RawAnswer {
    /// The status.
    pub status: u16,
    /// Status line and headers.
    pub head: String,
    /// The rest, as it came.
    pub body: String,
}

/// Sends bytes over a connection of their own, and reads until the gateway closes it: say
/// `connection: close`.
///
/// # Errors
/// The gateway is not there, or what it sent is not HTTP.
pub async fn exchange(gateway: SocketAddr, bytes: &[u8]) -> Result<RawAnswer> {
    let exchange = async {
        let mut stream = TcpStream::connect(gateway).await?;
        stream.write_all(bytes).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        anyhow::Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = timeout(PATIENCE, exchange)
        .await
        .context("the gateway did not close the connection")??;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .with_context(|| format!("not HTTP: {answer:?}"))?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    Ok(RawAnswer {
        status: status.with_context(|| format!("no status: {head:?}"))?,
        head: head.to_owned(),
        body: body.to_owned(),
    })
}
