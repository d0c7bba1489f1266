//! Keys as JWKs.

use super::*;

/// That each of these changes has its outcome: `None` where the key is taken.
fn assert_outcomes(jwk: &Value, table: &[(Value, Option<&str>)]) {
    assert_eq!(parsed(jwk).err(), None, "{jwk}");
    for (changes, expected) in table {
        assert_eq!(parsed(&changed(jwk, changes)).err(), *expected, "{changes}");
    }
}

#[test]
fn a_jwk_is_for_checking_signatures() {
    let not_sig = Some("`use` is not \"sig\"");
    let not_verify = Some("`key_ops` does not have \"verify\" in it");
    let not_fitting = Some("`alg` is not one that such a key serves");
    let not_a_kid = Some("`kid` is not a text of 1 to 512 bytes without control characters");
    let not_public = Some("a private key; expected the public half only");
    for (_, signer) in public() {
        assert_outcomes(
            &signer.jwk(),
            &[
                (json!({"use": "sig"}), None),
                (json!({"use": "enc"}), not_sig),
                (json!({"use": "SIG"}), not_sig),
                (json!({"use": 1}), not_sig),
                (json!({"key_ops": ["verify"]}), None),
                (json!({"key_ops": ["sign", "verify"]}), None),
                (json!({"key_ops": ["sign"]}), not_verify),
                (json!({"key_ops": []}), not_verify),
                (json!({"key_ops": "verify"}), not_verify),
                (json!({"alg": "HS256"}), not_fitting),
                (json!({"alg": "none"}), not_fitting),
                (json!({"alg": "RSA-OAEP"}), not_fitting),
                (json!({"alg": 1}), Some("`alg` is not a text")),
                (json!({"kid": "k".repeat(512)}), None),
                (json!({"kid": "k".repeat(513)}), not_a_kid),
                (json!({"kid": ""}), not_a_kid),
                (json!({"kid": "a\nb"}), not_a_kid),
                (json!({"kid": 1}), not_a_kid),
                (json!({"kid": ["k"]}), not_a_kid),
                (json!({"kty": null}), Some("`kty` is missing or not a text")),
                (json!({"kty": 1}), Some("`kty` is missing or not a text")),
                (json!({"kty": "AKP"}), Some("`kty` is not RSA, EC or OKP")),
                (json!({"kty": "rsa"}), Some("`kty` is not RSA, EC or OKP")),
                (json!({"d": ""}), not_public),
                (
                    json!({"x5c": ["MII"], "x5t": "x", "iat": 1, "ext": true}),
                    None,
                ),
            ],
        );
        assert_eq!(parsed(&signer.private_jwk()).err(), not_public);
        let named = parsed(&changed(&signer.jwk(), &json!({"kid": "K-1"}))).unwrap();
        assert_eq!((named.kid.as_deref(), named.only), (Some("K-1"), None));
    }
    // Members that are there, and nothing.
    for name in ["use", "key_ops", "alg", "kid", "d"] {
        let jwk = with(Signer::of("EdDSA").jwk(), name, Value::Null);
        let key = parsed(&jwk).unwrap_or_else(|rule| panic!("{name}: {rule}"));
        assert_eq!((key.kid, key.only), (None, None), "{name}");
    }
    let secret = parsed(&Signer::of("HS256").jwk()).err();
    assert_eq!(
        secret,
        Some("a secret has no place in a set of public keys; expected `secret`")
    );
}

#[test]
fn an_ec_key_is_a_point_on_its_curve_in_full_length() {
    let other_curve = Some("`crv` is not P-256, P-384 or P-521");
    for (name, curve, wrong) in [
        ("ES256", "P-256", "not a point on P-256"),
        ("ES384", "P-384", "not a point on P-384"),
        ("ES512", "P-521", "not a point on P-521"),
    ] {
        let jwk = Signer::of(name).jwk();
        let (x, y) = (
            decode(jwk["x"].as_str().unwrap()),
            decode(jwk["y"].as_str().unwrap()),
        );
        let length = x.len();
        let mut off = y.clone();
        off[length - 1] ^= 1;
        let zero = encode(vec![0; length]);
        let padding = "=".repeat((4 - encode(&x).len() % 4) % 4);
        let padded = format!("{}{padding}", encode(&x));
        assert_outcomes(
            &jwk,
            &[
                (json!({"y": encode(off)}), Some(wrong)),
                (json!({"x": encode(&y), "y": encode(&x)}), Some(wrong)),
                (json!({"x": zero, "y": zero}), Some(wrong)),
                (json!({"x": encode(vec![0xff; length])}), Some(wrong)),
                (json!({"x": encode(&x[1..])}), Some(wrong)),
                (json!({"x": encode([&[0][..], &x].concat())}), Some(wrong)),
                (json!({"y": encode([&y[..], &[0]].concat())}), Some(wrong)),
                // Together they are as long as they should be.
                (
                    json!({"x": encode(&x[1..]), "y": encode([&x[..1], &y].concat())}),
                    Some(wrong),
                ),
                (json!({"x": "", "y": ""}), Some(wrong)),
                (json!({"x": null}), Some("`x` is missing or not base64url")),
                (json!({"x": padded}), None),
                (
                    json!({"x": format!("{padded}==")}),
                    Some("`x` is missing or not base64url"),
                ),
                (json!({"y": null}), Some("`y` is missing or not base64url")),
                (json!({"y": 1}), Some("`y` is missing or not base64url")),
                (json!({"crv": null}), other_curve),
                (json!({"crv": "secp256k1"}), other_curve),
                (json!({"crv": "p-256"}), other_curve),
                (json!({"crv": "Ed25519"}), other_curve),
            ],
        );
        for other in ["P-256", "P-384", "P-521"] {
            let taken = parsed(&changed(&jwk, &json!({"crv": other}))).is_ok();
            assert_eq!(taken, other == curve, "{curve} as {other}");
        }
    }
}

