//! Algorithms, keys and signatures.

use super::*;

#[test]
fn algorithm_confusion() {
    assert_refused(|| {
        let rsa = Key::of("RS256");
        let company = claims_of(COMPANY);
        let modulus = rsa.jwk()["n"].as_str().expect("a modulus").to_owned();
        let hs = |secret: &[u8], kid: Value| {
            let header = json!({"kid": kid});
            api(&Key::secret(secret).token("HS256", header, &company))
        };
        let pem = rsa.public_pem();
        let jwk = rsa.jwk().to_string();
        let named = |alg: &str, kid: &str| {
            let header = json!({"alg": alg, "kid": kid});
            api(&rsa.token("RS256", header, &company))
        };
        vec![
            (
                "HS256 with an RSA key's PEM",
                hs(pem.as_bytes(), json!("shared")),
                401,
                "algorithm",
            ),
            (
                "HS256 with the PEM without its last newline",
                hs(pem.trim().as_bytes(), json!("shared")),
                401,
                "algorithm",
            ),
            (
                "HS256 with an RSA key's modulus",
                hs(modulus.as_bytes(), json!("shared")),
                401,
                "algorithm",
            ),
            (
                "HS256 with a JWK without alg",
                hs(jwk.as_bytes(), json!("shared")),
                401,
                "algorithm",
            ),
            (
                "HS256 with an empty secret",
                hs(b"", json!("shared")),
                401,
                "algorithm",
            ),
            (
                "RS256 called ES256, with an EC key's name",
                named("ES256", "e1"),
                401,
                "signature",
            ),
            (
                "RS256 called PS256",
                named("PS256", "shared"),
                401,
                "signature",
            ),
            (
                "RS256 with an EC key's name",
                named("RS256", "e1"),
                401,
                "algorithm",
            ),
            (
                "EdDSA with an RSA key's name",
                named("EdDSA", "shared"),
                401,
                "algorithm",
            ),
            (
                "alg with white space before it",
                named(" RS256", "shared"),
                401,
                "algorithm",
            ),
            (
                "alg in lower case",
                named("rs256", "shared"),
                401,
                "algorithm",
            ),
            (
                "alg as a list",
                signed(r#"{"alg":["HS256"],"kid":"k1"}"#, &claims().to_string()),
                401,
                "malformed",
            ),
            (
                "no alg",
                signed(r#"{"kid":"k1"}"#, &claims().to_string()),
                401,
                "malformed",
            ),
        ]
    });
}

#[test]
fn none_in_every_spelling() {
    const SPELLINGS: [&str; 8] = ["none", "None", "NONE", "nOnE", "none ", " none", "", "null"];
    assert_refused(|| {
        let mut rows: Vec<Row> = Vec::new();
        for spelling in SPELLINGS {
            let header = json!({"alg": spelling, "typ": "JWT"}).to_string();
            let unsigned = compact(header.as_bytes(), claims().to_string().as_bytes(), b"");
            rows.push((spelling, api(&unsigned), 401, "algorithm"));
            rows.push((
                spelling,
                signed(&header, &claims().to_string()),
                401,
                "algorithm",
            ));
        }
        let unsigned = compact(HEADER.as_bytes(), claims().to_string().as_bytes(), b"");
        rows.push((
            "HS256 without a signature",
            api(&unsigned),
            401,
            "signature",
        ));
        rows.push((
            "RFC 7515 A.5",
            api(portcullis_issuer::rfc::UNSECURED),
            401,
            "algorithm",
        ));
        rows
    });
}

#[test]
fn a_header_that_brings_its_own_key_or_extensions() {
    assert_refused(|| {
        let attacker = Key::other("ES256");
        let company = claims_of(COMPANY);
        let own = |name: &str, value: Value| {
            let mut header = json!({"kid": "e1"});
            header[name] = value;
            api(&attacker.token("ES256", header, &company))
        };
        let header = |header: &str| signed(header, &claims().to_string());
        vec![
            ("embedded jwk", own("jwk", attacker.jwk()), 401, "signature"),
            (
                "embedded private jwk",
                own("jwk", attacker.private_jwk()),
                401,
                "signature",
            ),
            (
                "jku",
                own("jku", json!("https://attacker.example/jwks.json")),
                401,
                "signature",
            ),
            (
                "x5u",
                own("x5u", json!("https://attacker.example/cert.pem")),
                401,
                "signature",
            ),
            (
                "x5c",
                own("x5c", json!(["MIIBszCCAVmgAwIBAgIUQ"])),
                401,
                "signature",
            ),
            (
                "unknown crit",
                header(r#"{"alg":"HS256","crit":["exp"],"exp":1}"#),
                401,
                "critical_header",
            ),
            (
                "empty crit",
                header(r#"{"alg":"HS256","crit":[]}"#),
                401,
                "critical_header",
            ),
            (
                "crit null",
                header(r#"{"alg":"HS256","crit":null}"#),
                401,
                "critical_header",
            ),
            (
                "b64 false",
                header(r#"{"alg":"HS256","b64":false,"crit":["b64"]}"#),
                401,
                "critical_header",
            ),
            (
                "alg twice, none last",
                header(r#"{"alg":"HS256","alg":"none"}"#),
                401,
                "malformed",
            ),
            (
                "alg twice, none first",
                header(r#"{"alg":"none","alg":"HS256"}"#),
                401,
                "malformed",
            ),
            (
                "escaped alg twice",
                header(r#"{"alg":"HS256","\u0061lg":"none"}"#),
                401,
                "malformed",
            ),
        ]
    });
}

#[test]
fn a_kid_that_is_more_than_a_name() {
    assert_refused(|| {
        let kid = |kid: &str| {
            let header = json!({"alg": "HS256", "kid": kid}).to_string();
            signed(&header, &claims().to_string())
        };
        let partner = |key: &Key| {
            let header = json!({"kid": "shared"});
            api(&key.token("RS256", header, &claims_of(PARTNER)))
        };
        vec![
            (
                "kid as path",
                kid("../../../../dev/null"),
                401,
                "unknown_kid",
            ),
            (
                "kid as SQL",
                kid("x' UNION SELECT 'key' -- "),
                401,
                "unknown_kid",
            ),
            (
                "kid as URL",
                kid("https://attacker.example/key"),
                401,
                "unknown_kid",
            ),
            ("kid very long", kid(&"k".repeat(5000)), 401, "unknown_kid"),
            ("kid empty", kid(""), 401, "unknown_kid"),
            ("kid with a NUL behind it", kid("k1\0"), 401, "unknown_kid"),
            (
                "kid with a line break",
                kid("k1\nreason=none"),
                401,
                "unknown_kid",
            ),
            (
                "kid a number",
                signed(r#"{"alg":"HS256","kid":1}"#, &claims().to_string()),
                401,
                "malformed",
            ),
            (
                "kid of another provider's key",
                partner(Key::of("RS256")),
                401,
                "signature",
            ),
        ]
    });
}

#[test]
fn one_kid_of_two_providers_serves_each_for_itself() {
    everywhere::<JwtAuth>(&config(), |subject| {
        for (issuer, key) in [(COMPANY, Key::of("RS256")), (PARTNER, Key::other("RS256"))] {
            let token = key.token("RS256", json!({"kid": "shared"}), &claims_of(issuer));
            assert_eq!(subject.ask(api(&token)).refused, None, "{issuer}");
        }
    });
}

#[test]
fn a_signature_that_any_key_could_have_made() {
    assert_refused(|| {
        let mut rows: Vec<Row> = Vec::new();
        for (alg, kid, length, order) in [
            ("ES256", "e1", 32, P256_ORDER),
            ("ES384", "e3", 48, P384_ORDER),
            ("ES512", "e5", 66, P521_ORDER),
        ] {
            let order = hex(order);
            assert_eq!(order.len(), length);
            let (zero, one) = (vec![0; length], [vec![0; length - 1], vec![1]].concat());
            let most = vec![0xff; length];
            for (name, r, s) in [
                ("r and s are zero", &zero, &zero),
                ("r is zero", &zero, &one),
                ("s is zero", &one, &zero),
                ("r is the order", &order, &one),
                ("s is the order", &one, &order),
                ("r and s are out of range", &most, &most),
                ("r and s are one", &one, &one),
            ] {
                let header = json!({"alg": alg, "kid": kid}).to_string();
                let payload = claims_of(COMPANY).to_string();
                let signature = [r.as_slice(), s].concat();
                let token = compact(header.as_bytes(), payload.as_bytes(), &signature);
                rows.push((name, api(&token), 401, "signature"));
            }
        }
        for (name, alg, kid, length) in [
            ("RSA, all zero", "RS256", "shared", 256),
            ("PSS, all zero", "PS256", "shared", 256),
            ("Ed25519, all zero", "EdDSA", "d1", 64),
            ("nothing", "RS256", "shared", 0),
            ("a byte too few", "EdDSA", "d1", 63),
            ("a byte too many", "RS256", "shared", 257),
        ] {
            let header = json!({"alg": alg, "kid": kid}).to_string();
            let payload = claims_of(COMPANY).to_string();
            let token = compact(header.as_bytes(), payload.as_bytes(), &vec![0; length]);
            rows.push((name, api(&token), 401, "signature"));
        }
        rows
    });
}

/// SEC 2, sections 2.4.2, 2.5.1 and 2.6.1.
const P256_ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
const P384_ORDER: &str = "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf\
    581a0db248b0a77aecec196accc52973";
const P521_ORDER: &str = "01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff\
    fa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409";

fn hex(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).expect("digits"), 16);
    pairs.map(|pair| byte(pair).expect("digits")).collect()
}
