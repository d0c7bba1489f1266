//! HMAC as tokens use it (RFC 7518 section 3.2).

use std::fmt;

use jwt_compact::AlgorithmSignature as _;
use jwt_compact::alg::{Hs256, Hs256Key, Hs384, Hs384Key, Hs512, Hs512Key};

/// How tokens are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
}

/// A secret as its algorithm wants it. It does not show itself.
pub(crate) enum TokenKey {
    Hs256(Hs256Key),
    Hs384(Hs384Key),
    Hs512(Hs512Key),
}

impl Algorithm {
    /// As it stands in `alg`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
        }
    }

    /// How long a key must be at least, in bytes: as the hash.
    pub(crate) const fn shortest_key(self) -> usize {
        match self {
            Self::Hs256 => 32,
            Self::Hs384 => 48,
            Self::Hs512 => 64,
        }
    }

    pub(crate) fn key(self, secret: &[u8]) -> TokenKey {
        match self {
            Self::Hs256 => TokenKey::Hs256(Hs256Key::new(secret)),
            Self::Hs384 => TokenKey::Hs384(Hs384Key::new(secret)),
            Self::Hs512 => TokenKey::Hs512(Hs512Key::new(secret)),
        }
    }
}

impl TokenKey {
    /// Whether `signature` is that of `signed`, in time that does not tell how close it is.
    pub(crate) fn has_signed(&self, signed: &[u8], signature: &[u8]) -> bool {
        fn verify<A: jwt_compact::Algorithm>(
            algorithm: &A,
            key: &A::VerifyingKey,
            signed: &[u8],
            signature: &[u8],
        ) -> bool {
            // jwt-compact panics on a signature of another length.
            A::Signature::LENGTH.is_some_and(|length| length.get() == signature.len())
                && A::Signature::try_from_slice(signature)
                    .is_ok_and(|signature| algorithm.verify_signature(&signature, key, signed))
        }
        match self {
            Self::Hs256(key) => verify(&Hs256, key, signed, signature),
            Self::Hs384(key) => verify(&Hs384, key, signed, signature),
            Self::Hs512(key) => verify(&Hs512, key, signed, signature),
        }
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey")
    }
}
