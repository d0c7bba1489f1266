//! A key that stands in for an issuer's: whoever tries a configuration seldom has the private key of the issuer.

use serde_json::{Value, json};

use super::key::SigningKey;

/// Anybody knows it. Nothing but a trial believes it.
const SECRET: &str = "stands in for whoever signs the token";

/// The algorithm that it signs by.
pub const ALGORITHM: &str = "HS256";

/// The key.
#[must_use]
pub fn key() -> SigningKey {
    SigningKey::secret(SECRET.as_bytes().to_vec())
}

/// Has a provider of a `jwt_auth` take tokens that it signs, and no others.
pub fn put(jwt_auth: &mut Value, provider: &str) {
    let providers = jwt_auth.get_mut("providers");
    let provider = providers.and_then(|providers| providers.get_mut(provider));
    if let Some(fields) = provider.and_then(Value::as_object_mut) {
        fields.insert("algorithms".to_owned(), json!([ALGORITHM]));
        fields.insert(
            "keys".to_owned(),
            json!([{ "secret": { "value": SECRET } }]),
        );
    }
}

/// Whether nothing at hand signs tokens of a provider's: its keys are public ones.
#[must_use]
pub fn is_needed(provider: &Value) -> bool {
    let keys = provider.get("keys").and_then(Value::as_array);
    let mut keys = keys.into_iter().flatten();
    keys.all(|key| key.get("secret").is_none())
}
