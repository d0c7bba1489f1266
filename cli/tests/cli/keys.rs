//! `portcullis keys`.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

use crate::command::{fixture, json, portcullis, text};
use crate::try_request::shipped;

/// What a set would be used for, a line for each key, and the exit code.
fn told(arguments: &[&str]) -> (Vec<String>, Option<i32>) {
    let output = portcullis(&[&["keys"], arguments].concat());
    let lines = text(&output.stdout)
        .lines()
        .map(str::trim)
        .map(str::to_owned);
    (lines.collect(), output.status.code())
}

/// The URL of a server that gives this answer once.
fn serve(answer: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/keys", listener.local_addr().expect("an address"));
    let _server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut asked = [0; 4096];
        let _read = stream.read(&mut asked);
        let _written = stream.write_all(answer.as_bytes());
    });
    url
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

#[test]
fn each_key_of_a_set_is_used_or_it_is_said_why_not() {
    let file = fixture("mixed.json");
    let (lines, code) = told(&[&file]);
    assert_eq!(
        lines[1..],
        [
            "used      keys[0] \"a\"  P-256: ES256",
            "not used  keys[1] \"b\"  `use` is not \"sig\"",
            "not used  keys[2]  a secret has no place in a set of public keys; expected `secret`",
            "not used  keys[3] \"d\"  a private key; expected the public half only",
            "not used  keys[4] \"e\"  `kty` is not RSA, EC or OKP",
        ]
    );
    assert!(
        lines[0].ends_with("mixed.json: 1 of 5 can be used"),
        "{}",
        lines[0]
    );
    assert_eq!(code, Some(0));
    let (lines, code) = told(&[&file, "--algorithm", "RS256"]);
    assert!(
        lines[1].ends_with("it serves none of the algorithms"),
        "{}",
        lines[1]
    );
    assert_eq!(code, Some(1));
}

#[test]
fn a_url_is_asked_for_and_no_redirect_is_followed() {
    let set = std::fs::read_to_string(fixture("mixed.json")).expect("a file");
    let url = serve(answer("200 OK", "", &set));
    let output = portcullis(&["keys", "--format", "json", &url]);
    let told = json(&output);
    assert_eq!(told[0]["keys"][0]["used_as"], "P-256: ES256");
    assert_eq!(
        (&told[0]["name"], output.status.code()),
        (&url.into(), Some(0))
    );
    for (answer, said) in [
        (
            answer("302 Found", "location: https://x.example/\r\n", ""),
            "302 Found, to https://x.example/: filters follow no redirects",
        ),
        (
            answer("404 Not Found", "", ""),
            "the answer is 404 Not Found",
        ),
        (
            answer("200 OK", "", "<html>"),
            "no key set: not a JSON object",
        ),
        (
            answer("200 OK", "", "{\"jwks_uri\":\"https://x.example/k\"}"),
            "a discovery document; its key set is at https://x.example/k",
        ),
        (answer("200 OK", "", &" ".repeat(300_000)), "http://"),
        ("".to_owned(), "http://"),
    ] {
        let output = portcullis(&["keys", &serve(answer)]);
        let error = text(&output.stderr);
        assert!(error.contains(said), "{said}: {error}");
        assert_eq!(output.status.code(), Some(2), "{said}");
    }
}

#[test]
fn a_server_that_is_not_trusted_or_says_nothing_is_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = format!("http://{}/", listener.local_addr().expect("an address"));
    let output = portcullis(&["keys", "--timeout", "50ms", &silent]);
    assert!(
        text(&output.stderr).contains("timeout"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(2));
    // No TLS there.
    let url = serve(answer("200 OK", "", "{}")).replace("http://", "https://");
    let output = portcullis(&["keys", &url]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stdout));
}

#[test]
fn the_keys_of_a_configuration_are_those_of_its_providers() {
    let (lines, code) = told(&[&shipped("envoy/edge.yaml")]);
    assert_eq!(
        lines,
        [
            "provider dashboard (HS256): 1 of 1 can be used",
            "used      keys[0] \"dash-2026\"  secret, JWT_SECRET_KEY, which is assumed: HS256",
        ]
    );
    assert_eq!(code, Some(0));
    let remote = [&fixture("cases/keys.yaml"), "--filter", "jwt_auth"];
    let (lines, code) = told(&remote);
    assert!(
        lines[1].contains("not fetched; `portcullis keys https://i.example/keys` asks for it"),
        "{lines:?}"
    );
    assert_eq!(code, Some(1));
    let keys = format!("https://i.example/keys={}", fixture("cases/jwks.json"));
    let (lines, code) = told(&[&remote[..], &["--keys", &keys]].concat());
    assert_eq!(
        lines[1..],
        [
            "used      keys[0].remote_jwks.keys[0]  P-256: ES256",
            "used      keys[0].remote_jwks.keys[1]  Ed25519: EdDSA"
        ]
    );
    assert_eq!(code, Some(0));
}