#[test]
fn an_rsa_key_is_long_enough_and_no_longer_than_can_be_afforded() {
    let wrong = Some("not an RSA key of 2048 to 8192 bits with an odd exponent under 2^33");
    let signer = Signer::of("RS256");
    let jwk = signer.jwk();
    assert_eq!(parsed(&Signer::rsa_1024().jwk()).err(), wrong);
    // Nobody can tell a modulus from any other odd number.
    let modulus = |first: u8, bytes: usize| {
        let mut modulus = vec![0xff; bytes];
        modulus[0] = first;
        json!({"n": encode(modulus)})
    };
    let exponent = |bytes: &[u8]| json!({"e": encode(bytes)});
    let mut even = decode(jwk["n"].as_str().unwrap());
    *even.last_mut().unwrap() &= 0xfe;
    assert_outcomes(
        &jwk,
        &[
            (modulus(0x7f, 256), wrong),
            (modulus(0x80, 256), None),
            (modulus(0xff, 1024), None),
            (modulus(1, 1025), wrong),
            (modulus(0xff, 9000 / 8), wrong),
            (modulus(0xff, 100_000), wrong),
            (json!({"n": encode(even)}), wrong),
            (json!({"n": ""}), wrong),
            (json!({"n": "AA"}), wrong),
            (json!({"n": null}), Some("`n` is missing or not base64url")),
            (
                json!({"n": "+/+/"}),
                Some("`n` is missing or not base64url"),
            ),
            (exponent(&[3]), None),
            (exponent(&[0, 0, 1, 0, 1]), None),
            (exponent(&[1, 0xff, 0xff, 0xff, 0xff]), None),
            (exponent(&[2, 0, 0, 0, 1]), wrong),
            (exponent(&[0xff; 8]), wrong),
            (exponent(&[0xff; 256]), wrong),
            (exponent(&[1]), wrong),
            (exponent(&[2]), wrong),
            (exponent(&[1, 0, 0]), wrong),
            (exponent(&[0]), wrong),
            (exponent(&[]), wrong),
            (json!({"e": null}), Some("`e` is missing or not base64url")),
            (json!({"e": 65537}), Some("`e` is missing or not base64url")),
        ],
    );
    // A sign byte before the modulus is in the way of nothing.
    let signed = [&[0][..], &decode(jwk["n"].as_str().unwrap())].concat();
    let key = parsed(&changed(&jwk, &json!({"n": encode(signed)}))).unwrap();
    assert!(has_signed(&key, "RS256", signer) && has_signed(&key, "PS512", signer));
}

#[test]
fn an_ed25519_key_is_a_point_that_not_anybody_can_sign_for() {
    let wrong = Some("not a key of Ed25519");
    let mut table = vec![
        (json!({"x": null}), wrong),
        (json!({"x": ""}), wrong),
        (json!({"x": encode([1; 31])}), wrong),
        (json!({"x": encode([1; 33])}), wrong),
        // No point has this y.
        (json!({"x": encode([&[2][..], &[0; 31]].concat())}), wrong),
        (json!({"crv": null}), Some("`crv` is not Ed25519")),
        (json!({"crv": "Ed448"}), Some("`crv` is not Ed25519")),
        (json!({"crv": "X25519"}), Some("`crv` is not Ed25519")),
    ];
    // The points of order 1, 2, 4 and 8, with their y as it should be and as y + p.
    for (first, middle, last) in [
        ("01", "00", "00"),
        ("01", "00", "80"),
        ("ee", "ff", "7f"),
        ("ee", "ff", "ff"),
        ("ec", "ff", "7f"),
        ("ec", "ff", "ff"),
        ("00", "00", "00"),
        ("00", "00", "80"),
        ("ed", "ff", "7f"),
        ("ed", "ff", "ff"),
        (
            "26",
            "e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc",
            "05",
        ),
        (
            "26",
            "e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc",
            "85",
        ),
        (
            "c7",
            "176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03",
            "7a",
        ),
        (
            "c7",
            "176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03",
            "fa",
        ),
    ] {
        let middle = if middle.len() == 2 {
            middle.repeat(30)
        } else {
            middle.to_owned()
        };
        table.push((
            json!({"x": encode(hex(&format!("{first}{middle}{last}")))}),
            wrong,
        ));
    }
    assert_outcomes(&Signer::of("EdDSA").jwk(), &table);
}
