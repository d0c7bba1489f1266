//! A client that trusts one provider's authority and nobody else.

use std::sync::Arc;

use axum::body::Body;
use axum::http::HeaderMap;
use bytes::Bytes;
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use portcullis_idp::Idp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{ALL_VERSIONS, ClientConfig, RootCertStore, SupportedProtocolVersion};

use crate::NAME;

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Whole {
    /// The value of a header, if there is one.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// A connection that is kept.
pub(crate) struct Connection(SendRequest<Body>);

impl Connection {
    pub(crate) async fn to(idp: &Idp) -> Self {
        let stream = TokioIo::new(connect(idp).await);
        let (sender, connection) = handshake(stream).await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    pub(crate) async fn get(&mut self, target: &str) -> anyhow::Result<Whole> {
        let request = Request::get(target).header("host", NAME);
        let response = self.0.send_request(request.body(Body::empty())?).await?;
        let (head, body) = response.into_parts();
        Ok(Whole {
            status: head.status.as_u16(),
            headers: head.headers,
            body: axum::body::to_bytes(Body::new(body), usize::MAX).await?,
        })
    }
}

/// GET over a connection of its own.
pub(crate) async fn get(idp: &Idp, target: &str) -> Whole {
    Connection::to(idp).await.get(target).await.unwrap()
}

/// Sends bytes over a connection of their own. Returns what comes until the provider closes it, and how that ended.
pub(crate) async fn exchange(idp: &Idp, bytes: &str) -> (String, std::io::Result<usize>) {
    let mut stream = connect(idp).await;
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let end = stream.read_to_end(&mut answer).await;
    (String::from_utf8(answer).unwrap(), end)
}

/// A connection as a good client makes it.
pub(crate) async fn connect(idp: &Idp) -> TlsStream<TcpStream> {
    let config = trusting(idp.ca_pem(), ALL_VERSIONS);
    connect_as(idp, NAME, config).await.unwrap()
}

/// A connection that expects the provider to be `name`.
pub(crate) async fn connect_as(
    idp: &Idp,
    name: &'static str,
    config: ClientConfig,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(("127.0.0.1", idp.port())).await?;
    TlsConnector::from(Arc::new(config))
        .connect(name.try_into().unwrap(), stream)
        .await
}

/// Trusts this authority alone, and speaks these versions.
pub(crate) fn trusting(
    authority: &str,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority.as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    assert_eq!(roots.len(), 1);
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}
