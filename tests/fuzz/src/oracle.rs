//! Whether a token may pass: a second opinion, which shares no code with the filter. It is asked
//! about tokens that did pass, and need not know why another one should not.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use portcullis_issuer::Key;
use serde_json::Value;
use sha2::{Sha256, Sha384, Sha512};

/// What an issuer's tokens must show.
pub(crate) struct Rules<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) algorithms: &'a [&'a str],
    /// What its key is called; one without a name is that of any.
    pub(crate) kid: Option<&'a str>,
    pub(crate) longest_life: Option<f64>,
}

pub(crate) const AUDIENCE: &str = "rag-api";
pub(crate) const SCOPE: &str = "rag:read";
pub(crate) const LEEWAY: f64 = 30.0;

/// Dates are compared in floating point here and in nanoseconds there.
const ROUNDING: f64 = 0.000_01;

/// Claims that may be believed at `now`.
///
/// # Errors
/// Why they may not.
pub(crate) fn judge(token: &[u8], now: u64, rules: &Rules<'_>) -> Result<Value, String> {
    let text = str::from_utf8(token).map_err(|_| "not text")?;
    let segments: Vec<&str> = text.split('.').collect();
    let [header, payload, signature] = segments[..] else {
        return Err("not three segments".to_owned());
    };
    let message = format!("{header}.{payload}");
    let (header, claims) = (object(header)?, object(payload)?);
    let algorithm = match header["alg"].as_str().ok_or("no algorithm")? {
        "Ed25519" => "EdDSA",
        algorithm => algorithm,
    };
    if !rules.algorithms.contains(&algorithm) {
        return Err(format!("{algorithm} is not one of this issuer's"));
    }
    if header.get("crit").is_some() {
        return Err("an extension that must be understood".to_owned());
    }
    let ours = |kid: &Value| {
        let kid = kid.as_str();
        kid.is_some_and(|kid| rules.kid.is_none_or(|ours| ours == kid))
    };
    if header.get("kid").is_some_and(|kid| !ours(kid)) {
        return Err("another key's name".to_owned());
    }
    if decode(signature)? != sign(algorithm, message.as_bytes()) {
        return Err("not the key's signature".to_owned());
    }
    if claims.get("cnf").is_some() {
        return Err("bound to a key of its holder's".to_owned());
    }
    check_claims(&claims, now as f64, rules)?;
    Ok(claims)
}

/// What the first key of that algorithm signs. The issuer's signatures are not random, so that a
/// good one can be told by its bytes.
pub(crate) fn sign(algorithm: &str, message: &[u8]) -> Vec<u8> {
    fn hmac<H: Mac + KeyInit>(key: &[u8], message: &[u8]) -> Vec<u8> {
        let mut hmac = <H as KeyInit>::new_from_slice(key).expect("any length will do");
        hmac.update(message);
        hmac.finalize().into_bytes().to_vec()
    }
    let key = Key::of(algorithm);
    match algorithm {
        "HS256" => hmac::<Hmac<Sha256>>(key.bytes(), message),
        "HS384" => hmac::<Hmac<Sha384>>(key.bytes(), message),
        "HS512" => hmac::<Hmac<Sha512>>(key.bytes(), message),
        _ => key.sign(algorithm, message),
    }
}

fn check_claims(claims: &Value, now: f64, rules: &Rules<'_>) -> Result<(), String> {
    let date = |name: &str| match claims.get(name) {
        None => Ok(None),
        Some(value) => value
            .as_f64()
            .map(Some)
            .ok_or(format!("{name} is no number")),
    };
    if claims["iss"] != rules.issuer {
        return Err("another issuer".to_owned());
    }
    let for_us = match &claims["aud"] {
        Value::Array(entries) => entries.iter().any(|entry| entry == AUDIENCE),
        one => one == AUDIENCE,
    };
    if !for_us {
        return Err("another audience".to_owned());
    }
    let exp = date("exp")?.ok_or("it never ends")?;
    if exp + LEEWAY + ROUNDING <= now {
        return Err("its time is over".to_owned());
    }
    for name in ["nbf", "iat"] {
        if date(name)?.is_some_and(|begin| begin > now + LEEWAY + ROUNDING) {
            return Err(format!("{name} is yet to come"));
        }
    }
    if let Some(longest) = rules.longest_life
        && exp - date("iat")?.ok_or("no iat")? > longest + ROUNDING
    {
        return Err("it lives too long".to_owned());
    }
    let given = ["scope", "scp"].map(|name| claims.get(name).filter(|given| !given.is_null()));
    let granted = match given.into_iter().flatten().next() {
        Some(Value::String(text)) => text.split(' ').any(|scope| scope == SCOPE),
        Some(Value::Array(scopes)) => scopes.iter().any(|scope| scope == SCOPE),
        _ => false,
    };
    if granted {
        Ok(())
    } else {
        Err("not its scope".to_owned())
    }
}

/// Bytes in base64url, in the only spelling that they have.
fn decode(segment: &str) -> Result<Vec<u8>, String> {
    let bytes = URL_SAFE_NO_PAD
        .decode(segment)
        .map_err(|error| error.to_string())?;
    if URL_SAFE_NO_PAD.encode(&bytes) == segment {
        Ok(bytes)
    } else {
        Err("a second spelling of the same bytes".to_owned())
    }
}

fn object(segment: &str) -> Result<Value, String> {
    let text = String::from_utf8(decode(segment)?).map_err(|error| error.to_string())?;
    let value: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    // Of two members of one name only one is left in a value: it has fewer of them than its text.
    if value.is_object() && members(&value) == colons(&text) {
        Ok(value)
    } else {
        Err("not an object, or one with two readings".to_owned())
    }
}

fn members(value: &Value) -> usize {
    match value {
        Value::Object(object) => object.len() + object.values().map(members).sum::<usize>(),
        Value::Array(entries) => entries.iter().map(members).sum(),
        _ => 0,
    }
}

/// How many colons stand outside of strings.
fn colons(json: &str) -> usize {
    let (mut inside, mut escaped, mut count) = (false, false, 0);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if inside => escaped = true,
            b'"' => inside = !inside,
            b':' if !inside => count += 1,
            _ => {}
        }
    }
    count
}
