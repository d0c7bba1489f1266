//! A consumer's credential for `jwt`.

use serde_json::{Map, Value, json};

use super::consumers::Consumer;
use crate::import::notes::{At, Notes, Outcome};
use crate::import::secret;
use crate::import::value::{get, set};

/// A provider for its tokens; `None`, with a note, where it can't be taken over.
pub(super) fn provider(
    consumer: &Consumer,
    credential: &At,
    common: &Map<String, Value>,
    notes: &mut Notes,
) -> Option<Value> {
    for frame in ["id", "tags", "consumer", "created_at"] {
        if let Some(field) = credential.get(frame) {
            notes.cover(&field);
        }
    }
    let Some(key) = credential
        .get("key")
        .filter(|key| key.node.text().is_some())
    else {
        notes.left(
            credential,
            "it has no `key`: Kong makes one up, which this file does not tell",
        );
        return None;
    };
    let mut provider = common.clone();
    let is_base64 = provider.remove("secret_is_base64").is_some();
    let algorithm = credential.text("algorithm").unwrap_or("HS256");
    match credential.get("algorithm") {
        Some(field) => notes.taken(&field, "jwt_auth.providers.*.algorithms"),
        None => notes.absent(
            credential,
            "algorithm",
            Outcome::Taken,
            "HS256: jwt_auth.providers.*.algorithms",
        ),
    }
    let key_of = match algorithm.starts_with("HS") {
        true => {
            notes.left_if(
                credential,
                &["rsa_public_key"],
                "Kong does not look at it with this algorithm",
            );
            secret_key(consumer, credential, algorithm, is_base64, notes)
        }
        false => {
            if let Some(field) = credential.get("secret") {
                notes.left(
                    &field,
                    "Kong does not look at it with this algorithm; it is not shown here",
                );
            }
            public_key(credential, notes)
        }
    }?;
    notes.taken(&key, "jwt_auth.providers.*.issuer, and `claims.iss`, since Kong looks at no `aud`: name `audiences` where tokens have one");
    let issuer = key.node.text().unwrap_or_default();
    let mut put = |name: &str, value: Value| drop(provider.insert(name.to_owned(), value));
    put("issuer", json!(issuer));
    put("claims", json!({ "iss": [issuer] }));
    put("algorithms", json!([algorithm]));
    put("keys", json!([key_of]));
    Some(provider.into())
}

fn secret_key(
    consumer: &Consumer,
    credential: &At,
    algorithm: &str,
    is_base64: bool,
    notes: &mut Notes,
) -> Option<Value> {
    let Some(field) = credential
        .get("secret")
        .filter(|field| field.node.text().is_some())
    else {
        notes.left(
            credential,
            "it has no `secret`: Kong makes one up, which this file does not tell",
        );
        return None;
    };
    let mut secret = secret::to_variable(notes, &field, &format!("{}_JWT_SECRET", consumer.name));
    let variable = get(&secret, "env").as_str().unwrap_or_default().to_owned();
    let needed = match algorithm {
        "HS384" => 48,
        "HS512" => 64,
        _ => 32,
    };
    if is_base64 {
        set(&mut secret, "encoding", json!("base64"));
    }
    let mut key = json!({ "secret": secret });
    let length = field
        .node
        .text()
        .and_then(secret::length)
        .map(|length| match is_base64 {
            true => length.saturating_mul(3).checked_div(4).unwrap_or_default(),
            false => length,
        });
    if length.is_some_and(|length| length < needed) {
        set(&mut key, "allow_short", json!(true));
        notes.differs(&field, format!("env: {variable}, with `allow_short`: it is shorter than {needed} bytes. Take a longer one"));
    } else {
        notes.taken(&field, format!("env: {variable}"));
    }
    Some(key)
}

fn public_key(credential: &At, notes: &mut Notes) -> Option<Value> {
    let Some(field) = credential.get("rsa_public_key") else {
        notes.left(credential, "it has no `rsa_public_key`");
        return None;
    };
    let pem = field.node.text().unwrap_or_default();
    if !pem.contains("PUBLIC KEY-----") {
        notes.left(
            &field,
            "no PEM text of a public key; a certificate is not taken",
        );
        return None;
    }
    notes.taken(&field, "jwt_auth.providers.*.keys[].public_key.pem");
    let pem = format!("{}\n", pem.trim_end());
    Some(json!({ "public_key": { "pem": pem } }))
}
