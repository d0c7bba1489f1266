//! Target `token`: whoever passes may pass.
//!
//! The first byte says where the token is, or what of it is given:
//!
//! ```text
//! h TOKEN                 authorization: Bearer TOKEN
//! c TOKEN                 cookie: session=TOKEN
//! q TOKEN                 /api/x?access_token=TOKEN
//! s HEADER \n PAYLOAD     both as JSON, signed here with the shared secret
//! ```

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_issuer::Key;
use portcullis_policy::Span;
use serde_json::{Value, json};

use crate::NOW;
use crate::gateway::{Passed, ask, begin, is_one_line};
use crate::oracle::{AUDIENCE, Rules, SCOPE, judge, sign};

/// The issuer whose tokens are signed with a secret.
pub const BY_SECRET: &str = "https://secret.example";
/// The issuer whose tokens are signed with key pairs.
pub const BY_KEY_PAIR: &str = "https://keys.example";
/// What the secret is called.
pub const KID: &str = "shared";

const SYMMETRIC: [&str; 3] = ["HS256", "HS384", "HS512"];
const ASYMMETRIC: [&str; 10] = [
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
];
const PROVIDERS: [(&str, Rules<'_>); 2] = [
    (
        "secret",
        Rules {
            issuer: BY_SECRET,
            algorithms: &SYMMETRIC,
            kid: Some(KID),
            longest_life: None,
        },
    ),
    (
        "keys",
        Rules {
            issuer: BY_KEY_PAIR,
            algorithms: &ASYMMETRIC,
            kid: None,
            longest_life: Some(7200.0),
        },
    ),
];
const DAY: u64 = 86_400;

static CONFIG: LazyLock<String> = LazyLock::new(|| {
    let key_pairs = ["RS256", "ES256", "ES384", "ES512", "EdDSA"];
    let key_pairs = key_pairs.map(|algorithm| Key::of(algorithm).jwk());
    let secret = URL_SAFE_NO_PAD.encode(Key::of("HS256").bytes());
    let sources = json!([
        {"header": "authorization", "scheme": "Bearer"},
        {"cookie": "session"},
        {"query": "access_token"}
    ]);
    let claims = json!({"sub": "x-user-id", "groups": "x-groups", "tenant.id": "x-tenant"});
    json!({
        "providers": {
            "secret": {
                "issuer": BY_SECRET,
                "audiences": [AUDIENCE],
                "algorithms": SYMMETRIC,
                "keys": [{"secret": {"value": secret, "encoding": "base64url"}, "kid": KID}],
                "token_from": sources,
                "forward": {"claims": claims, "payload_header": "x-payload"}
            },
            "keys": {
                "issuer": BY_KEY_PAIR,
                "audiences": [AUDIENCE],
                "algorithms": ASYMMETRIC,
                "keys": [{"jwks": {"keys": key_pairs}}],
                "token_from": sources,
                "max_lifetime": "2h",
                "forward": {"claims": claims, "payload_header": "x-payload"}
            }
        },
        "rules": [{"require": {"any_of": ["secret", "keys"], "scopes": [SCOPE]}}],
    })
    .to_string()
});

/// A token that passes, as an input.
pub fn good() -> String {
    let claims = json!({"iss": BY_SECRET, "aud": AUDIENCE, "exp": NOW + 60, "scope": SCOPE});
    format!("s{{\"alg\":\"HS256\"}}\n{claims}")
}

/// Tries an input; true where its token passes.
pub fn check(input: &[u8]) -> bool {
    let Some(sent) = Sent::read(input) else {
        return false;
    };
    let headers: [(&str, &[u8]); 2] = [(sent.header.0, &sent.header.1), ("x-user-id", b"forged")];
    let (world, worker) = begin(&CONFIG, input);
    let first = ask(&worker, &sent.target, &headers);
    if let Some(passed) = &first {
        hold(passed, &sent.token, NOW);
    }
    // Now it is remembered.
    let second = ask(&worker, &sent.target, &headers);
    assert_eq!(first, second, "the second answer is another one");
    world.clock.advance(Span::from_secs(DAY));
    if let Some(passed) = ask(&worker, &sent.target, &headers) {
        hold(&passed, &sent.token, NOW + DAY);
    }
    first.is_some()
}

/// A request, and the token in it.
struct Sent {
    target: Vec<u8>,
    header: (&'static str, Vec<u8>),
    token: Vec<u8>,
}

impl Sent {
    fn read(input: &[u8]) -> Option<Self> {
        let (place, rest) = input.split_first()?;
        let token = match place {
            b's' => signed(rest),
            // Gateways hand no such header over.
            _ if !is_one_line(rest) => return None,
            b'c' => until(b';', rest).trim_ascii().to_vec(),
            b'q' => until(b'&', rest).to_vec(),
            _ => rest
                .iter()
                .copied()
                .skip_while(|byte| *byte == b' ')
                .collect(),
        };
        let path = b"/api/x".to_vec();
        let (target, header) = match place {
            b's' => (path, ("authorization", [b"Bearer ", &*token].concat())),
            b'c' => (path, ("cookie", [b"session=", rest].concat())),
            b'q' => (
                [b"/api/x?access_token=", rest].concat(),
                ("accept", b"*/*".to_vec()),
            ),
            _ => (path, ("authorization", [b"Bearer ", rest].concat())),
        };
        Some(Self {
            target,
            header,
            token,
        })
    }
}

fn until(end: u8, bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == end).next().unwrap_or_default()
}

/// Signs a header and a payload, whatever they are, as an HMAC that the header names.
fn signed(text: &[u8]) -> Vec<u8> {
    let header = until(b'\n', text);
    let payload = text.get(header.len() + 1..).unwrap_or_default();
    let named: Value = serde_json::from_slice(header).unwrap_or_default();
    let algorithm = SYMMETRIC
        .into_iter()
        .find(|name| named["alg"] == **name)
        .unwrap_or("HS256");
    let message = [header, payload]
        .map(|part| URL_SAFE_NO_PAD.encode(part))
        .join(".");
    let signature = sign(algorithm, message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)).into_bytes()
}

