//! Signatures: as others made them, and as nobody should believe them.

#[cfg(not(target_arch = "wasm32"))]
mod wycheproof;

use ed25519_dalek::{Signature, Verifier as _, VerifyingKey};
use portcullis_issuer::{ALGORITHMS, Key as Signer, compact, rfc};

use super::*;
use crate::config::{Algorithm, Padding};
use crate::key::{Key, Material};
use crate::refusal::Reason;
use crate::token::UntrustedToken;
use crate::verifier::KeyRing;

fn algorithm(name: &str) -> Algorithm {
    Algorithm::from_name(name).unwrap()
}

/// What was signed, and the signature.
fn split(token: &str) -> (&[u8], Vec<u8>) {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    (signed.as_bytes(), decode(signature))
}

/// Whether a token that these keys are asked about is in order, up to its claims.
fn verifies(keys: &KeyRing, token: &str) -> bool {
    let Ok(token) = UntrustedToken::parse(token.as_bytes(), Padding::Refuse) else {
        return false;
    };
    let signed = |key: &&Key| key.has_signed(token.algorithm, token.signed, &token.signature);
    keys.find(&token)
        .is_ok_and(|found| found.keys.iter().any(signed))
}

/// The payloads of some are no JSON, so that only the signature is looked at.
#[test]
fn what_the_rfcs_signed_is_verified() {
    for vector in rfc::VECTORS {
        let key = key(&serde_json::from_str(vector.jwk).unwrap());
        let (signed, signature) = split(vector.token);
        for name in ALGORITHMS {
            let good = key.has_signed(algorithm(name), signed, &signature);
            assert_eq!(good, name == vector.algorithm, "{} as {name}", vector.name);
        }
        let other = [signed, b"x"].concat();
        assert!(
            !key.has_signed(algorithm(vector.algorithm), &other, &signature),
            "{}",
            vector.name
        );
    }
    assert_eq!(rfc::VECTORS.len(), 9);
}

#[test]
fn the_tokens_of_the_rfcs_that_hold_claims_are_read() {
    let expected = json!({"iss": "joe", "exp": 1_300_819_380, "http://example.com/is_root": true});
    for vector in rfc::VECTORS {
        let token = UntrustedToken::parse(vector.token.as_bytes(), Padding::Refuse);
        if ["A.1", "A.2", "A.3"]
            .iter()
            .any(|claims| vector.name.contains(claims))
        {
            assert_eq!(token.ok().unwrap().claims, expected, "{}", vector.name);
        } else {
            assert_eq!(
                token.err().unwrap().reason,
                Reason::Malformed,
                "{}",
                vector.name
            );
        }
    }
}

/// RFC 7515 A.5.
#[test]
fn an_unsecured_token_is_refused() {
    let refusal = UntrustedToken::parse(rfc::UNSECURED.as_bytes(), Padding::Refuse)
        .err()
        .unwrap();
    assert_eq!(refusal.reason, Reason::Algorithm);
}

/// RFC 4231 sections 4.2 and 4.7, whose key is longer than any block.
#[test]
fn hmacs_are_those_of_their_rfc() {
    const LARGE: &str = "Test Using Larger Than Block-Size Key - Hash Key First";
    for (name, byte, length, message, mac) in [
        (
            "HS256",
            0x0b,
            20,
            "Hi There",
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        ),
        (
            "HS256",
            0xaa,
            131,
            LARGE,
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        ),
        (
            "HS384",
            0x0b,
            20,
            "Hi There",
            "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9076ede7f4af152e8b2fa9cb6",
        ),
        (
            "HS384",
            0xaa,
            131,
            LARGE,
            "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c60c2ef6ab4030fe8296248df163f44952",
        ),
        (
            "HS512",
            0x0b,
            20,
            "Hi There",
            "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854",
        ),
        (
            "HS512",
            0xaa,
            131,
            LARGE,
            "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f3526b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598",
        ),
    ] {
        let key = unnamed(Material::secret(&vec![byte; length]));
        let signed = key.has_signed(algorithm(name), message.as_bytes(), &hex(mac));
        assert!(signed, "{name}, a key of {length} bytes");
    }
}

/// A token of this algorithm, and the keys that it is checked with. It names none, so that no
/// change to its header is refused for an unknown key.
fn signed_with(name: &str) -> (KeyRing, String) {
    let signer = Signer::of(name);
    let token = signer.token(name, json!({"typ": "JWT"}), &json!({"iss": "i", "n": 1}));
    (KeyRing::new(vec![vec![key(&signer.jwk())].into()]), token)
}

/// Of each segment every bit is flipped, alone. As Wasm, which is slower, every seventh: so each byte
/// is still changed.
fn assert_no_bit_can_be_flipped(names: &[&str]) {
    let step = if cfg!(target_arch = "wasm32") { 7 } else { 1 };
    for name in names {
        let (keys, token) = signed_with(name);
        assert!(verifies(&keys, &token), "{name}");
        let segments: Vec<Vec<u8>> = token.split('.').map(decode).collect();
        for (at, segment) in segments.iter().enumerate() {
            for bit in (0..segment.len() * 8).step_by(step) {
                let mut flipped = segments.clone();
                flipped[at][bit / 8] ^= 1 << (bit % 8);
                let flipped = compact(&flipped[0], &flipped[1], &flipped[2]);
                assert!(
                    !verifies(&keys, &flipped),
                    "{name}: segment {at}, bit {bit}"
                );
            }
        }
    }
}

// In three parts, which run side by side.

#[test]
fn no_bit_of_a_token_can_be_flipped() {
    assert_no_bit_can_be_flipped(&[
        "HS256", "HS384", "HS512", "ES256", "ES384", "ES512", "EdDSA",
    ]);
}

