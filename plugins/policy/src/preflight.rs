//! What a browser's preflight looks like (Fetch standard, section 4.8).

use crate::host;

/// Headers that no preflight has: credentials, and what a body is.
pub(crate) const NEVER_SENT: [&str; 4] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "content-type",
];

/// Whether that is an origin as a browser writes it: `null`, or scheme, host and port (RFC 6454 section 6.2).
pub(crate) fn is_origin(value: &[u8]) -> bool {
    if value == b"null" {
        return true;
    }
    let Some((scheme, host)) = std::str::from_utf8(value)
        .ok()
        .and_then(|value| value.split_once("://"))
    else {
        return false;
    };
    let mut letters = scheme.bytes();
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    letters
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic())
        && letters.all(fits)
        && host::parse(host.as_bytes()).is_ok()
}

/// Whether that is one method (RFC 9110 section 9.1).
pub(crate) fn is_method(value: &[u8]) -> bool {
    const LONGEST: usize = 32;
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    (1..=LONGEST).contains(&value.len()) && value.iter().all(is_token)
}
