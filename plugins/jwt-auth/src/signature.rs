//! Signature algorithms behind jwt-compact's `Algorithm`: those that it lacks (ES384, ES512), and
//! those that newer crates verify in half the time or less. They verify only.

use std::borrow::Cow;
use std::convert::Infallible;
use std::marker::PhantomData;
use std::num::NonZeroUsize;

use ed25519_dalek::VerifyingKey as Ed25519Key;
use jwt_compact::{Algorithm, AlgorithmSignature};
use p256::ecdsa::signature::Verifier as _;
use rsa::pkcs1v15::Pkcs1v15Sign;
use rsa::pss::Pss;
use rsa::sha2::digest::{Digest, FixedOutputReset};
use rsa::sha2::{Sha256, Sha384, Sha512};
use rsa::{PublicKey as RsaPublicKey, pkcs8::AssociatedOid};

/// Implements `Algorithm` for a type whose keys only verify.
macro_rules! verifies_only {
    ($type:ty, $key:ty, $signature:ty, $name:literal, $verify:expr) => {
        impl Algorithm for $type {
            /// Nothing is signed here.
            type SigningKey = Infallible;
            type VerifyingKey = $key;
            type Signature = $signature;

            fn name(&self) -> Cow<'static, str> {
                Cow::Borrowed($name)
            }

            fn sign(&self, key: &Infallible, _: &[u8]) -> $signature {
                match *key {}
            }

            fn verify_signature(&self, signature: &$signature, key: &$key, signed: &[u8]) -> bool {
                let verify: fn(&$key, &[u8], &$signature) -> bool = $verify;
                verify(key, signed, signature)
            }
        }
    };
}

/// RSASSA-PKCS1-v1_5 (RFC 7518 section 3.3).
pub(crate) struct Pkcs1<D>(PhantomData<D>);

/// RSASSA-PSS with a salt as long as the hash (RFC 7518 section 3.5).
pub(crate) struct RsaPss<D>(PhantomData<D>);

pub(crate) const RS256: Pkcs1<Sha256> = Pkcs1(PhantomData);
pub(crate) const RS384: Pkcs1<Sha384> = Pkcs1(PhantomData);
pub(crate) const RS512: Pkcs1<Sha512> = Pkcs1(PhantomData);
pub(crate) const PS256: RsaPss<Sha256> = RsaPss(PhantomData);
pub(crate) const PS384: RsaPss<Sha384> = RsaPss(PhantomData);
pub(crate) const PS512: RsaPss<Sha512> = RsaPss(PhantomData);

/// A signature as long as its key's modulus.
pub(crate) struct RsaSignature(Box<[u8]>);

impl AlgorithmSignature for RsaSignature {
    fn try_from_slice(bytes: &[u8]) -> anyhow::Result<Self> {
        Ok(Self(bytes.into()))
    }

    fn as_bytes(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.0)
    }
}

fn pkcs1<D: Digest + AssociatedOid>(
    key: &RsaPublicKey,
    signed: &[u8],
    signature: &RsaSignature,
) -> bool {
    key.verify(Pkcs1v15Sign::new::<D>(), &D::digest(signed), &signature.0)
        .is_ok()
}

fn pss<D: Digest + FixedOutputReset>(
    key: &RsaPublicKey,
    signed: &[u8],
    signature: &RsaSignature,
) -> bool {
    key.verify(Pss::<D>::new(), &D::digest(signed), &signature.0)
        .is_ok()
}

verifies_only!(
    Pkcs1<Sha256>,
    RsaPublicKey,
    RsaSignature,
    "RS256",
    pkcs1::<Sha256>
);
verifies_only!(
    Pkcs1<Sha384>,
    RsaPublicKey,
    RsaSignature,
    "RS384",
    pkcs1::<Sha384>
);
verifies_only!(
    Pkcs1<Sha512>,
    RsaPublicKey,
    RsaSignature,
    "RS512",
    pkcs1::<Sha512>
);
verifies_only!(
    RsaPss<Sha256>,
    RsaPublicKey,
    RsaSignature,
    "PS256",
    pss::<Sha256>
);
verifies_only!(
    RsaPss<Sha384>,
    RsaPublicKey,
    RsaSignature,
    "PS384",
    pss::<Sha384>
);
verifies_only!(
    RsaPss<Sha512>,
    RsaPublicKey,
    RsaSignature,
    "PS512",
    pss::<Sha512>
);

/// ECDSA with signatures of r and s, one after the other (RFC 7518 section 3.4).
macro_rules! ecdsa {
    ($algorithm:ident, $signature:ident, $curve:ident, $name:literal, $length:literal) => {
        #[doc = concat!("ECDSA as ", $name, ".")]
        pub(crate) struct $algorithm;

        #[doc = concat!("r and s of ", $name, ".")]
        pub(crate) struct $signature($curve::ecdsa::Signature);

        impl AlgorithmSignature for $signature {
            const LENGTH: Option<NonZeroUsize> = NonZeroUsize::new($length);

            /// Fails where r or s is zero, or not below the curve's order.
            fn try_from_slice(bytes: &[u8]) -> anyhow::Result<Self> {
                Ok(Self($curve::ecdsa::Signature::from_slice(bytes)?))
            }

            fn as_bytes(&self) -> Cow<'_, [u8]> {
                Cow::Owned(self.0.to_bytes().to_vec())
            }
        }

        verifies_only!(
            $algorithm,
            $curve::ecdsa::VerifyingKey,
            $signature,
            $name,
            |key, signed, signature| key.verify(signed, &signature.0).is_ok()
        );
    };
}

ecdsa!(Es256, Es256Signature, p256, "ES256", 64);
ecdsa!(Es384, Es384Signature, p384, "ES384", 96);
ecdsa!(Es512, Es512Signature, p521, "ES512", 132);

/// Ed25519 (RFC 8037 section 3.1), without the signatures that several keys could have made.
pub(crate) struct EdDsa;

/// A signature of Ed25519.
pub(crate) struct Ed25519Signature(ed25519_dalek::Signature);

impl AlgorithmSignature for Ed25519Signature {
    const LENGTH: Option<NonZeroUsize> = NonZeroUsize::new(64);

    fn try_from_slice(bytes: &[u8]) -> anyhow::Result<Self> {
        Ok(Self(ed25519_dalek::Signature::from_slice(bytes)?))
    }

    fn as_bytes(&self) -> Cow<'_, [u8]> {
        Cow::Owned(self.0.to_bytes().to_vec())
    }
}

verifies_only!(
    EdDsa,
    Ed25519Key,
    Ed25519Signature,
    "EdDSA",
    |key, signed, signature| key.verify_strict(signed, &signature.0).is_ok()
);

/// Whether `key`'s owner made this signature over these bytes.
pub(crate) fn is_by<A: Algorithm>(
    algorithm: &A,
    key: &A::VerifyingKey,
    signed: &[u8],
    signature: &[u8],
) -> bool {
    // Implementations may rely on the length, and one of jwt-compact's panics on another.
    if A::Signature::LENGTH.is_some_and(|length| length.get() != signature.len()) {
        return false;
    }
    A::Signature::try_from_slice(signature)
        .is_ok_and(|signature| algorithm.verify_signature(&signature, key, signed))
}
