//! Callers: one that speaks HTTP, one that sees bytes.

use std::net::SocketAddr;

use portcullis_backend::Running;
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A request to the main listener.
pub(crate) fn get(backend: &Running, path: &str) -> RequestBuilder {
    at(Method::GET, backend.addr(), path)
}

/// A POST to the main listener.
pub(crate) fn post(backend: &Running, path: &str) -> RequestBuilder {
    at(Method::POST, backend.addr(), path)
}

/// A request to the control listener.
pub(crate) fn control(backend: &Running, method: Method, path: &str) -> RequestBuilder {
    at(
        method,
        backend.control_addr().expect("test routes are enabled"),
        path,
    )
}

pub(crate) fn at(method: Method, addr: SocketAddr, path: &str) -> RequestBuilder {
    Client::new().request(method, format!("http://{addr}{path}"))
}

pub(crate) async fn status(request: RequestBuilder) -> StatusCode {
    request.send().await.unwrap().status()
}

pub(crate) async fn json(request: RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    (response.status(), response.json().await.unwrap())
}

/// The ids of search results.
pub(crate) fn ids(found: &Value) -> Vec<&str> {
    found["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| result["id"].as_str().unwrap())
        .collect()
}

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    Orderly,
    Reset,
}

/// A bare connection.
pub(crate) struct Raw(pub(crate) TcpStream);

impl Raw {
    pub(crate) async fn get(addr: SocketAddr, path: &str) -> Self {
        Self::send(
            addr,
            &format!("GET {path} HTTP/1.1\r\nhost: backend\r\n\r\n"),
        )
        .await
    }

    pub(crate) async fn send(addr: SocketAddr, bytes: &str) -> Self {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(bytes.as_bytes()).await.unwrap();
        Self(stream)
    }

    /// Everything up to the end of the connection.
    pub(crate) async fn rest(&mut self) -> (String, End) {
        let mut bytes = Vec::new();
        let end = match self.0.read_to_end(&mut bytes).await {
            Ok(_) => End::Orderly,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => End::Reset,
            Err(error) => panic!("{error}"),
        };
        (String::from_utf8(bytes).unwrap(), end)
    }

    /// Everything up to and including `mark`.
    pub(crate) async fn until(&mut self, mark: &str) -> String {
        let mut bytes = Vec::new();
        while !bytes.ends_with(mark.as_bytes()) {
            bytes.push(self.0.read_u8().await.unwrap());
        }
        String::from_utf8(bytes).unwrap()
    }
}
