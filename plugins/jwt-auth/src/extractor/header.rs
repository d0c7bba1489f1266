//! Tokens in a header (RFC 6750 section 2.1).

use portcullis_policy::Headers;

use super::SeveralTokens;

/// The token in the header `name`, and whose it may be.
///
/// `schemes` are told apart by the word before the token; one without a word takes the whole value,
/// and comes last.
pub(super) fn find<'a, T: ?Sized>(
    headers: &'a Headers,
    name: &str,
    schemes: impl Iterator<Item = (Option<&'a str>, &'a T)>,
) -> Result<Option<(&'a [u8], &'a T)>, SeveralTokens> {
    let mut lines = headers.spelled_like(name);
    let Some((sent, value)) = lines.next() else {
        return Ok(None);
    };
    if lines.next().is_some() {
        return Err(SeveralTokens);
    }
    // Where a gateway can't remove a header, it passes empty.
    if value.is_empty() {
        return Ok(None);
    }
    // We would not find the token, and a backend that takes `_` for `-` would.
    if !sent.eq_ignore_ascii_case(name.as_bytes()) {
        return Err(SeveralTokens);
    }
    let mut schemes = schemes;
    Ok(schemes.find_map(|(scheme, whose)| {
        let token = match scheme {
            Some(scheme) => behind_scheme(value, scheme)?,
            None => value,
        };
        Some((token, whose))
    }))
}

/// What stands behind `scheme` and spaces (RFC 9110 section 11.4); `None` behind any other scheme.
fn behind_scheme<'a>(value: &'a [u8], scheme: &str) -> Option<&'a [u8]> {
    let (word, rest) = value.split_at_checked(scheme.len())?;
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    let ours = word.eq_ignore_ascii_case(scheme.as_bytes());
    // Whatever ends the word but a space is no part of a token: it is found, and malformed.
    let ends = rest.first().is_none_or(|byte| !is_word(*byte));
    (ours && ends).then(|| rest.get(spaces..).unwrap_or_default())
}

/// A byte that a scheme's name may have (RFC 9110 section 5.6.2).
const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}
