//! A token taken apart (RFC 7515 section 7.1). Nothing in it is to be believed.

use serde_json::Value;

use crate::base64url;
use crate::config::{Algorithm, Padding};
use crate::json;
use crate::refusal::{Reason, Refusal};

/// Longest token that is ever read, in bytes; a configuration may say less, and by default does.
/// Tokens of two dozen claims stay under 2 KiB; those with hundreds of groups come near to this.
pub(crate) const LONGEST: usize = 64 * 1024;

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
    /// What kind of token it is (RFC 7515 section 4.1.9), where that is a text.
    pub(crate) typ: Option<String>,
    /// Whether a segment ends with `=`.
    pub(crate) padded: bool,
    /// A JSON object.
    pub(crate) claims: Value,
}

impl<'t> UntrustedToken<'t> {
    /// Takes a token apart. `jwk`, `jku`, `x5c` and `x5u` are not looked at: keys come from the
    /// configuration and nowhere else.
    pub(crate) fn parse(token: &'t [u8], padding: Padding) -> Result<Self, Refusal<'static>> {
        if token.len() > LONGEST {
            return Err(Reason::TooLarge.into());
        }
        let segments = Segments::split(token).ok_or(Reason::Malformed)?;
        let padded = segments.are_padded();
        let decode = |segment: &[u8]| {
            let decoded = match padding {
                Padding::Refuse => base64url::decode(segment),
                Padding::Accept => base64url::decode_padded(segment),
            };
            decoded.ok_or(Reason::Malformed)
        };
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
            typ: header.get("typ").and_then(Value::as_str).map(str::to_owned),
            padded,
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

    fn are_padded(&self) -> bool {
        let mut segments = [self.header, self.payload, self.signature].into_iter();
        segments.any(|segment| segment.ends_with(b"="))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_that_is_read_is_read() {
        for (longer, reason) in [(0, Reason::Malformed), (1, Reason::TooLarge)] {
            let token = vec![b'a'; LONGEST + longer];
            let refusal = UntrustedToken::parse(&token, Padding::Refuse).err();
            assert_eq!(refusal.map(|refusal| refusal.reason), Some(reason));
        }
    }
}
