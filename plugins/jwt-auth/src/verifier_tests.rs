//! Signatures, by the vectors of their RFCs and against tampering.

use portcullis_policy::config::{SecretConfig, SecretUse};
use serde_json::json;

use super::*;
use crate::tests::{encode, sign};

struct NoEnvironment;
impl portcullis_policy::Environment for NoEnvironment {
    fn var(&self, _: &str) -> Option<String> {
        None
    }
}

fn key(kid: Option<&str>, encoding: &str, secret: &str) -> Key {
    let config: SecretConfig =
        serde_json::from_value(json!({"value": secret, "encoding": encoding})).unwrap();
    let secret = config.resolve(SecretUse::Key, &NoEnvironment).unwrap();
    Key::new(kid.map(str::to_owned), &secret)
}

fn verify(keys: &KeySet, token: &[u8]) -> Result<Value, Reason> {
    UntrustedToken::parse(token)
        .and_then(|token| keys.verify(token))
        .map_err(|refusal| refusal.reason)
}

const ALL: [Algorithm; 3] = [Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512];
const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// RFC 7515, appendix A.1.
#[test]
fn the_rfcs_token_is_verified() {
    let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9\
        .eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ\
        .dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let rfc =
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    let keys = KeySet::new(vec![Algorithm::Hs256], vec![key(None, "base64url", rfc)]);
    assert_eq!(
        verify(&keys, token.as_bytes()),
        Ok(json!({"iss": "joe", "exp": 1_300_819_380, "http://example.com/is_root": true}))
    );
    let other = KeySet::new(vec![Algorithm::Hs256], vec![key(None, "text", rfc)]);
    assert_eq!(verify(&other, token.as_bytes()), Err(Reason::Signature));
}

/// RFC 7520, section 4.4: its payload is no JSON, so that only the signature is looked at.
#[test]
fn the_cookbooks_signature_is_verified() {
    let signed = "eyJhbGciOiJIUzI1NiIsImtpZCI6IjAxOGMwYWU1LTRkOWItNDcxYi1iZmQ2LWVlZjMxNGJjNzAzNyJ9\
        .SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGUgcm9hZCwgYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4";
    let signature = "s0h6KThzkfBBBkLspW1h84VsJZFTsPPqMDA7g1Md7p0";
    let key = key(
        None,
        "base64url",
        "hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg",
    );
    let token = |signed: &'static str| UntrustedToken {
        signed: signed.as_bytes(),
        signature: decode(signature.as_bytes()).unwrap(),
        algorithm: Algorithm::Hs256,
        kid: None,
        claims: Value::Null,
    };
    assert!(key.has_signed(&token(signed)));
    assert!(!key.has_signed(&token("eyJhbGciOiJIUzI1NiJ9.e30")));
    let whole = format!("{signed}.{signature}");
    let refusal = UntrustedToken::parse(whole.as_bytes()).err().unwrap();
    assert_eq!(refusal.reason, Reason::Malformed);
}

/// RFC 4231, section 4.2.
#[test]
fn the_longer_hashes_are_those_of_their_rfc() {
    let key = key(None, "hex", &"0b".repeat(20));
    for (algorithm, mac) in [
        (
            Algorithm::Hs384,
            "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59c\
             faea9ea9076ede7f4af152e8b2fa9cb6",
        ),
        (
            Algorithm::Hs512,
            "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde\
             daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854",
        ),
    ] {
        let digits = mac.as_bytes().chunks(2);
        let digits = digits.map(|pair| std::str::from_utf8(pair).unwrap());
        let token = UntrustedToken {
            signed: b"Hi There",
            signature: digits.map(|d| u8::from_str_radix(d, 16).unwrap()).collect(),
            algorithm,
            kid: None,
            claims: Value::Null,
        };
        assert!(key.has_signed(&token), "{algorithm:?}");
    }
}

