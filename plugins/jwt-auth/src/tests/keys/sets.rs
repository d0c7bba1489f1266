//! Sets of keys, as issuers publish them.

use portcullis_issuer::jwks as published;

use super::*;
use crate::jwks::{Jwks, LARGEST, MOST_KEYS, NoJwks};

fn set(document: &Value) -> Result<Jwks, NoJwks> {
    Jwks::parse(document.to_string().as_bytes())
}

#[test]
fn a_set_has_at_most_64_keys_and_256_kib() {
    let jwk = Signer::of("EdDSA").jwk();
    let of = |count: usize| set(&json!({"keys": vec![jwk.clone(); count]}));
    assert_eq!(of(MOST_KEYS).ok().unwrap().keys.len(), 64);
    assert_eq!(of(MOST_KEYS + 1).err(), Some(NoJwks::TooLarge));

    let document = |filler: usize| json!({"keys": [jwk], "x": "x".repeat(filler)}).to_string();
    let rest = LARGEST - document(0).len();
    assert_eq!(LARGEST, 256 * 1024);
    assert_eq!(Jwks::parse(document(rest).as_bytes()).err(), None);
    assert_eq!(
        Jwks::parse(document(rest + 1).as_bytes()).err(),
        Some(NoJwks::TooLarge)
    );
}

#[test]
fn what_is_odd_about_a_set_makes_it_none() {
    let jwk = Signer::of("EdDSA").jwk().to_string();
    for document in [
        format!(r#"{{"keys":[{jwk}],"keys":[{jwk}]}}"#),
        format!(
            r#"{{"keys":[{}]}}"#,
            jwk.replacen('{', r#"{"kty":"OKP","#, 1)
        ),
        format!(r#"{{"keys":[{jwk},{{"a":1,"a":2}}]}}"#),
        format!(r#"{{"keys":[{jwk}],"x":{{"a":1,"\u0061":2}}}}"#),
        format!(r#"{{"keys":[{jwk},"{{}}"]}}"#),
        format!(r#"{{"keys":[{jwk},[{jwk}]]}}"#),
        format!(r#"{{"keys":[{jwk},null]}}"#),
        format!(r#"{{"keys":{jwk}}}"#),
        format!(r#"{{"keys":[{jwk}]}}{{}}"#),
        format!(r#"{{"Keys":[{jwk}]}}"#),
        format!("\u{feff}{{\"keys\":[{jwk}]}}"),
        format!("[{jwk}]"),
        jwk.clone(),
        r#"{"keys":null}"#.to_owned(),
        "{}".to_owned(),
        "<html>".to_owned(),
        String::new(),
    ] {
        assert_eq!(
            Jwks::parse(document.as_bytes()).err(),
            Some(NoJwks::Malformed),
            "{document}"
        );
    }
    assert_eq!(
        Jwks::parse(b"{\"keys\":[{}],\"x\":\"\xff\"}").err(),
        Some(NoJwks::Malformed)
    );
}

/// A set as an issuer may publish it: of the nine keys five can be used.
fn mixed() -> Value {
    let mut set = published(&public().collect::<Vec<_>>());
    let rsa = Signer::of("RS256");
    let keys = set["keys"].as_array_mut().unwrap();
    for key in keys.iter_mut() {
        key["x5c"] = json!(["MIIcertificate"]);
        key["key_ops"] = json!(["verify"]);
    }
    keys[0]["alg"] = json!("RS256");
    keys.insert(
        0,
        changed(&rsa.jwk(), &json!({"use": "enc", "kid": "for-encryption"})),
    );
    keys.insert(2, Signer::of("HS256").jwk());
    keys.push(Signer::rsa_1024().jwk());
    keys.push(rsa.private_jwk());
    set
}

#[test]
fn keys_that_cannot_be_used_are_passed_over_and_counted() {
    let found = set(&mixed()).ok().unwrap();
    let kids: Vec<_> = found
        .keys
        .iter()
        .map(|key| key.kid.as_deref().unwrap())
        .collect();
    assert_eq!(kids, ["RS256", "ES256", "ES384", "ES512", "EdDSA"]);
    assert_eq!(found.skipped, 4);
    for keys in [
        json!([]),
        json!([{}]),
        json!([Signer::of("HS256").jwk(), Signer::rsa_1024().jwk()]),
    ] {
        assert_eq!(
            set(&json!({"keys": keys})).err(),
            Some(NoJwks::NoUsableKey),
            "{keys}"
        );
    }
}

#[test]
fn a_reduced_set_has_the_same_keys_and_nothing_else() {
    let whole = set(&mixed()).ok().unwrap();
    let text = std::str::from_utf8(&whole.reduced).unwrap();
    for gone in [
        "x5c",
        "MIIcertificate",
        "for-encryption",
        "oct",
        "\"d\"",
        "use",
        "key_ops",
    ] {
        assert!(!text.contains(gone), "{gone} is in {text}");
    }
    let again = Jwks::parse(&whole.reduced).ok().unwrap();
    assert_eq!((again.skipped, &again.reduced), (0, &whole.reduced));
    assert_eq!(again.keys.len(), 5);
    for (key, same) in whole.keys.iter().zip(&again.keys) {
        assert_eq!((&same.kid, same.only), (&key.kid, key.only));
        for name in ALGORITHMS {
            let signer = Signer::of(name);
            assert_eq!(
                has_signed(same, name, signer),
                has_signed(key, name, signer),
                "{name}"
            );
        }
    }
}
