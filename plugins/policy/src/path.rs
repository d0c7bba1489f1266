//! The canonical form of a request path, and the paths that have none.
//!
//! Two parsers that read one path differently are how an access rule is walked around: the
//! gateway sees `/public/..%2fadmin`, the backend serves `/admin`. So a path is brought to one
//! form (RFC 3986 section 6.2.2: what means the same is decoded, hex digits in upper case) and one
//! that could still be read in two ways is not a path at all.

use std::borrow::Cow;
use std::fmt::Write as _;

/// A path without its query, in the one form that rules are matched against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanonicalPath<'a>(Cow<'a, str>);

/// Why a path has no canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AmbiguousPath {
    /// It does not start with `/`.
    NotAbsolute,
    /// `.` or `..` as a segment, spelled out, encoded, or with a path parameter behind it.
    DotSegment,
    /// `//`.
    EmptySegment,
    /// `%2f` or `%5c`.
    EncodedSeparator,
    /// `;`, spelled out or encoded: servlet containers cut it off a segment with all behind it.
    PathParameter,
    /// `\`, `#`, a space, a control character or a byte outside of ASCII; or a control character or the
    /// end of a line that is encoded, before which the `$` of a router's pattern matches, too.
    ForbiddenByte,
    /// `%` without two hex digits, or `%00`.
    InvalidEncoding,
}

impl AmbiguousPath {
    /// A fixed word for logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotAbsolute => "not_absolute",
            Self::DotSegment => "dot_segment",
            Self::EmptySegment => "empty_segment",
            Self::EncodedSeparator => "encoded_separator",
            Self::PathParameter => "path_parameter",
            Self::ForbiddenByte => "forbidden_byte",
            Self::InvalidEncoding => "invalid_encoding",
        }
    }
}

impl<'a> CanonicalPath<'a> {
    /// Brings the path of a request target to its canonical form; a query is cut off.
    ///
    /// # Errors
    /// [`AmbiguousPath`] when two parsers could read it differently.
    pub fn parse(target: &'a [u8]) -> Result<Self, AmbiguousPath> {
        let path = match target.iter().position(|byte| *byte == b'?') {
            Some(query) => target.get(..query).unwrap_or_default(),
            None => target,
        };
        if path.first() != Some(&b'/') {
            return Err(AmbiguousPath::NotAbsolute);
        }
        let canonical = decode_unreserved(path)?;
        check_segments(&canonical)?;
        check_encoded(&canonical)?;
        Ok(Self(canonical))
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path without a slash at its end: to most backends the same.
    #[must_use]
    pub fn without_slash_at_end(&self) -> &str {
        without_slash_at_end(&self.0)
    }
}

/// A path without a slash at its end; `/` stays.
pub(crate) fn without_slash_at_end(path: &str) -> &str {
    match path.strip_suffix('/') {
        Some("") | None => path,
        Some(rest) => rest,
    }
}

/// What a path holds encoded only (RFC 3986 section 3.3), and clients send bare all the same: both mean one path.
const NEVER_BARE: [char; 10] = ['"', '<', '>', '[', ']', '^', '`', '{', '|', '}'];

fn decode_unreserved(path: &[u8]) -> Result<Cow<'_, str>, AmbiguousPath> {
    if path
        .iter()
        .any(|byte| !byte.is_ascii_graphic() || matches!(byte, b'\\' | b'#'))
    {
        return Err(AmbiguousPath::ForbiddenByte);
    }
    // Only ASCII is left, so this can't fail.
    let text = std::str::from_utf8(path).map_err(|_| AmbiguousPath::ForbiddenByte)?;
    let other = |byte: char| byte == '%' || NEVER_BARE.contains(&byte);
    if !text.contains(other) {
        return Ok(Cow::Borrowed(text));
    }
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(other) {
        let (before, from) = rest.split_at(at);
        decoded.push_str(before);
        let Some(encoded) = from.strip_prefix('%') else {
            let (bare, after) = from.split_at(1);
            for byte in bare.bytes() {
                // Writing into a String does not fail.
                let _ = write!(decoded, "%{byte:02X}");
            }
            rest = after;
            continue;
        };
        let digits = encoded.get(..2).ok_or(AmbiguousPath::InvalidEncoding)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(AmbiguousPath::InvalidEncoding);
        }
        let byte = u8::from_str_radix(digits, 16).map_err(|_| AmbiguousPath::InvalidEncoding)?;
        match byte {
            0 => return Err(AmbiguousPath::InvalidEncoding),
            b'/' | b'\\' => return Err(AmbiguousPath::EncodedSeparator),
            // Not reserved at all, or of no meaning within a segment (RFC 3986 section 3.3): routers
            // decode them before they match.
            b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+'
            | b',' | b';' | b'=' | b':' | b'@' => decoded.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => decoded.push(char::from(byte)),
            _ => {
                decoded.push('%');
                decoded.push_str(&digits.to_ascii_uppercase());
            }
        }
        rest = encoded.get(2..).unwrap_or_default();
    }
    decoded.push_str(rest);
    Ok(Cow::Owned(decoded))
}

