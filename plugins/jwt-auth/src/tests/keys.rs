//! Which keys are taken, what for, and which of them a token gets.

mod jwk;
mod pem;
mod sets;

use base64::engine::general_purpose::STANDARD;
use portcullis_issuer::{ALGORITHMS, Key as Signer};

use super::*;
use crate::config::{Algorithm, Padding};
use crate::jwks::{Unfit, parse_key};
use crate::key::Key;
use crate::token::UntrustedToken;
use crate::verifier::{KeyRing, NoKey};

/// A type of key, by one of its algorithms, and all that it serves.
const TYPES: [(&str, &[&str]); 6] = [
    ("HS256", &["HS256", "HS384", "HS512"]),
    (
        "RS256",
        &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
    ),
    ("ES256", &["ES256"]),
    ("ES384", &["ES384"]),
    ("ES512", &["ES512"]),
    ("EdDSA", &["EdDSA"]),
];

/// The types of key that have a public half.
fn public() -> impl Iterator<Item = (&'static str, &'static Signer)> {
    TYPES
        .iter()
        .skip(1)
        .map(|(name, _)| (*name, Signer::of(name)))
}

fn has_signed(key: &Key, name: &str, signer: &Signer) -> bool {
    let signature = signer.sign(name, b"message");
    key.has_signed(Algorithm::from_name(name).unwrap(), b"message", &signature)
}

/// A JWK with other members; those that are `null` are taken out.
fn changed(jwk: &Value, changes: &Value) -> Value {
    let mut jwk = jwk.clone();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(jwk.as_object_mut().unwrap().remove(name)),
            value => jwk[name] = value.clone(),
        }
    }
    jwk
}

fn parsed(jwk: &Value) -> Result<Key, &'static str> {
    parse_key(jwk.as_object().unwrap()).map_err(Unfit::rule)
}

#[test]
fn a_key_serves_the_algorithms_of_its_type_and_no_other() {
    assert_eq!(
        Algorithm::ALL
            .iter()
            .map(|known| known.name())
            .collect::<Vec<_>>(),
        ALGORITHMS
    );
    for (of, served) in TYPES {
        let key = key(&Signer::of(of).jwk());
        for name in ALGORITHMS {
            let algorithm = Algorithm::from_name(name).unwrap();
            assert_eq!(
                key.serves(algorithm),
                served.contains(&name),
                "{of} for {name}"
            );
            assert_eq!(
                has_signed(&key, name, Signer::of(name)),
                served.contains(&name),
                "{of} for {name}"
            );
        }
    }
}

/// Whoever knows a public key could sign with it, in any form in which it is known.
#[test]
fn a_public_key_is_never_taken_for_a_secret() {
    for (of, signer) in public() {
        let key = key(&signer.jwk());
        let body: String = signer
            .public_pem()
            .lines()
            .filter(|line| !line.starts_with('-'))
            .collect();
        for text in [
            signer.public_pem().into_bytes(),
            signer.public_pem().trim().as_bytes().to_vec(),
            STANDARD.decode(body).unwrap(),
            signer.jwk().to_string().into_bytes(),
        ] {
            for name in ["HS256", "HS384", "HS512"] {
                assert!(
                    !has_signed(&key, name, &Signer::secret(&text)),
                    "{of} for {name}"
                );
            }
        }
    }
}

#[test]
fn a_key_with_alg_is_for_that_algorithm_only() {
    for (of, served) in &TYPES[1..] {
        for only in *served {
            let key = parsed(&changed(&Signer::of(of).jwk(), &json!({"alg": only}))).unwrap();
            for name in ALGORITHMS {
                assert_eq!(
                    has_signed(&key, name, Signer::of(name)),
                    name == *only,
                    "{only} for {name}"
                );
            }
        }
    }
}

/// A secret by this name.
fn secret(kid: Option<&str>, bytes: &str) -> Key {
    let mut key = unnamed(Material::secret(bytes.as_bytes()));
    key.kid = kid.map(str::to_owned);
    key
}

/// What these keys say of a token that is signed with a secret.
fn outcome(keys: &KeyRing, header: &Value, bytes: &str) -> &'static str {
    let token = sign(bytes, header, &json!({}));
    let Ok(token) = UntrustedToken::parse(token.as_bytes(), Padding::Refuse) else {
        return "malformed";
    };
    match keys.find(&token) {
        Ok(found) => {
            let by = |key: &&Key| key.has_signed(token.algorithm, token.signed, &token.signature);
            if found.keys.iter().any(by) {
                "good"
            } else {
                "bad"
            }
        }
        Err(NoKey::Unknown) => "unknown",
        Err(NoKey::OtherAlgorithm) => "other algorithm",
    }
}

