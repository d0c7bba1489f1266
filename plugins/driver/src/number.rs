//! Numbers in headers.

/// A header's value that is a number in decimal digits.
#[must_use]
pub fn number<N: std::str::FromStr>(digits: &[u8]) -> Option<N> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}
