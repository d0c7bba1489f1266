//! Words: names, headers, paths, variables.

use std::fmt;

use serde::de::{Deserializer, Error, Visitor};

use crate::config::refuse;
use crate::{CanonicalPath, spelled_like};

/// Implements `Deserialize` by the type's `parse(&str)`, whose error is a message, and its schema:
/// the type, what is expected in words, and the schema's own rules. The crate that uses it depends
/// on `serde`, and on `schemars` for its feature `schema`.
#[macro_export]
macro_rules! text_type {
    ($type:ident $(<const $bound:ident: $kind:ty>)?, $what:expr $(, $rule:literal: $value:tt)*) => {
        impl<'de $(, const $bound: $kind)?> serde::Deserialize<'de> for $type $(<$bound>)? {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::config::read_text(deserializer, $what, Self::parse)
            }
        }

        #[cfg(feature = "schema")]
        impl $(<const $bound: $kind>)? schemars::JsonSchema for $type $(<$bound>)? {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "description": $what $(, $rule: $value)* })
            }
        }
    };
}
pub use text_type;

/// Gives types around a `String` their text: `as_str`.
#[macro_export]
macro_rules! text_as_str {
    ($($type:ident),* $(,)?) => {$(
        impl $type {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
    )*};
}
pub use text_as_str;

/// Reads a text and makes `T` of it; `what` says in words what is expected.
///
/// # Errors
/// What `parse` says, or that there is no text.
pub fn read_text<'de, D: Deserializer<'de>, T, M: fmt::Display>(
    deserializer: D,
    what: &'static str,
    parse: fn(&str) -> Result<T, M>,
) -> Result<T, D::Error> {
    struct Text<T, M> {
        what: &'static str,
        parse: fn(&str) -> Result<T, M>,
    }
    impl<T, M: fmt::Display> Visitor<'_> for Text<T, M> {
        type Value = T;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.what)
        }
        fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
            (self.parse)(text).map_err(E::custom)
        }
        refuse!(number);
    }
    deserializer.deserialize_any(Text { what, parse })
}

/// A name that becomes a metric label: 1 to 64 of `a-z`, `0-9`, `_`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);
text_type!(Name, "a name of a-z, 0-9 and _, at most 64 characters", "pattern": "^[a-z0-9_]{1,64}$");

/// A header's name, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeaderName(String);
text_type!(HeaderName, "a header name", "pattern": "^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$");

/// The name of a header that a filter may write: not one that frames or routes the request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WritableHeader(String);
text_type!(
    WritableHeader,
    "a header name that does not frame or route the request",
    "pattern": "^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$"
);

/// A path in its canonical form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(String);
text_type!(Path, "a path that starts with / and has one reading only", "pattern": "^/");

/// The name of an environment variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvName(String);
text_type!(EnvName, "the name of an environment variable", "pattern": "^[A-Za-z_][A-Za-z0-9_]{0,127}$");

impl AsRef<str> for WritableHeader {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Name {
    fn parse(text: &str) -> Result<Self, String> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if (1..=64).contains(&text.len()) && text.bytes().all(fits) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "{text:?} is not a name; expected 1 to 64 of a-z, 0-9 and _"
        ))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl HeaderName {
    fn parse(text: &str) -> Result<Self, String> {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if (1..=128).contains(&text.len()) && text.bytes().all(token) {
            return Ok(Self(text.to_ascii_lowercase()));
        }
        Err(format!(
            "{text:?} is not a header name (RFC 9110 section 5.1)"
        ))
    }

    /// From text that is part of a longer configuration value.
    ///
    /// # Errors
    /// A message that names value and rule.
    pub fn from_text(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }

    /// A default; give it a name in lower case.
    #[must_use]
    pub fn known(name: &'static str) -> Self {
        Self(name.to_owned())
    }

    /// The name, in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl WritableHeader {
    /// Headers that decide where a request ends, where it goes or how it is forwarded.
    const FRAMING: [&'static str; 10] = [
        "host",
        "connection",
        "content-length",
        "content-type",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-forwarded-proto",
    ];
    /// What those begin with that a gateway takes for itself: its router obeys them, and takes them away.
    const GATEWAYS: &'static str = "x-envoy-";

    fn parse(text: &str) -> Result<Self, String> {
        let HeaderName(name) = HeaderName::parse(text)?;
        let begin = name.get(..Self::GATEWAYS.len()).unwrap_or_default();
        let is_the_gateways = spelled_like(begin.as_bytes(), Self::GATEWAYS);
        let mut framing = Self::FRAMING.iter();
        if is_the_gateways || framing.any(|framing| spelled_like(framing.as_bytes(), &name)) {
            return Err(format!(
                "{text:?} frames or routes the request and can't be written"
            ));
        }
        Ok(Self(name))
    }

    /// The name, in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Path {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Some(meant) = meant_by_pattern(text) {
            return Err(format!(
                "{text:?} is compared to the letter and would never match; expected {meant}"
            ));
        }
        match CanonicalPath::parse(text.as_bytes()) {
            Ok(path) if path.as_str() == text => Ok(Self(text.to_owned())),
            Ok(path) => Err(format!(
                "{text:?} is not in canonical form; requests are matched as {:?}",
                path.as_str()
            )),
            Err(reason) => Err(format!("{text:?} is not a path ({})", reason.as_str())),
        }
    }

    /// The path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What was meant by a path that is written as routers write patterns; `None` where it is a path. Nothing of that is a
