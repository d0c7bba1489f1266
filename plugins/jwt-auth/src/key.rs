//! A key that signatures are checked with.

use ed25519_dalek::VerifyingKey as Ed25519Key;
use jwt_compact::alg::{Hs256, Hs256Key, Hs384, Hs384Key, Hs512, Hs512Key};
use rsa::traits::PublicKeyParts as _;
use rsa::{BoxedUint, PublicKey as RsaPublicKey};

use crate::config::Algorithm;
#[cfg(feature = "ring")]
use crate::fast;
use crate::signature::{
    EdDsa, Es256, Es384, Es512, PS256, PS384, PS512, RS256, RS384, RS512, is_by,
};

/// A key, what it is called, and what it may be used for.
pub(crate) struct Key {
    pub(crate) kid: Option<String>,
    /// The only algorithm that it is for, where its owner named one (RFC 7517 section 4.4).
    pub(crate) only: Option<Algorithm>,
    pub(crate) material: Material,
}

/// A key as its algorithms want it. It serves those of its own type and no other, whatever a token
/// says: a public key is never taken for a secret.
pub(crate) enum Material {
    Secret(Box<SecretKey>),
    Rsa(Box<Prepared<RsaPublicKey>>),
    P256(Box<Prepared<p256::ecdsa::VerifyingKey>>),
    P384(Box<Prepared<p384::ecdsa::VerifyingKey>>),
    P521(Box<p521::ecdsa::VerifyingKey>),
    Ed25519(Box<Ed25519Key>),
}

/// A key, and where there is code for this kind of machine, what that makes of it.
pub(crate) struct Prepared<K> {
    key: K,
    #[cfg(feature = "ring")]
    fast: Option<fast::Key>,
}

/// A secret, prepared for each hash.
pub(crate) struct SecretKey {
    hs256: Hs256Key,
    hs384: Hs384Key,
    hs512: Hs512Key,
}

impl Key {
    /// Whether a token that names this algorithm and this key may be signed with it.
    pub(crate) fn serves(&self, algorithm: Algorithm) -> bool {
        self.material.fits(algorithm) && self.only.is_none_or(|only| only == algorithm)
    }

    /// Whether its owner made this signature over these bytes.
    pub(crate) fn has_signed(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        self.serves(algorithm) && self.material.has_signed(algorithm, signed, signature)
    }
}

impl Material {
    /// Fewest bits of an RSA key (RFC 7518 section 3.3).
    const SHORTEST_RSA: usize = 2048;
    /// Most bits of an RSA key: each doubling makes a verification four times as expensive.
    const LONGEST_RSA: usize = 8192;

