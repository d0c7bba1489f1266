//! Tokens at the subjects' time.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jwt_compact::Algorithm as _;
use jwt_compact::AlgorithmSignature as _;
use jwt_compact::alg::{Hs256, Hs256Key};
use serde_json::{Value, json};

use crate::{JWT_SECRET, START_UNIX_SECS};

/// The claims of a good token, valid for ten minutes from the start.
pub fn claims() -> Value {
    json!({
        "iss": "https://auth.example", "aud": "rag-api", "sub": "alice", "scope": "rag:read rag:write",
        "tenant": { "id": 7 }, "iat": START_UNIX_SECS, "exp": START_UNIX_SECS + 600
    })
}

/// The good token's claims with some of them changed, signed with [`JWT_SECRET`].
pub fn token_with(changes: Value) -> String {
    let mut claims = claims();
    for (name, value) in changes.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    sign(&json!({ "alg": "HS256", "kid": "k1" }), &claims, JWT_SECRET)
}

/// A good token.
pub fn token() -> String {
    token_with(json!({}))
}

/// Any header and claims, signed by HMAC with SHA-256 whatever the header says.
pub fn sign(header: &Value, claims: &Value, secret: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = Hs256.sign(&Hs256Key::new(secret), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_bytes()))
}