/// Holds what passed to what the token says.
fn hold(passed: &Passed, token: &[u8], now: u64) {
    let provider = passed.provider.as_deref();
    let known = PROVIDERS.iter().find(|(name, _)| provider == Some(name));
    let (_, rules) = known.expect("who passes is some provider's caller");
    let claims = judge(token, now, rules)
        .unwrap_or_else(|why| panic!("passed, and should not: {why}: {}", token.escape_ascii()));
    match &claims["sub"] {
        Value::String(text) => assert_eq!(passed.header("x-user-id"), text.as_bytes()),
        Value::Bool(truth) => assert_eq!(passed.header("x-user-id"), truth.to_string().as_bytes()),
        Value::Null => assert_eq!(passed.header("x-user-id"), b""),
        _ => assert_ne!(passed.header("x-user-id"), b"forged"),
    }
    assert_eq!(
        Some(passed.header("x-payload")),
        token.split(|byte| *byte == b'.').nth(1)
    );
    for name in ["x-user-id", "x-groups", "x-tenant"] {
        let text = str::from_utf8(passed.header(name)).expect("a claim is text");
        assert!(!text.contains(char::is_control), "{name}: {text:?}");
    }
    // It is taken out of its place; a client that copies it elsewhere has done so itself.
    assert_eq!(passed.header("authorization"), b"");
    let mut cookies = passed.header("cookie").split(|byte| *byte == b';');
    assert!(!cookies.any(|cookie| cookie.trim_ascii().starts_with(b"session=")));
    let query = passed
        .header(":path")
        .splitn(2, |byte| *byte == b'?')
        .nth(1);
    let mut parameters = query.unwrap_or_default().split(|byte| *byte == b'&');
    assert!(!parameters.any(|parameter| parameter.starts_with(b"access_token=")));
}
