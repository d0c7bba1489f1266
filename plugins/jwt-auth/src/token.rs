//! A token taken apart (RFC 7515 section 7.1). Nothing in it is to be believed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::config::Algorithm;
use crate::json;
use crate::refusal::{Reason, Refusal};

/// Longest token that is read, in bytes. Gateways take no more than that for all headers together
/// unless told to; tokens of two dozen claims stay under 2 KiB.
pub(crate) const LONGEST: usize = 8 * 1024;

/// A token that is well-formed.
pub(crate) struct UntrustedToken<'t> {
    /// All of it, as it came.
    pub(crate) whole: &'t [u8],
    /// Header and payload, and the dot between them.
    pub(crate) signed: &'t [u8],
    /// The payload, in base64url.
    pub(crate) payload: &'t [u8],
    pub(crate) signature: Vec<u8>,
    pub(crate) algorithm: Algorithm,
    pub(crate) kid: Option<String>,
    /// A JSON object.
    pub(crate) claims: Value,
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
            whole: token,
            signed: segments.signed,
            payload: segments.payload,
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

/// A token in compact serialization.
struct Segments<'t> {
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