    /// What it is, for people.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Secret(_) => "secret",
            Self::Rsa(_) => "RSA",
            Self::P256(_) => "P-256",
            Self::P384(_) => "P-384",
            Self::P521(_) => "P-521",
            Self::Ed25519(_) => "Ed25519",
        }
    }

    /// A secret.
    pub(crate) fn secret(bytes: &[u8]) -> Self {
        Self::Secret(Box::new(SecretKey {
            hs256: bytes.into(),
            hs384: bytes.into(),
            hs512: bytes.into(),
        }))
    }

    /// An RSA key of modulus and exponent, both big-endian.
    pub(crate) fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, &'static str> {
        // Bounds what is computed with before anything is.
        const WRONG: &str = "not an RSA key of 2048 to 8192 bits with an odd exponent under 2^33";
        let most = Self::LONGEST_RSA / 8;
        let modulus = without_leading_zeros(modulus);
        let exponent = without_leading_zeros(exponent);
        if modulus.len() > most || exponent.len() > 8 || exponent.last().is_none_or(|e| e % 2 == 0)
        {
            return Err(WRONG);
        }
        let key = RsaPublicKey::new_with_size_limits(
            BoxedUint::from_be_slice_vartime(modulus),
            BoxedUint::from_be_slice_vartime(exponent),
            Self::SHORTEST_RSA..=Self::LONGEST_RSA,
        )
        .map_err(|_| WRONG)?;
        // An exponent of 1 signs nothing; the crate takes whatever is odd from there on.
        if *key.e() < BoxedUint::from(3_u64) {
            return Err(WRONG);
        }
        Ok(Self::Rsa(Box::new(Prepared {
            key,
            #[cfg(feature = "ring")]
            fast: fast::Key::rsa(modulus, exponent),
        })))
    }

    /// A point on P-256, as SEC 1 writes it.
    pub(crate) fn p256(point: &[u8]) -> Result<Self, &'static str> {
        let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(point);
        let key = key.map_err(|_| "not a point on P-256")?;
        Ok(Self::P256(Box::new(Prepared {
            #[cfg(feature = "ring")]
            fast: Some(fast::Key::p256(key.to_sec1_point(false).as_bytes())),
            key,
        })))
    }

    /// A point on P-384, as SEC 1 writes it.
    pub(crate) fn p384(point: &[u8]) -> Result<Self, &'static str> {
        let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(point);
        let key = key.map_err(|_| "not a point on P-384")?;
        Ok(Self::P384(Box::new(Prepared {
            #[cfg(feature = "ring")]
            fast: Some(fast::Key::p384(key.to_sec1_point(false).as_bytes())),
            key,
        })))
    }

    /// A point on P-521, as SEC 1 writes it.
    pub(crate) fn p521(point: &[u8]) -> Result<Self, &'static str> {
        p521::ecdsa::VerifyingKey::from_sec1_bytes(point)
            .map(|key| Self::P521(Box::new(key)))
            .map_err(|_| "not a point on P-521")
    }

    /// A key of Ed25519.
    pub(crate) fn ed25519(bytes: &[u8]) -> Result<Self, &'static str> {
        const WRONG: &str = "not a key of Ed25519";
        let bytes: &[u8; 32] = bytes.try_into().map_err(|_| WRONG)?;
        match Ed25519Key::from_bytes(bytes) {
            // What a weak key has signed, anybody may have.
            Ok(key) if !key.is_weak() => Ok(Self::Ed25519(Box::new(key))),
            Ok(_) | Err(_) => Err(WRONG),
        }
    }

    /// Whether it is of the type that the algorithm needs.
    pub(crate) const fn fits(&self, algorithm: Algorithm) -> bool {
        match algorithm {
            Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => {
                matches!(self, Self::Secret(_))
            }
            Algorithm::Rs256
            | Algorithm::Rs384
            | Algorithm::Rs512
            | Algorithm::Ps256
            | Algorithm::Ps384
            | Algorithm::Ps512 => matches!(self, Self::Rsa(_)),
            Algorithm::Es256 => matches!(self, Self::P256(_)),
            Algorithm::Es384 => matches!(self, Self::P384(_)),
            Algorithm::Es512 => matches!(self, Self::P521(_)),
            Algorithm::EdDsa => matches!(self, Self::Ed25519(_)),
        }
    }

    fn has_signed(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        let by_any_machine = || self.has_signed_anywhere(algorithm, signed, signature);
        #[cfg(feature = "ring")]
        if let Some(fast) = self
            .fast()
            .and_then(|key| key.has_signed(algorithm, signed, signature))
        {
            // Native code and Wasm never differ on a token: all tests and fuzz targets hold both to it.
            debug_assert_eq!(fast, by_any_machine(), "{algorithm:?}");
            return fast;
        }
        by_any_machine()
    }

    /// The same, by code for any kind of machine.
    fn has_signed_anywhere(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        match (self, algorithm) {
            (Self::Secret(key), Algorithm::Hs256) => is_by(&Hs256, &key.hs256, signed, signature),
            (Self::Secret(key), Algorithm::Hs384) => is_by(&Hs384, &key.hs384, signed, signature),
            (Self::Secret(key), Algorithm::Hs512) => is_by(&Hs512, &key.hs512, signed, signature),
            (Self::Rsa(key), Algorithm::Rs256) => is_by(&RS256, &key.key, signed, signature),
            (Self::Rsa(key), Algorithm::Rs384) => is_by(&RS384, &key.key, signed, signature),
            (Self::Rsa(key), Algorithm::Rs512) => is_by(&RS512, &key.key, signed, signature),
            (Self::Rsa(key), Algorithm::Ps256) => is_by(&PS256, &key.key, signed, signature),
            (Self::Rsa(key), Algorithm::Ps384) => is_by(&PS384, &key.key, signed, signature),
            (Self::Rsa(key), Algorithm::Ps512) => is_by(&PS512, &key.key, signed, signature),
            (Self::P256(key), Algorithm::Es256) => is_by(&Es256, &key.key, signed, signature),
            (Self::P384(key), Algorithm::Es384) => is_by(&Es384, &key.key, signed, signature),
            (Self::P521(key), Algorithm::Es512) => is_by(&Es512, key, signed, signature),
            (Self::Ed25519(key), Algorithm::EdDsa) => is_by(&EdDsa, key, signed, signature),
            (
                Self::Secret(_)
                | Self::Rsa(_)
                | Self::P256(_)
                | Self::P384(_)
                | Self::P521(_)
                | Self::Ed25519(_),
                _,
            ) => false,
        }
    }
}

#[cfg(feature = "ring")]
impl Material {
    const fn fast(&self) -> Option<&fast::Key> {
        match self {
            Self::Rsa(key) => key.fast.as_ref(),
            Self::P256(key) => key.fast.as_ref(),
            Self::P384(key) => key.fast.as_ref(),
            Self::Secret(_) | Self::P521(_) | Self::Ed25519(_) => None,
        }
    }
}

/// Some issuers write a sign byte before the modulus (RFC 7518 section 6.3.1.1 says not to).
fn without_leading_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.get(zeros..).unwrap_or_default()
}
