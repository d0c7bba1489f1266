//! Target `discovery`: the input is an issuer's description of itself.
//!
//! It leads to no call, or to one to the upstream and host that are configured, for a path that
//! stands in it. In either case the worker goes on: with the set that is there, or by asking again.

use std::sync::LazyLock;

use portcullis_issuer::{Key, jwks};
use portcullis_policy::{HttpCall, Span};
use portcullis_sim::CallAnswer;
use serde_json::{Value, json};

use crate::gateway::begin;
use crate::jwks::{passes, token};
use crate::oracle::AUDIENCE;

/// The issuer that is described.
pub const ISSUER: &str = "https://id.example.com";
const GOOD: &str =
    r#"{"issuer":"https://id.example.com","jwks_uri":"https://id.example.com/keys?v=1"}"#;

/// Longest pause after a failure.
const PAUSE: u64 = 1;

static CONFIG: LazyLock<String> = LazyLock::new(|| {
    json!({
        "providers": {"idp": {
            "issuer": ISSUER,
            "audiences": [AUDIENCE],
            "algorithms": ["EdDSA"],
            "keys": [{"remote_jwks": {
                "upstream": "idp", "authority": "id.example.com", "discovery": true
            }}]
        }},
        "rules": [{"require": {"any_of": ["idp"]}}]
    })
    .to_string()
});

static SET: LazyLock<Vec<u8>> =
    LazyLock::new(|| jwks(&[("good", Key::of("EdDSA"))]).to_string().into_bytes());

static TOKEN: LazyLock<String> =
    LazyLock::new(|| token(Key::of("EdDSA"), "EdDSA", "probe", json!({})));

/// A description as it should be, as an input.
pub fn good() -> String {
    GOOD.to_owned()
}

/// Tries an input; true where it leads to a key set.
pub fn check(input: &[u8]) -> bool {
    let (world, worker) = begin(&CONFIG, input);
    let answer = |body: &[u8]| worker.answer_call(&CallAnswer(Some((200, body.to_vec()))));
    worker.tick();
    let first = worker.call().expect("the description is asked for");
    assert_eq!(first.path, "/.well-known/openid-configuration");
    answer(input);
    let led = worker.call();
    match &led {
        Some(call) => hold(call, input),
        None => {
            assert!(!passes(&worker, &TOKEN), "passed without a key");
            world.clock.advance(Span::from_secs(PAUSE));
            worker.tick();
            assert_eq!(
                worker.call(),
                Some(first),
                "the description is not asked for again"
            );
            answer(GOOD.as_bytes());
        }
    }
    answer(&SET);
    assert!(passes(&worker, &TOKEN), "the set is not believed");
    led.is_some()
}

/// Holds the second call to the configuration and to the description.
fn hold(call: &HttpCall, description: &[u8]) {
    let target = (&*call.upstream, call.scheme, &*call.authority);
    assert_eq!(target, ("idp", "https", "id.example.com"));
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
    assert!(
        call.path.starts_with('/') && call.path.bytes().all(plain),
        "{:?}",
        call.path
    );

    let description: Value = serde_json::from_slice(description).expect("it was read");
    assert_eq!(description["issuer"], ISSUER);
    let uri = description["jwks_uri"].as_str().expect("a text");
    let (host, path) = uri.split_at(uri.len() - call.path.len());
    assert_eq!(path, call.path, "not what the description says: {uri}");
    let ours = ["https://id.example.com", "https://id.example.com:443"];
    assert!(
        ours.contains(&&*host.to_ascii_lowercase()),
        "of another host: {uri}"
    );
}
