//! Target `jwks`: the input is the answer to a fetch of the key set, after a good one.
//!
//! Where it brings no set, the tokens of the set before still pass. Where it brings one, a token
//! passes only if its key stands in the document, for that use. Another worker, which takes the set
//! over from shared data, says the same. What others have signed never passes.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_issuer::{Key, jwks};
use portcullis_jwt_auth::JwtAuth;
use portcullis_policy::Span;
use portcullis_sim::{CallAnswer, Worker};
use serde_json::{Value, json};

use crate::NOW;
use crate::gateway::{ask, begin, worker};
use crate::oracle::AUDIENCE;

/// Those of the set that is served first.
const GOOD: &str = "EdDSA";
/// One of each kind of key, and of each way to check an RSA signature.
const TRIED: [&str; 6] = ["RS256", "PS256", "ES256", "ES384", "ES512", GOOD];
const FORGED: [&str; 4] = ["RS256", "ES256", "EdDSA", "HS256"];
const REFRESH: u64 = 600;

static CONFIG: LazyLock<String> = LazyLock::new(|| {
    let own = URL_SAFE_NO_PAD.encode(Key::other("HS256").bytes());
    let remote = json!({
        "upstream": "idp", "authority": "id.example.com", "path": "/jwks.json",
        "refresh": format!("{REFRESH}s")
    });
    let algorithms: Vec<_> = TRIED.into_iter().chain(["HS256"]).collect();
    json!({
        "providers": {"idp": {
            "issuer": "https://id.example.com",
            "audiences": [AUDIENCE],
            "algorithms": algorithms,
            "keys": [
                {"remote_jwks": remote},
                {"secret": {"value": own, "encoding": "base64url"}, "kid": "own"}
            ]
        }},
        "rules": [{"require": {"any_of": ["idp"]}}],
        // A worker lives for one input; what others send is not in its way.
        "verify_budget": {"failures": 0}
    })
    .to_string()
});

/// A token, and the public key that it takes to pass.
struct Probe {
    token: String,
    key: Value,
}

static PROBES: LazyLock<[Probe; 6]> = LazyLock::new(|| {
    let probe = |algorithm: &str| Probe {
        token: token(Key::of(algorithm), algorithm, "probe", json!({})),
        key: Key::of(algorithm).jwk(),
    };
    TRIED.map(probe)
});

static GOOD_SET: LazyLock<Vec<u8>> =
    LazyLock::new(|| jwks(&[("good", Key::of(GOOD))]).to_string().into_bytes());

/// Tokens of the good set: one that is remembered, and one that is not.
static GOOD_TOKENS: LazyLock<[String; 2]> = LazyLock::new(|| {
    ["first", "second"].map(|sub| token(Key::of(GOOD), GOOD, sub, json!({"kid": "good"})))
});

/// Signed by keys that are never served; the last one by a public key as if it were a secret.
static FORGERIES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let kids = [json!({}), json!({"kid": "good"})];
    let mut forged = Vec::new();
    for kid in kids {
        for algorithm in FORGED {
            // The configured secret is the other one of HS256; the first one is an issuer's, who
            // has published it.
            let key = if algorithm == "HS256" {
                Key::of("HS256")
            } else {
                Key::other(algorithm)
            };
            forged.push(token(key, algorithm, "forged", kid.clone()));
        }
        let public = Key::of(GOOD).jwk()["x"]
            .as_str()
            .map(|x| URL_SAFE_NO_PAD.decode(x));
        let confused = Key::secret(&public.expect("a text").expect("base64url"));
        forged.push(token(&confused, "HS256", "forged", kid));
    }
    forged
});

/// A set with a key of each kind, as an input.
pub fn good() -> String {
    jwks(&TRIED.map(|algorithm| (algorithm, Key::of(algorithm)))).to_string()
}

/// A token that any worker believes whose keys are those of its signature.
pub(crate) fn token(key: &Key, algorithm: &str, sub: &str, header: Value) -> String {
    let claims = json!({
        "iss": "https://id.example.com", "aud": AUDIENCE, "sub": sub, "exp": NOW + 86_400
    });
    key.token(algorithm, header, &claims)
}

/// Tries an input; true where it brings a set with the first key that is tried.
pub fn check(input: &[u8]) -> bool {
    let (world, first) = begin(&CONFIG, input);
    first.tick();
    first.answer_call(&CallAnswer(Some((200, GOOD_SET.clone()))));
    let [remembered, fresh] = &*GOOD_TOKENS;
    assert!(passes(&first, remembered), "the good set is not served");

    world.clock.advance(Span::from_secs(REFRESH));
    first.tick();
    assert!(first.call().is_some(), "nobody asks for a newer set");
    first.answer_call(&CallAnswer(Some((200, input.to_vec()))));
    let failed = first
        .telemetry
        .lines()
        .iter()
        .any(|line| line.contains("keys_not_fetched"));
    let second = worker(&world, &CONFIG, 1);
    let document = if failed { &GOOD_SET } else { input };
    let served = serves(document, &Key::of(GOOD).jwk());
    for (worker, token) in [(&first, remembered), (&first, fresh), (&second, fresh)] {
        let passed = passes(worker, token);
        assert!(served || !passed, "a key that is not served is believed");
        assert!(passed || !failed, "the set before does not serve on");
    }
    if failed {
        return false;
    }
    for Probe { token, key } in &*PROBES {
        let passed = passes(&first, token);
        assert!(
            !passed || serves(document, key),
            "passed without its key: {token}"
        );
        assert_eq!(
            passed,
            passes(&second, token),
            "workers do not agree on {token}"
        );
    }
    for token in &*FORGERIES {
        assert!(!passes(&first, token), "a forgery passed: {token}");
    }
    passes(&first, &PROBES[0].token)
}

pub(crate) fn passes(worker: &Worker<JwtAuth>, token: &str) -> bool {
    let bearer = format!("Bearer {token}");
    ask(worker, b"/", &[("authorization", bearer.as_bytes())]).is_some()
}

/// Whether a document holds a public key, and nothing beside it that forbids to check with it.
fn serves(document: &[u8], key: &Value) -> bool {
    let document: Value = serde_json::from_slice(document).unwrap_or_default();
    let number = |jwk: &Value, name: &str| {
        let text = jwk[name].as_str()?.trim_end_matches('=');
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        Some(bytes[zeros..].to_vec())
    };
    let mut entries = document["keys"].as_array().into_iter().flatten();
    entries.any(|entry| {
        ["kty", "crv"].iter().all(|name| entry[name] == key[name])
            && ["n", "e", "x", "y"]
                .iter()
                .all(|name| number(entry, name) == number(key, name))
            && entry["d"].is_null()
            && (entry["use"].is_null() || entry["use"] == "sig")
    })
}
