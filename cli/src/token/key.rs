//! Keys that sign tokens (RFC 7518 section 3, RFC 8037 section 3).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::rsa::{self, KeyPairComponents};
use ring::signature::{
    self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, RsaEncoding,
};
use ring::{hmac, rand};
use serde_json::Value;

/// A key that signs. Shows nothing of itself.
pub struct SigningKey(Kind);

enum Kind {
    Secret(Vec<u8>),
    Rsa(rsa::KeyPair),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.algorithms().join(", "))
    }
}

impl SigningKey {
    /// A secret that both sides share.
    #[must_use]
    pub const fn secret(bytes: Vec<u8>) -> Self {
        Self(Kind::Secret(bytes))
    }

    /// A private key: PEM (`PRIVATE KEY`, RFC 5958, or `RSA PRIVATE KEY`, RFC 8017), or a JWK (RFC 7517), of which a secret may be one too.
    ///
    /// # Errors
    /// It is neither, or of a kind that does not sign here.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.trim_start().starts_with('{') {
            true => Self::of_jwk(text),
            false => Self::of_pem(text),
        }
    }

    fn of_pem(text: &str) -> Result<Self, String> {
        let expected = "expected a PEM text with PRIVATE KEY, or a JWK";
        let (_, rest) = text
            .split_once("-----BEGIN ")
            .ok_or_else(|| format!("no key in it; {expected}"))?;
        let (label, rest) = rest.split_once("-----").ok_or("a torn PEM text")?;
        let (body, _) = rest.split_once("-----END ").ok_or("a torn PEM text")?;
        let body: String = body.split_whitespace().collect();
        let der = STANDARD.decode(body).map_err(|_| "a torn PEM text")?;
        let kind = match label {
            "RSA PRIVATE KEY" => rsa::KeyPair::from_der(&der).ok().map(Kind::Rsa),
            "PRIVATE KEY" => of_pkcs8(&der),
            "EC PRIVATE KEY" => {
                let rule = "EC PRIVATE KEY is not read; `openssl pkcs8 -topk8 -nocrypt` makes a PRIVATE KEY of it";
                return Err(rule.to_owned());
            }
            "PUBLIC KEY" | "RSA PUBLIC KEY" => {
                return Err("a public key signs nothing; expected the private one".to_owned());
            }
            other => return Err(format!("{other} is no key that signs; {expected}")),
        };
        let known = "RSA of 2048 to 4096 bits, P-256, P-384 and Ed25519";
        kind.map(Self)
            .ok_or_else(|| format!("not a private key of a kind that signs here: {known}"))
    }

    fn of_jwk(text: &str) -> Result<Self, String> {
        let jwk: Value = serde_json::from_str(text).map_err(|_| "not a JWK: no JSON object")?;
        let bytes = |name: &str| {
            let text = jwk.get(name).and_then(Value::as_str);
            let bytes = text.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
            bytes.ok_or_else(|| format!("a JWK without {name:?}, or with one that is no base64url"))
        };
        let text = |name: &str| jwk.get(name).and_then(Value::as_str).unwrap_or_default();
        let refused = || "the parts of the JWK do not make a key".to_owned();
        let kind = match (text("kty"), text("crv")) {
            ("oct", _) => Kind::Secret(bytes("k")?),
            ("RSA", _) => {
                let parts = ["n", "e", "d", "p", "q", "dp", "dq", "qi"].map(bytes);
                let [n, e, d, p, q, dp, dq, qi] = parts;
                let pair = rsa::KeyPair::from_components(&KeyPairComponents {
                    public_key: rsa::PublicKeyComponents { n: n?, e: e? },
                    d: d?,
                    p: p?,
                    q: q?,
                    dP: dp?,
                    dQ: dq?,
                    qInv: qi?,
                });
                Kind::Rsa(pair.map_err(|_| refused())?)
            }
            ("EC", curve @ ("P-256" | "P-384")) => {
                let public = [&[4][..], &bytes("x")?, &bytes("y")?].concat();
                let pair = |algorithm: &'static EcdsaSigningAlgorithm| {
                    let random = SystemRandom::new();
                    let pair = EcdsaKeyPair::from_private_key_and_public_key(
                        algorithm,
                        &bytes("d")?,
                        &public,
                        &random,
                    );
                    pair.map_err(|_| refused())
                };
                match curve {
                    "P-256" => Kind::P256(pair(&ECDSA_P256_SHA256_FIXED_SIGNING)?),
                    _ => Kind::P384(pair(&ECDSA_P384_SHA384_FIXED_SIGNING)?),
                }
            }
            ("OKP", "Ed25519") => {
                let pair = Ed25519KeyPair::from_seed_and_public_key(&bytes("d")?, &bytes("x")?);
                Kind::Ed25519(pair.map_err(|_| refused())?)
            }
            (kty, crv) => {
                return Err(format!(
                    "a JWK of kty {kty:?} and crv {crv:?} does not sign here"
                ));
            }
        };
        Ok(Self(kind))
    }

    /// The algorithms that it signs by.
    #[must_use]
    pub const fn algorithms(&self) -> &'static [&'static str] {
        match &self.0 {
            Kind::Secret(_) => &["HS256", "HS384", "HS512"],
            Kind::Rsa(_) => &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
            Kind::P256(_) => &["ES256"],
            Kind::P384(_) => &["ES384"],
            Kind::Ed25519(_) => &["EdDSA", "Ed25519"],
        }
    }

    /// Signs.
    ///
    /// # Errors
    /// It does not sign by this algorithm.
    pub fn sign(&self, algorithm: &str, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let other = || {
            let own = self.algorithms().join(", ");
            format!("this key does not sign by {algorithm}, but by {own}")
        };
        if !self.algorithms().contains(&algorithm) {
            return Err(other());
        }
        let random = rand::SystemRandom::new();
        match &self.0 {
            Kind::Secret(secret) => {
                let hash = match algorithm {
                    "HS384" => hmac::HMAC_SHA384,
                    "HS512" => hmac::HMAC_SHA512,
                    _ => hmac::HMAC_SHA256,
                };
                let key = hmac::Key::new(hash, secret);
                Ok(hmac::sign(&key, bytes).as_ref().to_vec())
            }
            Kind::Rsa(pair) => {
                let padding: &dyn RsaEncoding = match algorithm {
                    "RS384" => &signature::RSA_PKCS1_SHA384,
                    "RS512" => &signature::RSA_PKCS1_SHA512,
                    "PS256" => &signature::RSA_PSS_SHA256,
                    "PS384" => &signature::RSA_PSS_SHA384,
                    "PS512" => &signature::RSA_PSS_SHA512,
                    _ => &signature::RSA_PKCS1_SHA256,
                };
                let mut signed = vec![0; pair.public().modulus_len()];
                let done = pair.sign(padding, &random, bytes, &mut signed);
                done.map(|()| signed).map_err(|_| other())
            }
            Kind::P256(pair) | Kind::P384(pair) => {
                let signed = pair.sign(&random, bytes).map_err(|_| other())?;
                Ok(signed.as_ref().to_vec())
            }
            Kind::Ed25519(pair) => Ok(pair.sign(bytes).as_ref().to_vec()),
        }
    }
}

fn of_pkcs8(der: &[u8]) -> Option<Kind> {
    let random = SystemRandom::new();
    let ecdsa = |algorithm| EcdsaKeyPair::from_pkcs8(algorithm, der, &random).ok();
    let rsa = rsa::KeyPair::from_pkcs8(der).ok().map(Kind::Rsa);
    rsa.or_else(|| ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING).map(Kind::P256))
        .or_else(|| ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING).map(Kind::P384))
        .or_else(|| {
            let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der);
            pair.ok().map(Kind::Ed25519)
        })
}