/// part of a path in its canonical form, but for `*`, and for `:` at a segment's beginning.
fn meant_by_pattern(text: &str) -> Option<String> {
    let is_pattern = |part: &str| part.starts_with(':') || part.contains(['*', '{', '}', '<', '>']);
    if !text.split('/').any(is_pattern) {
        return None;
    }
    let below = text.trim_end_matches('*');
    if below.len() < text.len() && !below.split('/').any(is_pattern) {
        let prefix = match below.trim_end_matches('/') {
            "" => "/",
            prefix => prefix,
        };
        return Some(format!("`prefix: {prefix}`"));
    }
    let segment = |part: &str| {
        if !is_pattern(part) {
            return part.to_owned();
        }
        let word = |byte: char| byte.is_ascii_alphanumeric() || byte == '_';
        let name = part.trim_matches(|byte| !word(byte));
        let name = name.replace(|byte| !word(byte), "_");
        format!("{{{}}}", if name.is_empty() { "name" } else { &name })
    };
    let segments: Vec<String> = text.split('/').map(segment).collect();
    Some(format!("`template: {}`", segments.join("/")))
}

impl EnvName {
    fn parse(text: &str) -> Result<Self, String> {
        let first = text
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        let rest = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if first && rest && text.len() <= 128 {
            return Ok(Self(text.to_owned()));
        }
        // It may be the secret itself, written into the wrong field.
        Err("not the name of an environment variable; expected letters, digits and _".to_owned())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hyphen_is_not_part_of_a_name() {
        assert!(Name::parse("per_ip").is_ok());
        for wrong in ["per-ip", "", "Per_ip", "ä", &"a".repeat(65)] {
            assert!(Name::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn headers_are_tokens_and_those_that_frame_a_request_are_not_written() {
        assert_eq!(HeaderName::parse("X-User").unwrap().as_str(), "x-user");
        for wrong in ["", ":path", "a b", "a\r\n", "ä"] {
            assert!(HeaderName::parse(wrong).is_err(), "{wrong}");
        }
        for taken in [
            "Content-Length",
            "x-forwarded-proto",
            "X_Forwarded.Proto",
            "x-envoy-upstream-rq-timeout-ms",
            "x-envoy_retry-on",
        ] {
            assert!(WritableHeader::parse(taken).is_err(), "{taken}");
        }
        for free in ["x-envoy", "x-envoys-user", "x-user-id", "x-forwarded-user"] {
            assert!(WritableHeader::parse(free).is_ok(), "{free}");
        }
    }

    #[test]
    fn a_variable_name_that_is_a_secret_is_not_repeated() {
        assert!(
            !EnvName::parse("s3cr3t-value!")
                .unwrap_err()
                .contains("s3cr3t")
        );
    }

    #[test]
    fn a_path_is_written_as_it_is_matched() {
        assert!(Path::parse("/api/v1").is_ok());
        assert!(
            Path::parse("/api/%7Euser")
                .unwrap_err()
                .contains("/api/~user")
        );
        assert!(Path::parse("/api/../x").is_err());
        assert!(Path::parse("/api?x").is_err());
    }
}
