//! Keys, what of them is told to others, and what they sign.

use ed25519_dalek::Signer as _;
use hmac::{Hmac, KeyInit, Mac};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use rsa::pkcs1::EncodeRsaPublicKey as _;
use rsa::pkcs8::{EncodePublicKey as _, LineEnding};
use rsa::signature::{RandomizedSigner as _, SignatureEncoding as _};
use rsa::traits::{PrivateKeyParts as _, PublicKeyParts as _};
use rsa::{BoxedUint, PrivateKey as RsaPrivateKey, pkcs1v15, pss};
use serde_json::{Value, json};
use sha2::digest::const_oid::AssociatedOid;
use sha2::digest::{FixedOutputReset, Update};
use sha2::{Digest, Sha256, Sha384, Sha512};

use crate::base64url;

/// A key pair, or a secret.
#[derive(Clone, Debug)]
pub struct Key(pub(crate) Kind);

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Secret(Vec<u8>),
    Rsa(Box<RsaPrivateKey>),
    P256(p256::ecdsa::SigningKey),
    P384(p384::ecdsa::SigningKey),
    P521(p521::ecdsa::SigningKey),
    Ed25519(ed25519_dalek::SigningKey),
}

impl Key {
    /// A secret of these bytes, however few.
    pub fn secret(bytes: &[u8]) -> Key {
        Key(Kind::Secret(bytes.to_vec()))
    }

    /// The bytes of a secret. Panics for a key pair.
    pub fn bytes(&self) -> &[u8] {
        match &self.0 {
            Kind::Secret(bytes) => bytes,
            _ => panic!("not a secret"),
        }
    }

    /// The public half as a JWK (a secret as it is), without `kid`, `alg` and `use`.
    pub fn jwk(&self) -> Value {
        match &self.0 {
            Kind::Secret(bytes) => json!({ "kty": "oct", "k": base64url(bytes) }),
            Kind::Rsa(key) => json!({
                "kty": "RSA",
                "n": base64url(&key.n_bytes()),
                "e": base64url(&key.e_bytes()),
            }),
            Kind::P256(key) => ec("P-256", key.verifying_key().to_sec1_point(false).as_bytes()),
            Kind::P384(key) => ec("P-384", key.verifying_key().to_sec1_point(false).as_bytes()),
            Kind::P521(key) => ec("P-521", key.verifying_key().to_sec1_point(false).as_bytes()),
            Kind::Ed25519(key) => json!({
                "kty": "OKP",
                "crv": "Ed25519",
                "x": base64url(key.verifying_key().as_bytes()),
            }),
        }
    }

    /// Both halves as a JWK. Of a secret there is only one.
    pub fn private_jwk(&self) -> Value {
        let mut jwk = self.jwk();
        match &self.0 {
            Kind::Secret(_) => {}
            Kind::Rsa(key) => {
                let primes = key.primes();
                jwk["d"] = number(key.d());
                jwk["p"] = number(&primes[0]);
                jwk["q"] = number(&primes[1]);
                jwk["dp"] = number(key.dp().expect("precomputed"));
                jwk["dq"] = number(key.dq().expect("precomputed"));
                jwk["qi"] = number(&key.crt_coefficient().expect("two primes"));
            }
            Kind::P256(key) => jwk["d"] = json!(base64url(&key.to_bytes())),
            Kind::P384(key) => jwk["d"] = json!(base64url(&key.to_bytes())),
            Kind::P521(key) => jwk["d"] = json!(base64url(&key.to_bytes())),
            Kind::Ed25519(key) => jwk["d"] = json!(base64url(key.as_bytes())),
        }
        jwk
    }

    /// The public half as `PUBLIC KEY` (RFC 5280's `SubjectPublicKeyInfo`). Panics for a secret.
    pub fn public_pem(&self) -> String {
        let pem = match &self.0 {
            Kind::Secret(_) => panic!("a secret has no public half"),
            Kind::Rsa(key) => key.as_public_key().to_public_key_pem(LineEnding::LF),
            Kind::P256(key) => key.verifying_key().to_public_key_pem(LineEnding::LF),
            Kind::P384(key) => key.verifying_key().to_public_key_pem(LineEnding::LF),
            Kind::P521(key) => key.verifying_key().to_public_key_pem(LineEnding::LF),
            Kind::Ed25519(key) => key.verifying_key().to_public_key_pem(LineEnding::LF),
        };
        pem.expect("a public key has a PEM text")
    }

