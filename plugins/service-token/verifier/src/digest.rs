//! `Content-Digest` (RFC 9530 section 2).

use std::fmt;

use sfv::{BareItem, Dictionary, ListEntry, Parser};
use sha2::{Digest as _, Sha256, Sha512};

/// Why a body is not taken for the one of a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DigestError {
    /// The value is no dictionary, or a digest in it is no byte sequence.
    Malformed,
    /// There is neither `sha-256` nor `sha-512`.
    Unknown,
    /// It is the digest of another body.
    Mismatch,
}

/// Whether a body is the one that `content-digest` is about. `value`: the header's, several lines
/// joined by commas. Each `sha-256` and `sha-512` in it must be the body's, and one of them must be
/// there; digests by other algorithms are passed over (RFC 9530 section 5).
///
/// It says something of where the body came from only if the signature covers the header:
/// [`Verified::covers`](crate::Verified::covers).
///
/// # Errors
/// [`DigestError`].
pub fn content_digest_matches(value: impl AsRef<[u8]>, body: &[u8]) -> Result<(), DigestError> {
    let digests: Dictionary = Parser::new(value.as_ref())
        .parse()
        .map_err(|_| DigestError::Malformed)?;
    let mut found = Err(DigestError::Unknown);
    for (algorithm, digest) in &digests {
        let of_body = match algorithm.as_str() {
            "sha-256" => Sha256::digest(body).to_vec(),
            "sha-512" => Sha512::digest(body).to_vec(),
            _ => continue,
        };
        let ListEntry::Item(digest) = digest else {
            return Err(DigestError::Malformed);
        };
        let BareItem::ByteSequence(digest) = &digest.bare_item else {
            return Err(DigestError::Malformed);
        };
        if *digest != of_body {
            return Err(DigestError::Mismatch);
        }
        found = Ok(());
    }
    found
}

impl fmt::Display for DigestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "content-digest can't be read",
            Self::Unknown => "content-digest has neither sha-256 nor sha-512",
            Self::Mismatch => "content-digest is that of another body",
        })
    }
}

impl std::error::Error for DigestError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9530 appendix B.1 and RFC 9421 appendix B.2.
    const OF_HELLO: &str = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:";
    const OF_HELLO_512: &str = "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:";
    const HELLO: &[u8] = br#"{"hello": "world"}"#;

    #[test]
    fn a_digest_is_of_one_body() {
        let both = format!("{OF_HELLO}, {OF_HELLO_512}");
        let other = format!("{OF_HELLO}, sha-512=:AAAA:");
        let beside = format!("md5=:AAAA:, {OF_HELLO};x=1");
        for (value, body, expected) in [
            (OF_HELLO, HELLO, Ok(())),
            (OF_HELLO_512, HELLO, Ok(())),
            (&both, HELLO, Ok(())),
            (&beside, HELLO, Ok(())),
            (&other, HELLO, Err(DigestError::Mismatch)),
            (OF_HELLO, b"", Err(DigestError::Mismatch)),
            (OF_HELLO_512, &HELLO[1..], Err(DigestError::Mismatch)),
            ("sha-256=::", b"", Err(DigestError::Mismatch)),
            ("md5=:AAAA:", HELLO, Err(DigestError::Unknown)),
            ("", HELLO, Err(DigestError::Unknown)),
            ("sha-256=X48E", HELLO, Err(DigestError::Malformed)),
            ("sha-256=(:AAAA:)", HELLO, Err(DigestError::Malformed)),
            ("sha-256", HELLO, Err(DigestError::Malformed)),
            ("SHA-256=:AAAA:", HELLO, Err(DigestError::Malformed)),
            ("sha-256=:AAAA", HELLO, Err(DigestError::Malformed)),
        ] {
            assert_eq!(content_digest_matches(value, body), expected, "{value}");
        }
    }
}