#[test]
fn a_kid_chooses_its_key_and_no_other() {
    let rsa = parsed(&with(Signer::of("RS256").jwk(), "kid", json!("rsa"))).unwrap();
    let mut strict = secret(Some("strict"), "six");
    strict.only = Some(Algorithm::Hs512);
    let fixed = vec![
        secret(Some("old"), "one"),
        secret(None, "three"),
        rsa,
        strict,
    ];
    let fetched = vec![secret(Some("new"), "two"), secret(Some("old"), "four")];
    let keys = KeyRing::new(vec![fixed.into(), fetched.into()]);
    for (kid, bytes, expected) in [
        (json!("old"), "one", "good"),
        // Two sets may each have a key of that name.
        (json!("old"), "four", "good"),
        (json!("old"), "two", "bad"),
        (json!("old"), "three", "bad"),
        (json!("new"), "two", "good"),
        (json!("new"), "one", "bad"),
        // A name that no key has may be that of one without.
        (json!("NEW"), "two", "bad"),
        (json!("new "), "two", "bad"),
        (json!(""), "three", "good"),
        (json!("../../dev/null"), "", "bad"),
        (json!("../../dev/null"), "three", "good"),
        (json!("x' UNION SELECT 'k' --"), "k", "bad"),
        (json!("k".repeat(5000)), "one", "bad"),
        // So may one that only keys of other algorithms have.
        (json!("rsa"), "one", "bad"),
        (json!("rsa"), "three", "good"),
        (json!("strict"), "six", "bad"),
        (json!(1), "one", "malformed"),
        (json!(null), "one", "malformed"),
        (json!(["old"]), "one", "malformed"),
    ] {
        let header = json!({"alg": "HS256", "kid": kid});
        assert_eq!(outcome(&keys, &header, bytes), expected, "{kid} {bytes}");
    }
    for (name, bytes, expected) in [
        ("HS256", "one", "good"),
        ("HS256", "two", "good"),
        ("HS256", "three", "good"),
        ("HS256", "four", "good"),
        ("HS256", "five", "bad"),
        ("HS256", "six", "bad"),
        ("HS512", "one", "good"),
        ("ES256", "one", "unknown"),
    ] {
        assert_eq!(
            outcome(&keys, &json!({"alg": name}), bytes),
            expected,
            "{name} {bytes}"
        );
    }
}

#[test]
fn a_name_that_no_key_has_is_unknown_where_all_have_names() {
    let rsa = parsed(&with(Signer::of("RS256").jwk(), "kid", json!("rsa"))).unwrap();
    let keys = KeyRing::new(vec![vec![secret(Some("a"), "one"), rsa].into()]);
    for (kid, expected) in [
        ("a", "good"),
        ("A", "unknown"),
        ("", "unknown"),
        ("rsa", "other algorithm"),
    ] {
        let header = json!({"alg": "HS256", "kid": kid});
        assert_eq!(outcome(&keys, &header, "one"), expected, "{kid}");
    }
}

#[test]
fn one_name_may_be_that_of_several_keys() {
    let strict = |only: Algorithm, bytes: &str| {
        let mut key = secret(Some("a"), bytes);
        key.only = Some(only);
        key
    };
    let rsa = parsed(&with(Signer::of("RS256").jwk(), "kid", json!("a"))).unwrap();
    let keys = vec![
        rsa,
        strict(Algorithm::Hs256, "one"),
        strict(Algorithm::Hs512, "two"),
    ];
    let keys = KeyRing::new(vec![keys.into()]);
    for (name, bytes, expected) in [
        ("HS256", "one", "good"),
        ("HS512", "two", "good"),
        ("HS256", "two", "bad"),
        ("HS384", "one", "other algorithm"),
    ] {
        let header = json!({"alg": name, "kid": "a"});
        assert_eq!(outcome(&keys, &header, bytes), expected, "{name} {bytes}");
    }
}

#[test]
fn without_a_kid_at_most_sixteen_keys_are_tried() {
    let secrets: Vec<String> = (1..=17).map(|n| format!("secret {n}")).collect();
    // Those that don't fit are none of the sixteen.
    let others = || (0..4).map(|_| key(&Signer::of("RS256").jwk()));
    let named = secrets.iter().map(|bytes| secret(Some(bytes), bytes));
    let keys = KeyRing::new(vec![others().chain(named).collect::<Vec<_>>().into()]);
    let bare = json!({"alg": "HS256"});
    assert_eq!(outcome(&keys, &bare, "secret 16"), "good");
    assert_eq!(outcome(&keys, &bare, "secret 17"), "bad");
    let seventeenth = json!({"alg": "HS256", "kid": "secret 17"});
    assert_eq!(outcome(&keys, &seventeenth, "secret 17"), "good");

    // The same for a token whose name is that of no key.
    let nameless = secrets.iter().map(|bytes| secret(None, bytes));
    let keys = KeyRing::new(vec![others().chain(nameless).collect::<Vec<_>>().into()]);
    let strange = json!({"alg": "HS256", "kid": "k"});
    assert_eq!(outcome(&keys, &strange, "secret 16"), "good");
    assert_eq!(outcome(&keys, &strange, "secret 17"), "bad");
}
