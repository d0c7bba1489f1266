//! Words of a configuration, each a type that can't hold a wrong one.

use portcullis_policy::config::{text_as_str, text_type};

/// What an issuer, an audience or a key is called: 1 to 512 bytes, no control character among
/// them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identifier(String);
text_type!(Identifier, "a text of 1 to 512 bytes", "minLength": 1, "maxLength": 512);

/// An authentication scheme (RFC 9110 section 11.1).
#[derive(Clone, Debug)]
pub struct Scheme(String);
text_type!(Scheme, "an authentication scheme", "pattern": "^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,32}$");

/// A realm: visible ASCII and spaces, none of which a quoted string would escape.
#[derive(Clone, Debug)]
pub struct Realm(String);
text_type!(Realm, "a realm", "pattern": "^[ !#-\\[\\]-~]{1,64}$");

/// A scope (RFC 6749 section 3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope(String);
text_type!(Scope, "a scope", "pattern": "^[!#-\\[\\]-~]{1,128}$");

/// The name of a cookie or of a query parameter: no character in it that either has a use for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterName(String);
text_type!(
    ParameterName,
    "a cookie's or query parameter's name",
    "pattern": "^[A-Za-z0-9_.-]{1,64}$"
);

/// A kind of token, as its header's `typ` says (RFC 7515 section 4.1.9): a media type, in lower
/// case, without `application/` where that may be left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenType(String);
text_type!(
    TokenType,
    "a token's type, such as at+jwt",
    "pattern": "^[A-Za-z0-9!#$&^_.+/-]{1,128}$"
);

/// A path and query that is asked for: begins with a slash, visible ASCII.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target(String);
text_type!(Target, "a path that begins with /", "pattern": "^/[!-~]{0,1023}$");

text_as_str!(
    Identifier,
    Scheme,
    Realm,
    Scope,
    ParameterName,
    TokenType,
    Target
);

impl Identifier {
    fn parse(text: &str) -> Result<Self, String> {
        if (1..=512).contains(&text.len()) && !text.contains(char::is_control) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "{text:?} does not fit; expected 1 to 512 bytes without control characters"
        ))
    }
}

impl Scheme {
    fn parse(text: &str) -> Result<Self, String> {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if (1..=32).contains(&text.len()) && text.bytes().all(token) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "{text:?} is not an authentication scheme; expected one such as Bearer"
        ))
    }
}

impl Realm {
    fn parse(text: &str) -> Result<Self, String> {
        let plain = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
        if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "{text:?} is not a realm; expected 1 to 64 of visible ASCII and spaces, without \" and \\"
        ))
    }
}

impl Default for Realm {
    fn default() -> Self {
        Self("portcullis".to_owned())
    }
}

impl Scope {
    fn parse(text: &str) -> Result<Self, String> {
        let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
        if (1..=128).contains(&text.len()) && text.bytes().all(plain) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "{text:?} is not a scope; expected 1 to 128 of visible ASCII, without \" and \\"
        ))
    }
}

impl ParameterName {
    fn parse(text: &str) -> Result<Self, String> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "{text:?} is not a name; expected 1 to 64 of A-Z, a-z, 0-9, _, . and -"
        ))
    }
}

impl TokenType {
    /// The type that a token's header names.
    pub(crate) fn from_header(text: &str) -> Self {
        let lower = text.to_ascii_lowercase();
        let short = lower.strip_prefix("application/");
        let short = short.filter(|rest| !rest.is_empty() && !rest.contains('/'));
        Self(short.unwrap_or(&lower).to_owned())
    }

    fn parse(text: &str) -> Result<Self, String> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&^_.+-/".contains(&byte);
        if (1..=128).contains(&text.len()) && text.bytes().all(plain) {
            return Ok(Self::from_header(text));
        }
        Err(format!(
            "{text:?} is not a token's type; expected one such as at+jwt"
        ))
    }
}

impl Target {
    fn parse(text: &str) -> Result<Self, String> {
        let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
        if text.starts_with('/') && text.len() <= 1024 && text.bytes().all(plain) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "{text:?} is not a path; expected one that begins with / and has no #"
        ))
    }

    /// From another document than a configuration.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        Self::parse(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_the_same_in_any_case_and_with_application_before_it() {
        let at_jwt = TokenType::parse("at+jwt").unwrap();
        for same in [
            "at+jwt",
            "AT+JWT",
            "application/at+jwt",
            "Application/At+Jwt",
        ] {
            assert_eq!(TokenType::from_header(same), at_jwt, "{same}");
            assert_eq!(TokenType::parse(same), Ok(at_jwt.clone()), "{same}");
        }
        for other in [
            "jwt",
            "at+jwt ",
            "application/application/at+jwt",
            "text/at+jwt",
            "application/",
            "",
        ] {
            assert_ne!(TokenType::from_header(other), at_jwt, "{other:?}");
        }
        for wrong in ["", "at jwt", "at+jwt;q=1", "\u{e4}", &"a".repeat(129)] {
            assert!(TokenType::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_realm_and_a_scope_need_no_escaping_in_a_quoted_string() {
        assert!(Realm::parse("rag api").is_ok() && Scope::parse("rag:read").is_ok());
        for wrong in ["", "a\"b", "a\\b", "a\r\nb", "ä", &"a".repeat(129)] {
            assert!(Realm::parse(wrong).is_err(), "{wrong:?}");
            assert!(Scope::parse(wrong).is_err(), "{wrong:?}");
        }
        assert!(Scope::parse("a b").is_err(), "two scopes are not one");
    }
}
