//! A connection that speaks HTTP/2, shared by several clients.

use std::net::SocketAddr;

use anyhow::Result;
use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use tokio::net::TcpStream;

#[derive(Clone)]
pub(super) struct Connection(SendRequest<Bytes>);

impl Connection {
    pub(super) async fn open(gateway: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(gateway).await?;
        stream.set_nodelay(true)?;
        let (send, connection) = h2::client::handshake(stream).await?;
        // It ends with its last client, or with the gateway.
        tokio::spawn(async move { connection.await.ok() });
        Ok(Self(send))
    }

    /// Sends a request and reads its answer; returns the status.
    pub(super) async fn exchange(&mut self, request: Request<()>) -> Result<u16> {
        let mut send = self.0.clone().ready().await?;
        let (response, _) = send.send_request(request, true)?;
        let response = response.await?;
        let status = response.status().as_u16();
        let mut body = response.into_body();
        while let Some(data) = body.data().await {
            let length = data?.len();
            body.flow_control().release_capacity(length)?;
        }
        Ok(status)
    }
}