/// Refuses what is encoded and no text: the controls of ASCII and of Latin-1, and Unicode's ends of lines and paragraphs.
/// Python's `$` matches before a line feed at the end, Java's before any of these, so that `/admin%0A` is their `/admin`.
fn check_encoded(path: &str) -> Result<(), AmbiguousPath> {
    const CONTROLS: [&str; 5] = ["%0", "%1", "%7F", "%C2%8", "%C2%9"];
    const ENDS: [&str; 2] = ["%E2%80%A8", "%E2%80%A9"];
    let mut forbidden = CONTROLS.iter().chain(&ENDS);
    match path.contains('%') && forbidden.any(|encoded| path.contains(encoded)) {
        true => Err(AmbiguousPath::ForbiddenByte),
        false => Ok(()),
    }
}

fn check_segments(path: &str) -> Result<(), AmbiguousPath> {
    let segments = path.as_bytes().strip_prefix(b"/");
    let segments = segments.ok_or(AmbiguousPath::NotAbsolute)?;
    let mut segments = segments.split(|byte| *byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        // Servlet containers cut `;…` off a segment before they resolve dots: `/..;/` is `/../`.
        if let [b'.'] | [b'.', b'.'] | [b'.', b';', ..] | [b'.', b'.', b';', ..] = segment {
            return Err(AmbiguousPath::DotSegment);
        }
        if segment.is_empty() && segments.peek().is_some() {
            return Err(AmbiguousPath::EmptySegment);
        }
        if segment.contains(&b';') {
            return Err(AmbiguousPath::PathParameter);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(path: &str) -> Result<String, AmbiguousPath> {
        CanonicalPath::parse(path.as_bytes()).map(|path| path.as_str().to_owned())
    }

    #[test]
    fn unreserved_characters_are_decoded_and_the_query_is_cut() {
        assert_eq!(canonical("/a/%7Eb/%41?x=//..").as_deref(), Ok("/a/~b/A"));
        assert_eq!(canonical("/a%20b/%c3%a4").as_deref(), Ok("/a%20b/%C3%A4"));
        assert_eq!(canonical("/%252e%252e/").as_deref(), Ok("/%252e%252e/"));
        assert_eq!(canonical("/").as_deref(), Ok("/"));
        assert_eq!(canonical("/a/").as_deref(), Ok("/a/"));
        assert_eq!(canonical("/%250a").as_deref(), Ok("/%250a"));
        assert_eq!(
            canonical("/%C2%A0%E2%80%AA").as_deref(),
            Ok("/%C2%A0%E2%80%AA")
        );
        assert_eq!(canonical("/a%3Ab%2c/%40").as_deref(), Ok("/a:b,/@"));
        assert_eq!(
            canonical("/a[b]/{c}%5b").as_deref(),
            Ok("/a%5Bb%5D/%7Bc%7D%5B")
        );
    }

    #[test]
    fn a_path_that_two_parsers_could_read_differently_has_no_canonical_form() {
        use AmbiguousPath::*;
        for (path, reason) in [
            ("", NotAbsolute),
            ("*", NotAbsolute),
            ("http://host/a", NotAbsolute),
            ("/a/../b", DotSegment),
            ("/a/.", DotSegment),
            ("/a/%2e%2E/b", DotSegment),
            ("/a/..;/b", DotSegment),
            ("/a/.;x=1/b", DotSegment),
            ("/a;v=1/b", PathParameter),
            ("/a%3bx", PathParameter),
            ("//a", EmptySegment),
            ("/a//", EmptySegment),
            ("/a%2fb", EncodedSeparator),
            ("/a%5Cb", EncodedSeparator),
            ("/a\\b", ForbiddenByte),
            ("/a#b", ForbiddenByte),
            ("/a b", ForbiddenByte),
            ("/a\u{e4}", ForbiddenByte),
            ("/a\0", ForbiddenByte),
            ("/a%00", InvalidEncoding),
            ("/admin%0a", ForbiddenByte),
            ("/admin%0D", ForbiddenByte),
            ("/u/1%09/x", ForbiddenByte),
            ("/a%1f", ForbiddenByte),
            ("/a%7F", ForbiddenByte),
            ("/a%c2%85", ForbiddenByte),
            ("/a%C2%9F", ForbiddenByte),
            ("/a%E2%80%a8", ForbiddenByte),
            ("/a%E2%80%A9", ForbiddenByte),
            ("/a%", InvalidEncoding),
            ("/a%4", InvalidEncoding),
            ("/a%zz", InvalidEncoding),
            ("/a%+4", InvalidEncoding),
        ] {
            assert_eq!(canonical(path), Err(reason), "{path}");
        }
    }
}
