//! JWK sets (RFC 7517), from a configuration or from an issuer.

use serde_json::{Map, Value};

use crate::base64url;
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
    /// Those that can't be.
    pub(crate) skipped: Vec<SkippedKey>,
    /// The set again, as JSON, with nothing in it but what the usable keys are made of.
    pub(crate) reduced: Vec<u8>,
}

/// A key that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SkippedKey {
    /// Where it stands, as in `keys[2]`.
    pub(crate) path: String,
    /// What it is called.
    pub(crate) kid: Option<String>,
    /// The rule that it breaks.
    pub(crate) why: &'static str,
}

/// Why a key can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// It is not for us: for another purpose, or of a kind that is not known here (RFC 7517
    /// section 5).
    Foreign(&'static str),
    /// It is broken, too weak, or no public key.
    Wrong(&'static str),
}

impl Unfit {
    /// The rule that it breaks.
    pub(crate) const fn rule(self) -> &'static str {
        match self {
            Self::Foreign(rule) | Self::Wrong(rule) => rule,
        }
    }
}

impl SkippedKey {
    /// The key of that index in its set.
    pub(crate) fn new(at: usize, jwk: Option<&Map<String, Value>>, why: &'static str) -> Self {
        let kid = jwk.and_then(|jwk| jwk.get("kid")?.as_str());
        Self {
            path: format!("keys[{at}]"),
            // A longer one is no `kid`, and of no use to whoever looks for it.
            kid: kid
                .filter(|kid| kid.len() <= LONGEST_KID)
                .map(str::to_owned),
            why,
        }
    }
}

/// Why a document is no key set that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoJwks {
    TooLarge,
    Malformed,
    /// These are all that it has.
    NoUsableKey(Vec<SkippedKey>),
}

impl Jwks {
    /// Reads a document. Keys that can't be used are passed over, since an issuer may have keys
    /// that are not for us (RFC 7517 section 5), and one that is broken is no reason to do without
    /// the others; all else that is odd makes it no set at all.
    pub(crate) fn parse(document: &[u8]) -> Result<Self, NoJwks> {
        if document.len() > LARGEST {
            return Err(NoJwks::TooLarge);
        }
        let set = json::parse_key_set(document).ok_or(NoJwks::Malformed)?;
        let Some(Value::Array(entries)) = set.get("keys") else {
            return Err(NoJwks::Malformed);
        };
        if entries.len() > MOST_KEYS {
            return Err(NoJwks::TooLarge);
        }
        let mut keys = Vec::new();
        let mut skipped = Vec::new();
        let mut reduced = Vec::new();
        for (at, entry) in entries.iter().enumerate() {
            let jwk = entry.as_object();
            match (parse_entry(jwk), jwk) {
                (Ok(key), Some(jwk)) => {
                    keys.push(key);
                    reduced.push(reduce(jwk));
                }
                (Ok(_), None) => {}
                (Err(unfit), jwk) => skipped.push(SkippedKey::new(at, jwk, unfit.rule())),
            }
        }
        if keys.is_empty() {
            return Err(NoJwks::NoUsableKey(skipped));
        }
        let mut set = Map::new();
        set.insert("keys".to_owned(), Value::Array(reduced));
        Ok(Self {
            skipped,
            keys,
            reduced: Value::Object(set).to_string().into_bytes(),
        })
    }
}

/// Reads an entry of a set; `None`: it is no object, or one with a member twice.
pub(crate) fn parse_entry(jwk: Option<&Map<String, Value>>) -> Result<Key, Unfit> {
    parse_key(jwk.ok_or(Unfit::Foreign("not an object that has each member once"))?)
}