#[test]
fn no_bit_of_a_token_can_be_flipped() {
    let keys = KeySet::new(ALL.to_vec(), vec![key(None, "text", SECRET)]);
    for algorithm in ALL {
        let header = json!({"alg": algorithm.name(), "typ": "JWT"});
        let token = sign(SECRET, &header, &json!({"iss": "i", "n": 1}));
        assert!(verify(&keys, token.as_bytes()).is_ok());
        let segments: Vec<Vec<u8>> = token
            .split('.')
            .map(|segment| decode(segment.as_bytes()).unwrap())
            .collect();
        for (at, segment) in segments.iter().enumerate() {
            for bit in 0..segment.len() * 8 {
                let mut flipped = segments.clone();
                flipped[at][bit / 8] ^= 1 << (bit % 8);
                let flipped: Vec<String> = flipped.iter().map(encode).collect();
                let refused = verify(&keys, flipped.join(".").as_bytes());
                assert!(refused.is_err(), "{algorithm:?}: segment {at}, bit {bit}");
            }
        }
    }
}

#[test]
fn a_signature_of_another_length_is_none() {
    let keys = KeySet::new(ALL.to_vec(), vec![key(None, "text", SECRET)]);
    let token = sign(SECRET, &json!({"alg": "HS256"}), &json!({}));
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let signature = decode(signature.as_bytes()).unwrap();
    for length in [0, 1, 31, 33, 48, 64, 5000] {
        let mut other = signature.clone();
        other.resize(length, 0);
        let token = format!("{signed}.{}", encode(&other));
        assert_eq!(
            verify(&keys, token.as_bytes()),
            Err(Reason::Signature),
            "{length}"
        );
    }
    let none = format!("{signed}.");
    assert_eq!(verify(&keys, none.as_bytes()), Err(Reason::Signature));
}

#[test]
fn an_algorithm_serves_only_where_it_is_configured() {
    let keys = KeySet::new(vec![Algorithm::Hs384], vec![key(None, "text", SECRET)]);
    for (name, expected) in [
        ("HS256", Err(Reason::Algorithm)),
        ("HS384", Ok(json!({}))),
        ("HS512", Err(Reason::Algorithm)),
    ] {
        let token = sign(SECRET, &json!({"alg": name}), &json!({}));
        assert_eq!(verify(&keys, token.as_bytes()), expected, "{name}");
    }
}

#[test]
fn a_kid_chooses_its_key_and_no_other() {
    let other = &SECRET.replace('0', "x");
    let keys = KeySet::new(
        ALL.to_vec(),
        vec![
            key(Some("old"), "text", SECRET),
            key(Some("new"), "text", other),
            key(None, "text", "third"),
        ],
    );
    let verified = |kid: Option<Value>, secret: &str| {
        let mut header = json!({"alg": "HS256"});
        if let Some(kid) = kid {
            header["kid"] = kid;
        }
        verify(&keys, sign(secret, &header, &json!({})).as_bytes()).map(|_| ())
    };
    for (kid, secret, expected) in [
        (Some(json!("old")), SECRET, Ok(())),
        (Some(json!("new")), other, Ok(())),
        (Some(json!("new")), SECRET, Err(Reason::Signature)),
        (Some(json!("NEW")), other, Err(Reason::UnknownKid)),
        (Some(json!("")), "third", Err(Reason::UnknownKid)),
        (
            Some(json!("../../dev/null")),
            SECRET,
            Err(Reason::UnknownKid),
        ),
        (
            Some(json!("x' UNION SELECT 'k' --")),
            SECRET,
            Err(Reason::UnknownKid),
        ),
        (
            Some(json!("k".repeat(5000))),
            SECRET,
            Err(Reason::UnknownKid),
        ),
        (Some(json!(1)), SECRET, Err(Reason::Malformed)),
        (Some(json!(null)), SECRET, Err(Reason::Malformed)),
        (Some(json!(["old"])), SECRET, Err(Reason::Malformed)),
        (None, SECRET, Ok(())),
        (None, other, Ok(())),
        (None, "third", Ok(())),
        (None, "fourth", Err(Reason::Signature)),
    ] {
        assert_eq!(verified(kid.clone(), secret), expected, "{kid:?} {secret}");
    }
}

#[test]
fn without_a_kid_at_most_four_keys_are_tried() {
    let secrets = ["one", "two", "three", "four", "five"];
    let keys = secrets.map(|secret| key(Some(secret), "text", secret));
    let keys = KeySet::new(ALL.to_vec(), keys.into());
    let verified = |header: Value, secret: &str| {
        verify(&keys, sign(secret, &header, &json!({})).as_bytes()).is_ok()
    };
    let bare = json!({"alg": "HS256"});
    assert!(verified(bare.clone(), "four") && !verified(bare, "five"));
    assert!(verified(json!({"alg": "HS256", "kid": "five"}), "five"));
}
