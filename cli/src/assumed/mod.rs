//! What is taken to be in the gateway's variables where it can't be known.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// Public keys that belong to nobody: their private halves were thrown away.
const PUBLIC_KEYS: [(&str, &str); 5] = [
    ("ES256", include_str!("p256.pem")),
    ("ES384", include_str!("p384.pem")),
    ("ES512", include_str!("p521.pem")),
    ("EdDSA", include_str!("ed25519.pem")),
    // And all that begin with another letter.
    ("", include_str!("rsa.pem")),
];

/// What each variable that a configuration names may hold.
#[must_use]
pub fn variables(config: &Value) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    gather(config, &json!("RS256"), &mut variables);
    variables
}

fn gather(value: &Value, algorithm: &Value, variables: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(fields) => {
            let algorithm = value.pointer("/algorithms/0").unwrap_or(algorithm);
            if let Some(name) = fields.get("env").and_then(Value::as_str) {
                let encoding = fields.get("encoding").and_then(Value::as_str);
                let _taken = variables.insert(name.to_owned(), secret(name, encoding));
            }
            for (field, value) in fields {
                gather(value, algorithm, variables);
                if let ("public_key", Some(Value::String(name))) =
                    (field.as_str(), value.get("env"))
                {
                    let _secret = variables.insert(name.clone(), public_key(algorithm));
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                gather(item, algorithm, variables);
            }
        }
        _ => {}
    }
}

/// Visible characters, long enough for any key, and others for each name.
fn secret(name: &str, encoding: Option<&str>) -> String {
    let digest = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |digest, byte| {
            (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    let text = format!("{digest:016x}").repeat(8);
    match encoding {
        Some("hex") => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
        Some("base64") => STANDARD.encode(text),
        Some("base64url") => URL_SAFE_NO_PAD.encode(text),
        _ => text,
    }
}

fn public_key(algorithm: &Value) -> String {
    let algorithm = algorithm.as_str().unwrap_or_default();
    let fits = |(name, _): &&(&str, &str)| algorithm.starts_with(name);
    let key = PUBLIC_KEYS.iter().find(fits);
    key.map_or("", |(_, pem)| pem).to_owned()
}
