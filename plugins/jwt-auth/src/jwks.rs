//! JWK sets (RFC 7517), from a configuration or from an issuer.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::config::Algorithm;
use crate::json;
use crate::key::{Key, Material};

/// Largest set that is read, in bytes: 64 keys with certificate chains stay under it.
pub(crate) const LARGEST: usize = 256 * 1024;
/// Most keys in a set. Issuers have two to ten.
pub(crate) const MOST_KEYS: usize = 64;
/// Longest `kid`, in bytes.
const LONGEST_KID: usize = 512;

/// What was read of a set.
pub(crate) struct Jwks {
    /// The keys that can be used.
    pub(crate) keys: Vec<Key>,
    /// How many can't be.
    pub(crate) skipped: usize,
    /// The set again, as JSON, with nothing in it but what the usable keys are made of.
    pub(crate) reduced: Vec<u8>,
}

/// Why a document is no key set that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoJwks {
    TooLarge,
    Malformed,
    NoUsableKey,
}

impl Jwks {
    /// Reads a document. Keys that can't be used are passed over, since an issuer may have keys
    /// that are not for us (RFC 7517 section 5); all else that is odd makes it no set at all.
    pub(crate) fn parse(document: &[u8]) -> Result<Self, NoJwks> {
        if document.len() > LARGEST {
            return Err(NoJwks::TooLarge);
        }
        let set = json::parse_object(document).ok_or(NoJwks::Malformed)?;
        let Some(Value::Array(entries)) = set.get("keys") else {
            return Err(NoJwks::Malformed);
        };
        if entries.len() > MOST_KEYS {
            return Err(NoJwks::TooLarge);
        }
        let mut keys = Vec::new();
        let mut reduced = Vec::new();
        for entry in entries {
            let Value::Object(jwk) = entry else {
                return Err(NoJwks::Malformed);
            };
            if let Ok(key) = parse_key(jwk) {
                keys.push(key);
                reduced.push(reduce(jwk));
            }
        }
        if keys.is_empty() {
            return Err(NoJwks::NoUsableKey);
        }
        let mut set = Map::new();
        set.insert("keys".to_owned(), Value::Array(reduced));
        Ok(Self {
            skipped: entries.len().saturating_sub(keys.len()),
            keys,
            reduced: Value::Object(set).to_string().into_bytes(),
        })
    }
}

/// Reads a public key that is for checking signatures (RFC 7517 section 4, RFC 7518 section 6,
/// RFC 8037 section 2).
pub(crate) fn parse_key(jwk: &Map<String, Value>) -> Result<Key, &'static str> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    let number = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
    // Before anything else: who publishes a private key has lost it.
    if jwk.contains_key("d") {
        return Err("a private key; expected the public half only");
    }
    check_use(jwk)?;
    let kid = match jwk.get("kid") {
        None => None,
        Some(Value::String(kid))
            if (1..=LONGEST_KID).contains(&kid.len()) && !kid.contains(char::is_control) =>
        {
            Some(kid.clone())
        }
        Some(_) => return Err("`kid` is not a text of 1 to 512 bytes without control characters"),
    };
    let material = match text("kty").ok_or("`kty` is missing or not a text")? {
        "RSA" => {
            let n = number("n").ok_or("`n` is missing or not base64url")?;
            let e = number("e").ok_or("`e` is missing or not base64url")?;
            Material::rsa(&n, &e)?
        }
        "EC" => {
            let x = number("x").ok_or("`x` is missing or not base64url")?;
            let y = number("y").ok_or("`y` is missing or not base64url")?;
            // As long as the curve's field (RFC 7518 section 6.2.1.2), uncompressed.
            let point = |length: usize| {
                let whole = x.len() == length && y.len() == length;
                whole.then(|| [&[4][..], &x, &y].concat())
            };
            match text("crv") {
                Some("P-256") => Material::p256(&point(32).unwrap_or_default())?,
                Some("P-384") => Material::p384(&point(48).unwrap_or_default())?,
                Some("P-521") => Material::p521(&point(66).unwrap_or_default())?,
                _ => return Err("`crv` is not P-256, P-384 or P-521"),
            }
        }
        "OKP" => match text("crv") {
            Some("Ed25519") => Material::ed25519(&number("x").unwrap_or_default())?,
            _ => return Err("`crv` is not Ed25519"),
        },
        "oct" => return Err("a secret has no place in a set of public keys; expected `secret`"),
        _ => return Err("`kty` is not RSA, EC or OKP"),
    };
    let only = match jwk.get("alg") {
        None => None,
        Some(Value::String(name)) => match Algorithm::from_name(name) {
            Some(only) if material.fits(only) => Some(only),
            Some(_) | None => return Err("`alg` is not one that such a key serves"),
        },
        Some(_) => return Err("`alg` is not a text"),
    };
    Ok(Key {
        kid,
        only,
        material,
    })
}

/// RFC 7517 sections 4.2 and 4.3.
fn check_use(jwk: &Map<String, Value>) -> Result<(), &'static str> {
    match jwk.get("use") {
        None => {}
        Some(Value::String(purpose)) if purpose == "sig" => {}
        Some(_) => return Err("`use` is not \"sig\""),
    }
    match jwk.get("key_ops") {
        None => Ok(()),
        Some(Value::Array(operations)) if operations.iter().any(|op| op == "verify") => Ok(()),
        Some(_) => Err("`key_ops` does not have \"verify\" in it"),
    }
}

/// The members that [`parse_key`] makes a key of.
fn reduce(jwk: &Map<String, Value>) -> Value {
    const MEMBERS: [&str; 8] = ["kid", "kty", "alg", "crv", "x", "y", "n", "e"];
    let known = MEMBERS.iter().filter_map(|name| {
        let value = jwk.get(*name)?;
        Some(((*name).to_owned(), value.clone()))
    });
    Value::Object(known.collect())
}
