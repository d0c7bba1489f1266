//! Keys in PEM.

use portcullis_policy::config::{NonEmpty, ObjectOnly};

use super::*;
use crate::config::{IssuerConfig, KeyConfig};
use crate::keys::Keys;
use crate::pem;

/// PEM of any bytes.
fn armored(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let lines: Vec<_> = body
        .as_bytes()
        .chunks(64)
        .map(|line| str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

/// The bytes in PEM.
fn der(text: &str) -> Vec<u8> {
    let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    STANDARD.decode(body).unwrap()
}

fn relabeled(text: &str, label: &str) -> String {
    armored(label, &der(text))
}

fn read(text: &str) -> Result<Key, &'static str> {
    pem::parse(text).map(unnamed)
}

#[test]
fn a_public_key_of_each_type_is_read() {
    for (of, served) in &TYPES[1..] {
        let signer = Signer::of(of);
        let spki = signer.public_pem();
        for text in std::iter::once(spki).chain(signer.pkcs1_pem()) {
            let key = read(&text).unwrap();
            for name in ALGORITHMS {
                let signed = has_signed(&key, name, Signer::of(name));
                assert_eq!(signed, served.contains(&name), "{text} for {name}");
            }
        }
    }
}

#[test]
fn white_space_around_and_the_kind_of_line_break_do_not_matter() {
    for (name, signer) in public() {
        let text = signer.public_pem();
        for text in [
            text.trim().to_owned(),
            format!("\r\n \t{text}\n\n "),
            text.replace('\n', "\r\n"),
        ] {
            assert!(has_signed(&read(&text).unwrap(), name, signer), "{text:?}");
        }
    }
}

#[test]
fn a_key_from_the_environment_may_have_its_line_breaks_written_out() {
    struct Env(String);
    impl Environment for Env {
        fn var(&self, name: &str) -> Option<String> {
            (name == "KEY").then(|| self.0.clone())
        }
    }
    for (name, signer) in public() {
        let text = signer.public_pem();
        for text in [text.clone(), text.replace('\n', "\\n")] {
            let config = json!([{"public_key": {"env": "KEY"}, "kid": "k"}]);
            let config: NonEmpty<ObjectOnly<KeyConfig>> = serde_json::from_value(config).unwrap();
            let algorithms = [Algorithm::from_name(name).unwrap()];
            let issuer = serde_json::from_value::<IssuerConfig>(json!(ISSUER)).unwrap();
            let env = Env(text.clone());
            let keys = Keys::from_config(config, &algorithms, &issuer.into(), &env);
            let keys = keys.unwrap_or_else(|error| panic!("{text:?}: {error}"));
            assert!(has_signed(&keys.fixed[0], name, signer), "{text:?}");
            assert_eq!(keys.fixed[0].kid.as_deref(), Some("k"));
        }
    }
}

#[test]
fn what_is_no_public_key_is_refused_and_not_repeated() {
    let public = Signer::of("ES256").public_pem();
    let (rsa, pkcs1) = (
        Signer::of("RS256").public_pem(),
        Signer::of("RS256").pkcs1_pem().unwrap(),
    );
    let hunter =
        |label: &str| format!("-----BEGIN {label}-----\nhunter2+\n-----END {label}-----\n");
    let private = "a private key, which signs; expected the public one, which `openssl pkey -pubout` makes of it";
    let certificate = "a certificate; expected its public key, which `openssl x509 -pubkey -noout` takes out of it";
    let not_pem = "not PEM; expected -----BEGIN PUBLIC KEY----- and what belongs to it";
    let other_kind = "PEM of another kind; expected PUBLIC KEY or RSA PUBLIC KEY";
    let (not_der, not_rsa) = ("not a public key in DER", "not an RSA key in DER");
    for (text, expected) in [
        (hunter("PRIVATE KEY"), private),
        (hunter("RSA PRIVATE KEY"), private),
        (hunter("EC PRIVATE KEY"), private),
        (hunter("ENCRYPTED PRIVATE KEY"), private),
        (hunter("OPENSSH PRIVATE KEY"), private),
        (format!("\n {}", hunter("PRIVATE KEY")), private),
        (format!("{public}{}", hunter("PRIVATE KEY")), private),
        (hunter("PRIVATE KEY").replace('\n', ""), private),
        (hunter("CERTIFICATE"), certificate),
        (format!("\r\n{}", hunter("CERTIFICATE")), certificate),
        (relabeled(&public, "EC PARAMETERS"), other_kind),
        (relabeled(&public, "EC PUBLIC KEY"), other_kind),
        (relabeled(&pkcs1, "PUBLIC KEY"), not_der),
        (relabeled(&rsa, "RSA PUBLIC KEY"), not_rsa),
        (armored("PUBLIC KEY", &hex("3000")), not_der),
        (hunter("PUBLIC KEY"), not_pem),
        (armored("PUBLIC KEY", &der(&public)[1..]), not_pem),
        (
            armored("PUBLIC KEY", &[&der(&public)[..], &[0]].concat()),
            not_pem,
        ),
        (public.replace("END PUBLIC", "END RSA PUBLIC"), not_pem),
        (public.replace("-----END", "----END"), not_pem),
        (public.replace('\n', ""), not_pem),
        (format!("{public}{public}"), not_pem),
        (format!("hunter2{public}"), not_pem),
        ("hunter2".to_owned(), not_pem),
        ("ssh-ed25519 hunter2 me@here".to_owned(), not_pem),
        (String::new(), not_pem),
    ] {
        let error = read(&text).err();
        assert_eq!(error, Some(expected), "{text}");
        assert!(!expected.contains("hunter2"));
    }
}

#[test]
fn what_is_wrong_with_a_jwk_is_wrong_in_pem_too() {
    // A key's DER up to its point.
    const P256: &str = "3059301306072a8648ce3d020106082a8648ce3d03010703420004";
    const SECP256K1: &str = "3056301006072a8648ce3d020106052b8104000a03420004";
    const UNNAMED_CURVE: &str = "304f300906072a8648ce3d020103420004";
    const INFINITY: &str = "3019301306072a8648ce3d020106082a8648ce3d03010703020000";
    let filled =
        |head: &str, byte: &str, count: usize| hex(&(head.to_owned() + &byte.repeat(count)));
    let other_curve = "a curve other than P-256, P-384 and P-521";
    for (what, der, expected) in [
        (
            "a point beside the curve",
            filled(P256, "01", 64),
            "not a point on P-256",
        ),
        (
            "the point at infinity",
            hex(INFINITY),
            "not a point on P-256",
        ),
        ("secp256k1", filled(SECP256K1, "01", 64), other_curve),
        (
            "a curve without a name",
            filled(UNNAMED_CURVE, "01", 64),
            other_curve,
        ),
        (
            "X25519",
            filled("302a300506032b656e032100", "09", 32),
            "a key other than RSA, EC and Ed25519",
        ),
        (
            "a weak key",
            filled("302a300506032b6570032100", "00", 32),
            "not a key of Ed25519",
        ),
        (
            "a short key",
            filled("3029300506032b6570032000", "01", 31),
            "not a key of Ed25519",
        ),
    ] {
        assert_eq!(
            read(&armored("PUBLIC KEY", &der)).err(),
            Some(expected),
            "{what}"
        );
    }
    let short = Signer::rsa_1024();
    for text in [short.public_pem(), short.pkcs1_pem().unwrap()] {
        let error = read(&text).err();
        assert_eq!(
            error,
            Some("not an RSA key of 2048 to 8192 bits with an odd exponent under 2^33")
        );
    }
}
