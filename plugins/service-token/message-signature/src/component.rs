//! What of a request can be covered by a signature (RFC 9421 section 2).

use std::fmt;

/// A covered component of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Component {
    /// `@method` (section 2.2.1).
    Method,
    /// `@authority` (section 2.2.3).
    Authority,
    /// `@path` (section 2.2.6): as it was sent, without the query.
    Path,
    /// `@query` (section 2.2.7): with its question mark, which stands alone where there is none.
    Query,
    /// A header field (section 2.1), by its name in lower case.
    Field(String),
}

/// Not a component that this crate covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownComponent;

impl Component {
    /// By its identifier, without quotes: `@path`, `content-digest`.
    ///
    /// # Errors
    /// [`UnknownComponent`]: another derived component, or no name of a field in lower case.
    pub fn parse(identifier: &str) -> Result<Self, UnknownComponent> {
        match identifier {
            "@method" => Ok(Self::Method),
            "@authority" => Ok(Self::Authority),
            "@path" => Ok(Self::Path),
            "@query" => Ok(Self::Query),
            name if !name.is_empty() && name.bytes().all(is_lower_token) => {
                Ok(Self::Field(name.to_owned()))
            }
            _ => Err(UnknownComponent),
        }
    }

    /// Its identifier, without quotes.
    #[must_use]
    pub fn identifier(&self) -> &str {
        match self {
            Self::Method => "@method",
            Self::Authority => "@authority",
            Self::Path => "@path",
            Self::Query => "@query",
            Self::Field(name) => name,
        }
    }
}

/// A character of a field's name (RFC 9110 section 5.6.2), in lower case.
fn is_lower_token(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

impl fmt::Display for UnknownComponent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "expected @method, @authority, @path, @query or the name of a header in lower case",
        )
    }
}

impl std::error::Error for UnknownComponent {}
