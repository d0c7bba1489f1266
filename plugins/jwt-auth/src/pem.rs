//! Public keys in PEM: `PUBLIC KEY` (RFC 5280 section 4.1.2.7) and `RSA PUBLIC KEY` (RFC 8017
//! appendix A.1.1).

use rsa::pkcs1;
use spki::SubjectPublicKeyInfoRef;
use spki::der::asn1::ObjectIdentifier;
use spki::der::{Decode as _, Document};

use crate::key::Material;

/// RFC 8017 appendix C, RFC 5480 section 2.1.1, RFC 8410 section 3.
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");

/// Whether a text is meant as PEM, white space before it or not.
pub(crate) fn looks_like_pem(text: &[u8]) -> bool {
    text.trim_ascii_start().starts_with(b"-----BEGIN")
}

/// Reads a public key. The error never repeats what stands in `text`: it may be a private one.
pub(crate) fn parse(text: &str) -> Result<Material, &'static str> {
    let text = text.trim();
    if text.contains("PRIVATE KEY-----") {
        return Err(
            "a private key, which signs; expected the public one, which `openssl pkey -pubout` makes of it",
        );
    }
    if text.starts_with("-----BEGIN CERTIFICATE-----") {
        return Err(
            "a certificate; expected its public key, which `openssl x509 -pubkey -noout` takes out of it",
        );
    }
    let text = wrapped(text);
    let (label, document) = Document::from_pem(&text)
        .map_err(|_| "not PEM; expected -----BEGIN PUBLIC KEY----- and what belongs to it")?;
    match label {
        "PUBLIC KEY" => from_spki(document.as_bytes()),
        "RSA PUBLIC KEY" => from_pkcs1(document.as_bytes()),
        _ => Err("PEM of another kind; expected PUBLIC KEY or RSA PUBLIC KEY"),
    }
}

/// The same with lines of 64 (RFC 7468 section 3): many a key comes as one long line, or indented.
fn wrapped(text: &str) -> String {
    let is_edge = |line: &&str| line.starts_with("-----");
    let lines = || text.lines().map(str::trim);
    let body: String = lines().filter(|line| !is_edge(line)).collect();
    let mut edges = lines().filter(is_edge);
    let mut wrapped = edges.next().unwrap_or_default().to_owned();
    for (at, letter) in body.chars().enumerate() {
        if at.is_multiple_of(64) {
            wrapped.push('\n');
        }
        wrapped.push(letter);
    }
    for edge in edges {
        wrapped.push('\n');
        wrapped.push_str(edge);
    }
    wrapped
}

fn from_spki(der: &[u8]) -> Result<Material, &'static str> {
    let info = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| "not a public key in DER")?;
    let bits = info
        .subject_public_key
        .as_bytes()
        .ok_or("not a public key in DER")?;
    let algorithm = info.algorithm;
    match algorithm.oid {
        RSA => from_pkcs1(bits),
        ED25519 => Material::ed25519(bits),
        EC => match algorithm.parameters_oid() {
            Ok(P256) => Material::p256(bits),
            Ok(P384) => Material::p384(bits),
            Ok(P521) => Material::p521(bits),
            Ok(_) | Err(_) => Err("a curve other than P-256, P-384 and P-521"),
        },
        _ => Err("a key other than RSA, EC and Ed25519"),
    }
}

fn from_pkcs1(der: &[u8]) -> Result<Material, &'static str> {
    let key = pkcs1::RsaPublicKeyRef::from_der(der).map_err(|_| "not an RSA key in DER")?;
    Material::rsa(key.modulus.as_bytes(), key.public_exponent.as_bytes())
}