#[test]
fn no_bit_of_an_rsa_token_can_be_flipped() {
    assert_no_bit_can_be_flipped(&["RS256", "RS384", "RS512"]);
}

#[test]
fn no_bit_of_an_rsa_pss_token_can_be_flipped() {
    assert_no_bit_can_be_flipped(&["PS256", "PS384", "PS512"]);
}

#[test]
fn what_another_key_of_the_same_type_signed_is_refused() {
    for name in ALGORITHMS {
        let (keys, token) = signed_with(name);
        let (signed, _) = split(&token);
        let forged = Signer::other(name).sign(name, signed);
        let token = format!(
            "{}.{}",
            std::str::from_utf8(signed).unwrap(),
            encode(forged)
        );
        assert!(!verifies(&keys, &token), "{name}");
    }
}

#[test]
fn a_signature_of_another_length_is_none() {
    for name in ALGORITHMS {
        let key = key(&Signer::of(name).jwk());
        let message = b"message";
        let good = Signer::of(name).sign(name, message);
        let length = good.len();
        let refused = |signature: &[u8]| !key.has_signed(algorithm(name), message, signature);
        assert!(!refused(&good), "{name}");
        for other in [0, 1, length / 2, length - 1, length + 1, length * 2, 5000] {
            let mut end = good.clone();
            end.resize(other, 0);
            assert!(
                refused(&end),
                "{name}: {other} bytes, the end cut or filled"
            );
            let mut start: Vec<u8> = good.iter().rev().copied().collect();
            start.resize(other, 0);
            start.reverse();
            assert!(
                refused(&start),
                "{name}: {other} bytes, the start cut or filled"
            );
        }
        assert!(refused(&vec![0; length]), "{name}: zeros");
        assert!(refused(&vec![0xff; length]), "{name}: ones");
    }
}

/// The curves' orders (SEC 2 sections 2.4.2, 2.5.1 and 2.6.1).
const ORDERS: [(&str, &str); 3] = [
    (
        "ES256",
        "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
    ),
    (
        "ES384",
        "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf\
         581a0db248b0a77aecec196accc52973",
    ),
    (
        "ES512",
        "01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff\
         fa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409",
    ),
];

/// `a - b` of two numbers of one length, big-endian.
fn difference(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut borrow = 0;
    let digits = a.iter().zip(b).rev().map(|(a, b)| {
        let (digit, low) = a.overflowing_sub(*b);
        let (digit, lower) = digit.overflowing_sub(borrow);
        borrow = u8::from(low || lower);
        digit
    });
    let mut digits: Vec<u8> = digits.collect();
    digits.reverse();
    digits
}

#[test]
fn r_and_s_lie_between_zero_and_the_order() {
    let message = b"message";
    for (name, order) in ORDERS {
        let key = key(&Signer::of(name).jwk());
        let signature = Signer::of(name).sign(name, message);
        let (r, s) = signature.split_at(signature.len() / 2);
        let (r, s, order) = (r.to_vec(), s.to_vec(), hex(order));
        let accepted =
            |r: &[u8], s: &[u8]| key.has_signed(algorithm(name), message, &[r, s].concat());
        // ECDSA has two signatures of each kind, and RFC 7515 takes both: so this is the order.
        assert!(
            accepted(&r, &s) && accepted(&r, &difference(&order, &s)),
            "{name}"
        );
        let zero = vec![0; order.len()];
        let mut one = zero.clone();
        *one.last_mut().unwrap() = 1;
        let above = difference(&order, &difference(&zero, &one));
        let most = vec![0xff; order.len()];
        for (what, wrong) in [
            ("zero", &zero),
            ("the order", &order),
            ("above it", &above),
            ("ones", &most),
        ] {
            assert!(!accepted(wrong, &s), "{name}: r is {what}");
            assert!(!accepted(&r, wrong), "{name}: s is {what}");
            assert!(!accepted(wrong, wrong), "{name}: both are {what}");
        }
        assert!(!accepted(&s, &r), "{name}: in the other order");
    }
}

/// What most libraries for ECDSA write, and RFC 7518 section 3.4 does not.
#[test]
fn a_signature_in_der_is_none() {
    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).unwrap();
        let long: &[u8] = if length < 128 { &[] } else { &[0x81] };
        [&[tag], long, &[length], content].concat()
    }
    fn integer(number: &[u8]) -> Vec<u8> {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        let number = &number[zeros..];
        let sign: &[u8] = if number[0] < 128 { &[] } else { &[0] };
        der(2, &[sign, number].concat())
    }
    for (name, _) in ORDERS {
        let key = key(&Signer::of(name).jwk());
        let signature = Signer::of(name).sign(name, b"message");
        let (r, s) = signature.split_at(signature.len() / 2);
        let sequence = der(0x30, &[integer(r), integer(s)].concat());
        assert!(
            !key.has_signed(algorithm(name), b"message", &sequence),
            "{name}"
        );
    }
}

/// S was made for this R, the point of order 1, from the key's scalar. With such an R one signature
/// can hold for several keys and messages.
#[test]
fn a_signature_of_ed25519_has_no_r_of_low_order() {
    let r = [&[1][..], &[0; 31]].concat();
    let s = hex("520a2e25b0f11547a9ae2ad848ed7731c77f99f1a8712d363455d344db33ac04");
    let signature = [r, s].concat();
    let jwk = Signer::of("EdDSA").jwk();
    let lax = VerifyingKey::try_from(decode(jwk["x"].as_str().unwrap()).as_slice()).unwrap();
    let parsed = Signature::from_slice(&signature).unwrap();
    assert!(
        lax.verify(b"message", &parsed).is_ok(),
        "it is one that RFC 8032 lets pass"
    );
    assert!(!key(&jwk).has_signed(Algorithm::EdDsa, b"message", &signature));
}
