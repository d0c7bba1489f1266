//! The middleware of the example, before a real server.

#[expect(dead_code, reason = "its main is for whoever runs it")]
#[path = "../../examples/axum.rs"]
mod example;

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use http::Request;
use portcullis_policy::Timestamp;
use portcullis_service_token_verifier::{Algorithm, SignatureVerifier, TokenVerifier, Verifier};
use portcullis_sim::Dialect;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::plugin::{gate, through};
use crate::scene::secrets;

const BODY: &str = r#"{"hello": "world"}"#;
const DIGEST: &str = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:";

/// The backend of the example, with what it accepts.
async fn backend() -> SocketAddr {
    let tokens = TokenVerifier::new(Algorithm::Hs256, secrets(&["new"]), "https://gate").unwrap();
    let signatures = SignatureVerifier::new(secrets(&["new"])).unwrap();
    let app = example::app(Verifier::from(tokens).or(signatures));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    addr
}

/// Sends it; the status and the body of the answer.
async fn send(addr: SocketAddr, request: &Request<()>, body: &str) -> (u16, String) {
    let mut text = format!("{} {} HTTP/1.1\r\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        text += &format!("{name}: {}\r\n", value.to_str().unwrap());
    }
    text += &format!(
        "content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    (status, body.to_owned())
}

/// By the clock of this machine, which is that of the example.
fn gate_of_today(
    kind: &str,
    fields: &str,
) -> portcullis_sim::Worker<portcullis_service_token::ServiceToken> {
    let gate = gate(Dialect::Envoy, kind, fields);
    #[expect(clippy::disallowed_methods, reason = "the example has a clock")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    gate.clock.set(Timestamp::from_unix_secs(now.as_secs()));
    gate
}

#[tokio::test]
async fn a_token_passes_and_the_handler_learns_who_calls() {
    let addr = backend().await;
    let fields = r#""issuer":"https://gate","subject":"gate","caller_header":"x-user-id","#;
    let gate = gate_of_today("jwt", fields);
    let request = through(&gate, "GET", "/x", &[("x-user-id", "alice")]);
    let expected = (200, "hello, alice".to_owned());
    assert_eq!(send(addr, &request, "").await, expected);
    let bare = Request::get("/x").header("host", "a").body(()).unwrap();
    assert_eq!(send(addr, &bare, "").await.0, 401);
    let twice = [("x-service-token", "a"), ("x-service-token", "b")];
    let mut builder = Request::get("/x").header("host", "a");
    for (name, value) in twice {
        builder = builder.header(name, value);
    }
    assert_eq!(send(addr, &builder.body(()).unwrap(), "").await.0, 400);
}

#[tokio::test]
async fn a_signed_request_passes_once_and_with_its_own_body() {
    let addr = backend().await;
    let gate = gate_of_today("http_signature", "");
    let signed = || through(&gate, "POST", "/x?y", &[("content-digest", DIGEST)]);
    let request = signed();
    assert_eq!(send(addr, &request, BODY).await.0, 200);
    assert_eq!(send(addr, &request, BODY).await.0, 401, "replayed");
    assert_eq!(send(addr, &signed(), "another").await.0, 400);
    let mut elsewhere = signed();
    *elsewhere.uri_mut() = "/y".parse().unwrap();
    assert_eq!(send(addr, &elsewhere, BODY).await.0, 401);
}