    /// The public half as `RSA PUBLIC KEY` (RFC 8017 A.1.1), which only RSA keys have.
    pub fn pkcs1_pem(&self) -> Option<String> {
        let Kind::Rsa(key) = &self.0 else { return None };
        let pem = key.as_public_key().to_pkcs1_pem(LineEnding::LF);
        Some(pem.expect("a public key has a PEM text"))
    }

    /// The signature as it stands in a JWS (of ECDSA: r and s, each of full length). Panics where
    /// the key does not fit the algorithm. The same message gets the same signature each time.
    pub fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        match (&self.0, algorithm) {
            (Kind::Secret(secret), "HS256") => hmac::<Hmac<Sha256>>(secret, message),
            (Kind::Secret(secret), "HS384") => hmac::<Hmac<Sha384>>(secret, message),
            (Kind::Secret(secret), "HS512") => hmac::<Hmac<Sha512>>(secret, message),
            (Kind::Rsa(key), "RS256") => pkcs1::<Sha256>(key, message),
            (Kind::Rsa(key), "RS384") => pkcs1::<Sha384>(key, message),
            (Kind::Rsa(key), "RS512") => pkcs1::<Sha512>(key, message),
            (Kind::Rsa(key), "PS256") => pss::<Sha256>(key, message),
            (Kind::Rsa(key), "PS384") => pss::<Sha384>(key, message),
            (Kind::Rsa(key), "PS512") => pss::<Sha512>(key, message),
            (Kind::P256(key), "ES256") => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                signature.to_vec()
            }
            (Kind::P384(key), "ES384") => {
                let signature: p384::ecdsa::Signature = key.sign(message);
                signature.to_vec()
            }
            (Kind::P521(key), "ES512") => {
                let signature: p521::ecdsa::Signature = key.sign(message);
                signature.to_vec()
            }
            (Kind::Ed25519(key), "EdDSA") => key.sign(message).to_vec(),
            _ => panic!("{algorithm:?} does not go with {}", self.jwk()),
        }
    }

    /// A signed token. Its header is `{"alg": algorithm}` with what `header`, an object, adds or
    /// replaces: what the header says and what the token was signed with can so differ.
    pub fn token(&self, algorithm: &str, header: Value, claims: &Value) -> String {
        let Value::Object(more) = header else {
            panic!("a header is an object: {header}");
        };
        let mut header = serde_json::Map::from_iter([("alg".to_owned(), json!(algorithm))]);
        header.extend(more);
        let segments = [Value::Object(header).to_string(), claims.to_string()];
        let message = segments.map(|text| base64url(text.as_bytes())).join(".");
        let signature = self.sign(algorithm, message.as_bytes());
        message + "." + &base64url(&signature)
    }
}

/// The JWK of an uncompressed point: a byte of its own, then both coordinates in full length.
fn ec(curve: &str, point: &[u8]) -> Value {
    let (x, y) = point[1..].split_at(point.len() / 2);
    json!({ "kty": "EC", "crv": curve, "x": base64url(x), "y": base64url(y) })
}

/// A number of an RSA key, without leading zeros, as RFC 7518 section 2 wants it.
fn number(number: &BoxedUint) -> Value {
    json!(base64url(&number.to_be_bytes_trimmed_vartime()))
}

fn hmac<H: Mac + KeyInit>(secret: &[u8], message: &[u8]) -> Vec<u8> {
    let mut hmac = <H as KeyInit>::new_from_slice(secret).expect("any length will do");
    Mac::update(&mut hmac, message);
    hmac.finalize().into_bytes().to_vec()
}

fn pkcs1<D>(key: &RsaPrivateKey, message: &[u8]) -> Vec<u8>
where
    D: Digest + AssociatedOid,
{
    pkcs1v15::SigningKey::<D>::new(key.clone())
        .sign(message)
        .to_vec()
}

/// The salt is drawn from the message, so that nothing has to be random.
fn pss<D>(key: &RsaPrivateKey, message: &[u8]) -> Vec<u8>
where
    D: Digest + FixedOutputReset + Update,
{
    let mut rng = ChaCha20Rng::from_seed(Sha256::digest(message).into());
    pss::SigningKey::<D>::new(key.clone())
        .sign_with_rng(&mut rng, message)
        .to_vec()
}
