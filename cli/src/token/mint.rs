//! Writes tokens (RFC 7515, RFC 7519).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::key::SigningKey;

/// A token in the compact serialization. `header`: with its `alg`.
///
/// # Errors
/// The key does not sign by the header's `alg`.
pub fn mint(
    header: &Map<String, Value>,
    claims: &Map<String, Value>,
    key: &SigningKey,
) -> Result<String, String> {
    let algorithm = header.get("alg").and_then(Value::as_str);
    let algorithm = algorithm.ok_or("the token's header has no `alg`")?;
    let part = |fields: &Map<String, Value>| {
        let json = Value::Object(fields.clone()).to_string();
        URL_SAFE_NO_PAD.encode(json)
    };
    let signed = format!("{}.{}", part(header), part(claims));
    let signature = key.sign(algorithm, signed.as_bytes())?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// Reads a claim as a person writes one: `name=value`, of which the value is JSON where it is that, else text. Of `a.b=1`, `b` stands
/// within `a`.
///
/// # Errors
/// There is no `=`, or no name.
pub fn claim(text: &str) -> Result<(Vec<String>, Value), String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let (name, value) =
        pair.ok_or_else(|| format!("{text:?} is no claim; expected one such as scope=rag:read"))?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
    Ok((path(name), value))
}

/// A claim's path as configurations write it: `a.b`, or `/a/b`, a JSON Pointer. Dots of a URL are a host's.
#[must_use]
pub fn path(name: &str) -> Vec<String> {
    let parts: Vec<&str> = match name.strip_prefix('/') {
        Some(pointer) => pointer.split('/').collect(),
        None if name.contains("://") => vec![name],
        None => name.split('.').collect(),
    };
    let parts = parts.into_iter();
    parts
        .map(|part| part.replace("~1", "/").replace("~0", "~"))
        .collect()
}

/// Sets a claim, within others where its path says so. `null` takes it away.
pub fn set(claims: &mut Map<String, Value>, path: &[String], value: &Value) {
    match path {
        [] => {}
        [name] if value.is_null() => {
            claims.remove(name);
        }
        [name] => {
            claims.insert(name.clone(), value.clone());
        }
        [name, within @ ..] => {
            let held = claims.entry(name.clone()).or_insert(Value::Null);
            if !held.is_object() {
                *held = Value::Object(Map::new());
            }
            if let Some(held) = held.as_object_mut() {
                set(held, within, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_is_json_where_it_can_be_and_stands_where_its_path_says() {
        let mut claims = Map::new();
        for text in [
            "sub=alice",
            "level=2",
            "tenant.tier=gold",
            "tenant.ids=[1,2]",
            "https://a.example/roles=x",
            "/a~1b/c=true",
            "level=null",
        ] {
            let (path, value) = claim(text).unwrap();
            set(&mut claims, &path, &value);
        }
        assert_eq!(
            Value::Object(claims),
            json!({ "sub": "alice", "tenant": { "tier": "gold", "ids": [1, 2] }, "https://a.example/roles": "x",
                "a/b": { "c": true } })
        );
        assert!(claim("sub").is_err() && claim("=x").is_err());
    }
}
