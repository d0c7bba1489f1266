//! What would be used of keys, for whoever wants to see that before a gateway does.

use serde_json::Value;

use crate::config::Algorithm;
use crate::jwks::{LARGEST, MOST_KEYS, SkippedKey, parse_entry};
use crate::key::Key;
use crate::{json, pem};

/// A key as it would be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InspectedKey {
    /// Where it stands, as in `keys[2]`; empty for one that stands alone.
    pub path: String,
    /// What it is called.
    pub kid: Option<String>,
    /// What it is, as in `P-256`, and the algorithms that it serves; or why it is not used.
    pub usable: Result<Usable, &'static str>,
}

/// A key that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usable {
    /// What it is, as in `P-256`.
    pub kind: &'static str,
    /// The algorithms that it serves.
    pub algorithms: Vec<&'static str>,
}

/// The keys of a JWK set (RFC 7517 section 5), in its order.
///
/// # Errors
/// Why nothing of it would be used.
pub fn inspect(document: &[u8]) -> Result<Vec<InspectedKey>, &'static str> {
    if document.len() > LARGEST {
        return Err("longer than 256 KiB");
    }
    let set = json::parse_key_set(document).ok_or("not a JSON object that has each member once")?;
    let Some(Value::Array(entries)) = set.get("keys") else {
        return Err("no list `keys` in it");
    };
    if entries.len() > MOST_KEYS {
        return Err("more than 64 keys");
    }
    let keys = entries.iter().enumerate().map(|(at, entry)| {
        let jwk = entry.as_object();
        let parsed = parse_entry(jwk);
        let why = parsed.as_ref().err().map_or("", |unfit| unfit.rule());
        let SkippedKey { path, kid, .. } = SkippedKey::new(at, jwk, why);
        InspectedKey {
            path,
            kid,
            usable: parsed.map(|key| Usable::of(&key)).map_err(|_| why),
        }
    });
    Ok(keys.collect())
}

/// A public key in PEM: `PUBLIC KEY` (RFC 5280), or `RSA PUBLIC KEY` (RFC 8017).
#[must_use]
pub fn inspect_pem(text: &str) -> InspectedKey {
    let usable = pem::parse(text).map(|material| {
        Usable::of(&Key {
            kid: None,
            only: None,
            material,
        })
    });
    InspectedKey {
        path: String::new(),
        kid: None,
        usable,
    }
}

impl Usable {
    fn of(key: &Key) -> Self {
        let all = Algorithm::ALL.iter();
        let serves = all.filter(|algorithm| key.serves(**algorithm));
        Self {
            kind: key.material.kind(),
            algorithms: serves.map(|algorithm| algorithm.name()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_of_a_set_says_what_it_serves_or_why_it_is_not_used() {
        const POINT: &str = r#""kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM""#;
        let set = format!(
            r#"{{"keys":[{{{POINT},"kid":"a"}},{{{POINT},"kid":"b","use":"enc"}},{{"kty":"oct","k":"AAAA"}},5]}}"#
        );
        let keys = inspect(set.as_bytes()).unwrap();
        let told: Vec<_> = keys
            .iter()
            .map(|key| (key.path.as_str(), key.kid.as_deref(), key.usable.as_ref()))
            .collect();
        let p256 = Usable {
            kind: "P-256",
            algorithms: vec!["ES256"],
        };
        let secret = "a secret has no place in a set of public keys; expected `secret`";
        assert_eq!(
            told,
            [
                ("keys[0]", Some("a"), Ok(&p256)),
                ("keys[1]", Some("b"), Err(&"`use` is not \"sig\"")),
                ("keys[2]", None, Err(&secret)),
                (
                    "keys[3]",
                    None,
                    Err(&"not an object that has each member once")
                ),
            ]
        );
    }

    #[test]
    fn what_is_no_set_says_why() {
        for (document, why) in [
            ("{}", "no list `keys` in it"),
            ("[]", "not a JSON object that has each member once"),
            (
                "{\"keys\":[],\"keys\":[]}",
                "not a JSON object that has each member once",
            ),
        ] {
            assert_eq!(inspect(document.as_bytes()), Err(why), "{document}");
        }
        let many = format!("{{\"keys\":[{}]}}", ["{}"; 65].join(","));
        assert_eq!(inspect(many.as_bytes()), Err("more than 64 keys"));
        assert!(inspect_pem("no PEM").usable.is_err());
    }
}
