//! An issuer of JSON Web Tokens for tests: fixed keys of every type that the filters know, tokens
//! signed with them, the JWKs and PEM texts that a filter is given, and the signed examples of the
//! RFCs. It reads nothing and draws nothing at random, so that every run sees the same bytes.

mod fixtures;
mod key;
pub mod rfc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

pub use key::Key;

/// The names of all signature algorithms that the filters know (RFC 7518 section 3.1, RFC 8037
/// section 3.1).
pub const ALGORITHMS: [&str; 13] = [
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256",
    "ES384", "ES512", "EdDSA",
];

/// A JWK set of the public halves (and of secrets as they are), each with its `kid` and with `use`
/// of `sig`.
pub fn jwks(keys: &[(&str, &Key)]) -> Value {
    let keys: Vec<Value> = keys
        .iter()
        .map(|(kid, key)| {
            let mut jwk = key.jwk();
            jwk["kid"] = json!(kid);
            jwk["use"] = json!("sig");
            jwk
        })
        .collect();
    json!({ "keys": keys })
}

/// The compact serialization of any three byte strings, whether or not they make sense.
pub fn compact(header: &[u8], payload: &[u8], signature: &[u8]) -> String {
    [header, payload, signature].map(base64url).join(".")
}

fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
