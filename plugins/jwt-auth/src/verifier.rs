//! From untrusted bytes to a token whose signature is good (RFC 7515 section 5.2).
//!
//! What costs little is checked first: a flood of bad tokens does not cost a signature check each.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jwt_compact::alg::{Hs256, Hs256Key, Hs384, Hs384Key, Hs512, Hs512Key};
use jwt_compact::{Algorithm as SignatureAlgorithm, AlgorithmSignature as _};
use portcullis_policy::config::Secret;
use serde_json::Value;

use crate::config::Algorithm;
use crate::json;
use crate::refusal::{Reason, Refusal};

/// Longest token that is read, in bytes. Gateways take no more than that for all headers together
/// unless told to; tokens of two dozen claims stay under 2 KiB.
pub(crate) const LONGEST: usize = 8 * 1024;

/// How many keys are tried on a token that names none: what such a token can cost, in signature
/// checks. During a rotation there are two.
const MOST_TRIED: usize = 4;

/// A token that is well-formed. Nothing in it is to be believed.
pub(crate) struct UntrustedToken<'t> {
    signed: &'t [u8],
    signature: Vec<u8>,
    algorithm: Algorithm,
    kid: Option<String>,
    claims: Value,
}

/// The keys of a provider, and the algorithms that they serve.
pub(crate) struct KeySet {
    algorithms: Vec<Algorithm>,
    keys: Vec<Key>,
}

/// A key in the form that each algorithm wants it in.
pub(crate) struct Key {
    kid: Option<String>,
    hs256: Hs256Key,
    hs384: Hs384Key,
    hs512: Hs512Key,
}

impl<'t> UntrustedToken<'t> {
    /// Takes a token apart. `jwk`, `jku`, `x5c` and `x5u` are not looked at: keys come from the
    /// configuration and nowhere else.
    pub(crate) fn parse(token: &'t [u8]) -> Result<Self, Refusal<'static>> {
        if token.len() > LONGEST {
            return Err(Reason::TooLarge.into());
        }
        let segments = Segments::split(token).ok_or(Reason::Malformed)?;
        let header = json::parse_object(&decode(segments.header)?).ok_or(Reason::Malformed)?;
        let Some(Value::String(name)) = header.get("alg") else {
            return Err(Reason::Malformed.into());
        };
        let algorithm = Algorithm::from_name(name)
            .ok_or_else(|| Refusal::from(Reason::Algorithm).with_detail("alg", name))?;
        if header.get("crit").is_some() {
            return Err(Reason::CriticalHeader.into());
        }
        let kid = match header.get("kid") {
            None => None,
            Some(Value::String(kid)) => Some(kid.clone()),
            Some(_) => return Err(Reason::Malformed.into()),
        };
        Ok(Self {
            signed: segments.signed,
            signature: decode(segments.signature)?,
            algorithm,
            kid,
            claims: json::parse_object(&decode(segments.payload)?).ok_or(Reason::Malformed)?,
        })
    }

    /// Who says to have issued it.
    pub(crate) fn issuer(&self) -> Option<&str> {
        self.claims.get("iss")?.as_str()
    }
}

/// A token in compact serialization (RFC 7515 section 7.1).
struct Segments<'t> {
    /// Header and payload, and the dot between them.
    signed: &'t [u8],
    header: &'t [u8],
    payload: &'t [u8],
    signature: &'t [u8],
}

impl<'t> Segments<'t> {
    fn split(token: &'t [u8]) -> Option<Self> {
        let mut dots = token
            .iter()
            .enumerate()
            .filter_map(|(at, byte)| (*byte == b'.').then_some(at));
        let (first, second) = (dots.next()?, dots.next()?);
        if dots.next().is_some() {
            return None;
        }
        let (signed, signature) = token.split_at_checked(second)?;
        let (header, payload) = signed.split_at_checked(first)?;
        Some(Self {
            signed,
            header,
            payload: payload.strip_prefix(b".")?,
            signature: signature.strip_prefix(b".")?,
        })
    }
}

/// Base64url as RFC 7515 has it: no padding, no white space, no bits behind the last byte.
fn decode(segment: &[u8]) -> Result<Vec<u8>, Reason> {
    URL_SAFE_NO_PAD
        .decode(segment)
        .map_err(|_| Reason::Malformed)
}

impl KeySet {
    pub(crate) const fn new(algorithms: Vec<Algorithm>, keys: Vec<Key>) -> Self {
        Self { algorithms, keys }
    }

    /// The token's claims, once its signature is found to be by one of these keys.
    pub(crate) fn verify(&self, token: UntrustedToken<'_>) -> Result<Value, Refusal<'static>> {
        let algorithm = token.algorithm;
        if !self.algorithms.contains(&algorithm) {
            return Err(Refusal::from(Reason::Algorithm).with_detail("alg", algorithm.name()));
        }
        let signed = match &token.kid {
            Some(kid) => self
                .keys
                .iter()
                .find(|key| key.kid() == Some(kid))
                .ok_or_else(|| Refusal::from(Reason::UnknownKid).with_detail("kid", kid))?
                .has_signed(&token),
            None => self
                .keys
                .iter()
                .take(MOST_TRIED)
                .any(|key| key.has_signed(&token)),
        };
        if signed {
            return Ok(token.claims);
        }
        let refusal = Refusal::from(Reason::Signature);
        Err(match &token.kid {
            Some(kid) => refusal.with_detail("kid", kid),
            None => refusal,
        })
    }
}

impl Key {
    pub(crate) fn new(kid: Option<String>, secret: &Secret) -> Self {
        let secret = secret.as_bytes();
        Self {
            kid,
            hs256: secret.into(),
            hs384: secret.into(),
            hs512: secret.into(),
        }
    }

    pub(crate) fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    fn has_signed(&self, token: &UntrustedToken<'_>) -> bool {
        match token.algorithm {
            Algorithm::Hs256 => verify(&Hs256, &self.hs256, token),
            Algorithm::Hs384 => verify(&Hs384, &self.hs384, token),
            Algorithm::Hs512 => verify(&Hs512, &self.hs512, token),
        }
    }
}

fn verify<A: SignatureAlgorithm>(
    algorithm: &A,
    key: &A::VerifyingKey,
    token: &UntrustedToken<'_>,
) -> bool {
    // A signature of another length makes the crate below panic.
    if A::Signature::LENGTH.is_some_and(|length| length.get() != token.signature.len()) {
        return false;
    }
    A::Signature::try_from_slice(&token.signature)
        .is_ok_and(|signature| algorithm.verify_signature(&signature, key, token.signed))
}

#[cfg(test)]
#[path = "verifier_tests.rs"]
mod tests;