/// Reads a public key that is for checking signatures (RFC 7517 section 4, RFC 7518 section 6,
/// RFC 8037 section 2). A member that is `null` is one that is not there.
pub(crate) fn parse_key(jwk: &Map<String, Value>) -> Result<Key, Unfit> {
    use Unfit::{Foreign, Wrong};
    let member = |name: &str| jwk.get(name).filter(|value| !value.is_null());
    let text = |name: &str| member(name).and_then(Value::as_str);
    // RFC 7518 section 2 has no padding; some issuers do.
    let number = |name: &str, missing: &'static str| {
        let decoded = text(name).and_then(|text| base64url::decode_padded(text.as_bytes()));
        decoded.ok_or(Wrong(missing))
    };
    // Before anything else: who publishes a private key has lost it.
    if member("d").is_some() {
        return Err(Wrong("a private key; expected the public half only"));
    }
    check_use(member("use"), member("key_ops"))?;
    let kid = match member("kid") {
        None => None,
        Some(Value::String(kid))
            if (1..=LONGEST_KID).contains(&kid.len()) && !kid.contains(char::is_control) =>
        {
            Some(kid.clone())
        }
        Some(_) => {
            return Err(Wrong(
                "`kid` is not a text of 1 to 512 bytes without control characters",
            ));
        }
    };
    let material = match text("kty").ok_or(Wrong("`kty` is missing or not a text"))? {
        "RSA" => {
            let n = number("n", "`n` is missing or not base64url")?;
            let e = number("e", "`e` is missing or not base64url")?;
            Material::rsa(&n, &e)
        }
        "EC" => {
            let x = number("x", "`x` is missing or not base64url")?;
            let y = number("y", "`y` is missing or not base64url")?;
            // As long as the curve's field (RFC 7518 section 6.2.1.2), uncompressed.
            let point = |length: usize| {
                if x.len() == length && y.len() == length {
                    [&[4][..], &x, &y].concat()
                } else {
                    Vec::new()
                }
            };
            match text("crv") {
                Some("P-256") => Material::p256(&point(32)),
                Some("P-384") => Material::p384(&point(48)),
                Some("P-521") => Material::p521(&point(66)),
                _ => return Err(Foreign("`crv` is not P-256, P-384 or P-521")),
            }
        }
        "OKP" => match text("crv") {
            Some("Ed25519") => {
                Material::ed25519(&number("x", "not a key of Ed25519").unwrap_or_default())
            }
            _ => return Err(Foreign("`crv` is not Ed25519")),
        },
        "oct" => {
            let rule = "a secret has no place in a set of public keys; expected `secret`";
            return Err(Wrong(rule));
        }
        _ => return Err(Foreign("`kty` is not RSA, EC or OKP")),
    };
    let material = material.map_err(Wrong)?;
    let only = match member("alg") {
        None => None,
        Some(Value::String(name)) => match Algorithm::from_name(name) {
            Some(only) if material.fits(only) => Some(only),
            Some(_) => return Err(Wrong("`alg` is not one that such a key serves")),
            None => return Err(Foreign("`alg` is not one that such a key serves")),
        },
        Some(_) => return Err(Wrong("`alg` is not a text")),
    };
    Ok(Key {
        kid,
        only,
        material,
    })
}

/// RFC 7517 sections 4.2 and 4.3.
fn check_use(purpose: Option<&Value>, operations: Option<&Value>) -> Result<(), Unfit> {
    match purpose {
        None => {}
        Some(Value::String(purpose)) if purpose == "sig" => {}
        Some(_) => return Err(Unfit::Foreign("`use` is not \"sig\"")),
    }
    match operations {
        None => Ok(()),
        Some(Value::Array(operations)) if operations.iter().any(|op| op == "verify") => Ok(()),
        Some(_) => Err(Unfit::Foreign("`key_ops` does not have \"verify\" in it")),
    }
}

/// The members that [`parse_key`] makes a key of.
fn reduce(jwk: &Map<String, Value>) -> Value {
    const MEMBERS: [&str; 8] = ["kid", "kty", "alg", "crv", "x", "y", "n", "e"];
    let known = MEMBERS.iter().filter_map(|name| {
        let value = jwk.get(*name).filter(|value| !value.is_null())?;
        Some(((*name).to_owned(), value.clone()))
    });
    Value::Object(known.collect())
}
