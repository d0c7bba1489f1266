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
        format!(r#"{{"keys":[{jwk}],"x":{{"a":1,"\u0061":2}}}}"#),
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

/// What is said of an entry that is left out while the other one serves, wherever it stands.
fn left_out(entry: &str) -> (Option<String>, &'static str) {
    let jwk = Signer::of("EdDSA").jwk();
    let said = [
        (format!("{entry},{jwk}"), "keys[0]"),
        (format!("{jwk},{entry}"), "keys[1]"),
    ]
    .map(|(entries, path)| {
        let found = Jwks::parse(format!(r#"{{"keys":[{entries}]}}"#).as_bytes());
        let mut found = found.unwrap_or_else(|fault| panic!("{entries}: {fault:?}"));
        assert_eq!((found.keys.len(), found.skipped.len()), (1, 1), "{entries}");
        let skipped = found.skipped.remove(0);
        assert_eq!(skipped.path, path, "{entries}");
        (skipped.kid, skipped.why)
    });
    let [one, other] = said;
    assert_eq!(one, other, "{entry}");
    one
}

#[test]
fn one_odd_key_is_left_out_and_the_others_serve() {
    let no_object = "not an object that has each member once";
    let doubled = Signer::of("EdDSA")
        .jwk()
        .to_string()
        .replacen('{', r#"{"kty":"OKP","#, 1);
    for (entry, kid, why) in [
        ("null", None, no_object),
        ("1", None, no_object),
        ("\"{}\"", None, no_object),
        ("[{}]", None, no_object),
        (doubled.as_str(), None, no_object),
        (r#"{"a":1,"\u0061":2}"#, None, no_object),
        ("{}", None, "`kty` is missing or not a text"),
        (
            r#"{"kty":"AKP","kid":"pq"}"#,
            Some("pq"),
            "`kty` is not RSA, EC or OKP",
        ),
        (
            r#"{"kty":"EC","crv":"secp256k1","kid":"k1","x":"AA","y":"AA"}"#,
            Some("k1"),
            "`crv` is not P-256, P-384 or P-521",
        ),
        (
            r#"{"kty":"RSA","kid":"enc","use":"enc","n":"AA","e":"AQAB"}"#,
            Some("enc"),
            "`use` is not \"sig\"",
        ),
        (
            r#"{"kty":"RSA","kid":"x","n":"A","e":"AQAB"}"#,
            Some("x"),
            "`n` is missing or not base64url",
        ),
        (
            r#"{"kty":"RSA","kid":7,"n":"AA","e":"AQAB"}"#,
            None,
            "`kid` is not a text of 1 to 512 bytes without control characters",
        ),
    ] {
        let kid = kid.map(str::to_owned);
        assert_eq!(left_out(entry), (kid, why), "{entry}");
    }
}

#[test]
fn a_set_that_writes_what_is_not_there_as_null_and_pads_its_numbers_is_read() {
    for (name, signer) in public() {
        let mut jwk = signer.jwk();
        for member in ["n", "e", "x", "y"] {
            if let Some(number) = jwk[member].as_str() {
                let padding = "=".repeat((4 - number.len() % 4) % 4);
                jwk[member] = json!(format!("{number}{padding}"));
            } else {
                jwk[member] = Value::Null;
            }
        }
        for member in ["use", "alg", "key_ops", "kid", "d", "x5c"] {
            jwk[member] = Value::Null;
        }
        let found = set(&json!({"keys": [null, jwk]})).ok().unwrap();
        assert_eq!(found.keys.len(), 1, "{name}");
        assert!(has_signed(&found.keys[0], name, signer), "{name}");
        let again = Jwks::parse(&found.reduced).ok().unwrap();
        assert!(has_signed(&again.keys[0], name, signer), "{name}");
    }
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
    assert_eq!(found.skipped.len(), 4);
    for keys in [
        json!([]),
        json!([{}]),
        json!([Signer::of("HS256").jwk(), Signer::rsa_1024().jwk()]),
    ] {
        let Err(NoJwks::NoUsableKey(skipped)) = set(&json!({"keys": keys})) else {
            panic!("{keys} was taken");
        };
        assert_eq!(skipped.len(), keys.as_array().unwrap().len());
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
    assert_eq!((again.skipped.len(), &again.reduced), (0, &whole.reduced));
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
