//! Keys as `ring` takes them, which has code for each kind of machine: half the time or less of what the same takes in Rust. Which
//! keys and signatures are good at all the other crates have found out before.

use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
    UnparsedPublicKey,
};

use crate::config::Algorithm;

/// A key that `ring` takes.
pub(crate) enum Key {
    /// Modulus and exponent, big-endian.
    Rsa(RsaPublicKeyComponents<Box<[u8]>>),
    P256(UnparsedPublicKey<Box<[u8]>>),
    P384(UnparsedPublicKey<Box<[u8]>>),
}

impl Key {
    /// An RSA key, without zeros before its numbers, of one of the sizes that are in use.
    pub(crate) fn rsa(modulus: &[u8], exponent: &[u8]) -> Option<Self> {
        const SIZES: [usize; 3] = [256, 384, 512];
        const F4: [u8; 3] = [1, 0, 1];
        let fits = SIZES.contains(&modulus.len())
            && modulus.first().is_some_and(|first| *first >= 0x80)
            && exponent == F4;
        fits.then(|| {
            Self::Rsa(RsaPublicKeyComponents {
                n: modulus.into(),
                e: exponent.into(),
            })
        })
    }

    /// A point on P-256, as SEC 1 writes it uncompressed.
    pub(crate) fn p256(point: &[u8]) -> Self {
        Self::P256(UnparsedPublicKey::new(
            &ECDSA_P256_SHA256_FIXED,
            point.into(),
        ))
    }

    /// A point on P-384, as SEC 1 writes it uncompressed.
    pub(crate) fn p384(point: &[u8]) -> Self {
        Self::P384(UnparsedPublicKey::new(
            &ECDSA_P384_SHA384_FIXED,
            point.into(),
        ))
    }

    /// Whether its owner made this signature over these bytes; `None` where it does not serve this algorithm.
    pub(crate) fn has_signed(
        &self,
        algorithm: Algorithm,
        signed: &[u8],
        signature: &[u8],
    ) -> Option<bool> {
        let verified = match (self, algorithm) {
            (Self::Rsa(key), _) => key.verify(parameters(algorithm)?, signed, signature),
            (Self::P256(key), Algorithm::Es256) | (Self::P384(key), Algorithm::Es384) => {
                key.verify(signed, signature)
            }
            (Self::P256(_) | Self::P384(_), _) => return None,
        };
        Some(verified.is_ok())
    }
}

const fn parameters(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    match algorithm {
        Algorithm::Rs256 => Some(&RSA_PKCS1_2048_8192_SHA256),
        Algorithm::Rs384 => Some(&RSA_PKCS1_2048_8192_SHA384),
        Algorithm::Rs512 => Some(&RSA_PKCS1_2048_8192_SHA512),
        Algorithm::Ps256 => Some(&RSA_PSS_2048_8192_SHA256),
        Algorithm::Ps384 => Some(&RSA_PSS_2048_8192_SHA384),
        Algorithm::Ps512 => Some(&RSA_PSS_2048_8192_SHA512),
        Algorithm::Hs256
        | Algorithm::Hs384
        | Algorithm::Hs512
        | Algorithm::Es256
        | Algorithm::Es384
        | Algorithm::Es512
        | Algorithm::EdDsa => None,
    }
}
