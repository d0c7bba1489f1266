//! What is issued, checked by the verifiers of the RustCrypto crates.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::Verifier;
use hmac::{Hmac, KeyInit, Mac};
use portcullis_issuer::{ALGORITHMS, Key, compact, jwks, rfc};
use rsa::pkcs1::DecodeRsaPublicKey as _;
use rsa::pkcs8::DecodePublicKey as _;
use rsa::traits::PublicKeyParts as _;
use rsa::{BoxedUint, PublicKey as RsaPublicKey, pkcs1v15, pss};
use serde_json::{Value, json};
use sha2::{Sha256, Sha384, Sha512};

fn decoded(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

fn member(jwk: &Value, name: &str) -> Vec<u8> {
    decoded(jwk[name].as_str().unwrap())
}

fn json_of(segment: &str) -> Value {
    serde_json::from_slice(&decoded(segment)).unwrap()
}

fn hmac<H: Mac + KeyInit>(jwk: &Value, message: &[u8], signature: &[u8]) -> bool {
    let mut hmac = <H as KeyInit>::new_from_slice(&member(jwk, "k")).unwrap();
    Mac::update(&mut hmac, message);
    hmac.verify_slice(signature).is_ok()
}

fn verified<'s, S: TryFrom<&'s [u8]>>(
    key: impl Verifier<S>,
    message: &[u8],
    signature: &'s [u8],
) -> bool {
    S::try_from(signature).is_ok_and(|signature| key.verify(message, &signature).is_ok())
}

fn rsa(jwk: &Value) -> RsaPublicKey {
    let number = |name| BoxedUint::from_be_slice_vartime(&member(jwk, name));
    assert_eq!(jwk["kty"], "RSA");
    RsaPublicKey::new(number("n"), number("e")).unwrap()
}

fn point(jwk: &Value, curve: &str) -> Vec<u8> {
    assert_eq!((&jwk["kty"], &jwk["crv"]), (&json!("EC"), &json!(curve)));
    [vec![4], member(jwk, "x"), member(jwk, "y")].concat()
}

/// Verifies with nothing but the JWK.
fn verifies(algorithm: &str, jwk: &Value, message: &[u8], signature: &[u8]) -> bool {
    match algorithm {
        "HS256" => hmac::<Hmac<Sha256>>(jwk, message, signature),
        "HS384" => hmac::<Hmac<Sha384>>(jwk, message, signature),
        "HS512" => hmac::<Hmac<Sha512>>(jwk, message, signature),
        "RS256" => {
            let key = pkcs1v15::VerifyingKey::<Sha256>::new(rsa(jwk));
            verified(key, message, signature)
        }
        "RS384" => {
            let key = pkcs1v15::VerifyingKey::<Sha384>::new(rsa(jwk));
            verified(key, message, signature)
        }
        "RS512" => {
            let key = pkcs1v15::VerifyingKey::<Sha512>::new(rsa(jwk));
            verified(key, message, signature)
        }
        "PS256" => {
            let key = pss::VerifyingKey::<Sha256>::new(rsa(jwk));
            verified(key, message, signature)
        }
        "PS384" => {
            let key = pss::VerifyingKey::<Sha384>::new(rsa(jwk));
            verified(key, message, signature)
        }
        "PS512" => {
            let key = pss::VerifyingKey::<Sha512>::new(rsa(jwk));
            verified(key, message, signature)
        }
        "ES256" => {
            let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(&point(jwk, "P-256"));
            verified::<p256::ecdsa::Signature>(key.unwrap(), message, signature)
        }
        "ES384" => {
            let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(&point(jwk, "P-384"));
            verified::<p384::ecdsa::Signature>(key.unwrap(), message, signature)
        }
        "ES512" => {
            let key = p521::ecdsa::VerifyingKey::from_sec1_bytes(&point(jwk, "P-521"));
            verified::<p521::ecdsa::Signature>(key.unwrap(), message, signature)
        }
        "EdDSA" => {
            assert_eq!(
                (&jwk["kty"], &jwk["crv"]),
                (&json!("OKP"), &json!("Ed25519"))
            );
            let bytes = member(jwk, "x").try_into().unwrap();
            let key = ed25519_dalek::VerifyingKey::from_bytes(&bytes).unwrap();
            verified::<ed25519_dalek::Signature>(key, message, signature)
        }
        _ => panic!("{algorithm}"),
    }
}

fn token_verifies(algorithm: &str, jwk: &Value, token: &str) -> bool {
    let (message, signature) = token.rsplit_once('.').unwrap();
    verifies(algorithm, jwk, message.as_bytes(), &decoded(signature))
}

#[test]
fn each_algorithm_signs_what_its_verifier_accepts() {
    let claims = json!({ "sub": "someone", "exp": 1_767_225_600 });
    for algorithm in ALGORITHMS {
        let keys = [Key::of(algorithm), Key::other(algorithm)];
        for (signer, stranger) in [(0, 1), (1, 0)] {
            let token = keys[signer].token(algorithm, json!({ "typ": "JWT" }), &claims);
            let segments: Vec<&str> = token.split('.').collect();
            assert_eq!(
                json_of(segments[0]),
                json!({ "alg": algorithm, "typ": "JWT" })
            );
            assert_eq!(json_of(segments[1]), claims);
            assert!(
                token_verifies(algorithm, &keys[signer].jwk(), &token),
                "{algorithm}"
            );
            assert!(
                !token_verifies(algorithm, &keys[stranger].jwk(), &token),
                "{algorithm}"
            );
            // Twice the same, or tests could not be repeated.
            let again = keys[signer].token(algorithm, json!({ "typ": "JWT" }), &claims);
            assert_eq!(token, again, "{algorithm}");
        }
    }
}

#[test]
fn each_vector_verifies() {
    for vector in rfc::VECTORS {
        let jwk: Value = serde_json::from_str(vector.jwk).unwrap();
        let name = vector.name;
        let header = json_of(vector.token.split('.').next().unwrap());
        assert_eq!(header["alg"], vector.algorithm, "{name}");
        assert!(
            token_verifies(vector.algorithm, &jwk, vector.token),
            "{name}"
        );
        let (_, signature) = vector.token.rsplit_once('.').unwrap();
        let mut signature = decoded(signature);
        signature[8] ^= 1;
        let (message, _) = vector.token.rsplit_once('.').unwrap();
        assert!(
            !verifies(vector.algorithm, &jwk, message.as_bytes(), &signature),
            "{name}, broken"
        );
    }
}

#[test]
fn the_keys_are_those_of_the_rfcs() {
    let rows = [
        ("RFC 7515 A.1 (HS256)", Key::of("HS256")),
        ("RFC 7515 A.2 (RS256)", Key::of("RS256")),
        ("RFC 7515 A.3 (ES256)", Key::of("ES256")),
        ("RFC 7515 A.4 (ES512)", Key::of("ES512")),
        ("RFC 7520 4.1 (RS256)", Key::other("RS256")),
        ("RFC 7520 4.3 (ES512)", Key::other("ES512")),
        ("RFC 8037 A.4 (EdDSA)", Key::of("EdDSA")),
    ];
    for (name, key) in rows {
        let vector = rfc::VECTORS.iter().find(|v| v.name == name).unwrap();
        let mut jwk: Value = serde_json::from_str(vector.jwk).unwrap();
        let members = jwk.as_object_mut().unwrap();
        members.retain(|name, _| name != "kid" && name != "use");
        assert_eq!(key.jwk(), jwk, "{name}");
        // ECDSA draws a number of its own, and the examples do not say which.
        if !vector.algorithm.starts_with("ES") {
            let (message, signature) = vector.token.rsplit_once('.').unwrap();
            let signed = key.sign(vector.algorithm, message.as_bytes());
            assert_eq!(signed, decoded(signature), "{name}");
        }
    }
}

#[test]
fn the_unsecured_example_has_the_claims_of_the_first() {
    let segments: Vec<&str> = rfc::UNSECURED.split('.').collect();
    assert_eq!(json_of(segments[0]), json!({ "alg": "none" }));
    assert_eq!(
        segments[1],
        rfc::VECTORS[0].token.split('.').nth(1).unwrap()
    );
    assert_eq!(segments[2..], [""]);
    assert_eq!(
        compact(&decoded(segments[0]), &decoded(segments[1]), b""),
        rfc::UNSECURED
    );
}

#[test]
fn a_pem_is_the_key_of_its_jwk() {
    for key in [Key::of("RS256"), Key::other("RS256"), Key::rsa_1024()] {
        let of_jwk = rsa(&key.jwk());
        let spki = key.public_pem();
        assert!(spki.starts_with("-----BEGIN PUBLIC KEY-----\n"), "{spki}");
        assert_eq!(RsaPublicKey::from_public_key_pem(&spki).unwrap(), of_jwk);
        let pkcs1 = key.pkcs1_pem().unwrap();
        assert!(
            pkcs1.starts_with("-----BEGIN RSA PUBLIC KEY-----\n"),
            "{pkcs1}"
        );
        assert_eq!(RsaPublicKey::from_pkcs1_pem(&pkcs1).unwrap(), of_jwk);
    }
    macro_rules! curve {
        ($algorithm:literal, $curve:literal, $module:ident) => {
            for key in [Key::of($algorithm), Key::other($algorithm)] {
                let read = $module::PublicKey::from_public_key_pem(&key.public_pem()).unwrap();
                let of_jwk = $module::PublicKey::from_sec1_bytes(&point(&key.jwk(), $curve));
                assert_eq!(read, of_jwk.unwrap());
                assert_eq!(key.pkcs1_pem(), None);
            }
        };
    }
    curve!("ES256", "P-256", p256);
    curve!("ES384", "P-384", p384);
    curve!("ES512", "P-521", p521);
    for key in [Key::of("EdDSA"), Key::other("EdDSA")] {
        let read = ed25519_dalek::VerifyingKey::from_public_key_pem(&key.public_pem()).unwrap();
        assert_eq!(read.as_bytes().to_vec(), member(&key.jwk(), "x"));
    }
}

#[test]
fn numbers_are_of_the_length_that_is_asked_for() {
    for key in [Key::of("HS256"), Key::other("HS512")] {
        assert_eq!(key.bytes().len(), 64);
    }
    for (key, bits) in [
        (Key::of("PS256"), 2048),
        (Key::other("RS512"), 2048),
        (Key::rsa_1024(), 1024),
    ] {
        assert_eq!(rsa(&key.jwk()).n().bit_width(), bits);
        let jwk = key.private_jwk();
        for name in ["n", "e", "d", "p", "q", "dp", "dq", "qi"] {
            assert_ne!(member(&jwk, name)[0], 0, "{name}");
        }
    }
    for (algorithm, bytes) in [("ES256", 32), ("ES384", 48), ("ES512", 66)] {
        for key in [Key::of(algorithm), Key::other(algorithm)] {
            let jwk = key.private_jwk();
            for name in ["x", "y", "d"] {
                assert_eq!(member(&jwk, name).len(), bytes, "{algorithm} {name}");
            }
            assert_eq!(key.sign(algorithm, b"message").len(), 2 * bytes);
        }
    }
}

#[test]
fn a_private_jwk_adds_to_the_public_one() {
    for algorithm in ALGORITHMS {
        let key = Key::of(algorithm);
        let (public, private) = (key.jwk(), key.private_jwk());
        for (name, value) in public.as_object().unwrap() {
            assert_eq!(&private[name], value, "{algorithm} {name}");
        }
        let secret = public["kty"] == "oct";
        assert_eq!(private.get("d").is_none(), secret, "{algorithm}");
        assert!(public.get("d").is_none(), "{algorithm}");
    }
}

#[test]
fn a_set_names_its_keys() {
    let secret = Key::secret(b"short");
    let set = jwks(&[("a", Key::of("EdDSA")), ("b", &secret)]);
    assert_eq!(set["keys"][0]["kid"], "a");
    assert_eq!(set["keys"][0]["crv"], "Ed25519");
    assert_eq!(
        set["keys"][1],
        json!({ "kty": "oct", "k": "c2hvcnQ", "kid": "b", "use": "sig" })
    );
}

#[test]
fn a_header_may_contradict_its_signature() {
    let key = Key::of("RS256");
    let token = key.token("RS256", json!({ "alg": "HS256" }), &json!({}));
    assert_eq!(
        json_of(token.split('.').next().unwrap()),
        json!({ "alg": "HS256" })
    );
    assert!(token_verifies("RS256", &key.jwk(), &token));
}

#[test]
#[should_panic = "does not go with"]
fn a_key_signs_only_what_fits_it() {
    Key::of("ES256").sign("ES384", b"message");
}

#[test]
fn the_short_key_signs() {
    let key = Key::rsa_1024();
    for algorithm in ["RS256", "RS384", "RS512", "PS256", "PS384"] {
        let signature = key.sign(algorithm, b"message");
        assert!(
            verifies(algorithm, &key.jwk(), b"message", &signature),
            "{algorithm}"
        );
    }
}
