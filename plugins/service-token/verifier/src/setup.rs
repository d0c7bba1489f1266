//! What can be wrong with what a verifier is made from.

use std::fmt;

/// Why there is no verifier. It names ids and rules, never a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SetupError {
    /// No secret at all.
    NoSecret,
    /// More secrets than a rotation could need.
    TooManySecrets {
        /// How many there may be.
        most: usize,
    },
    /// An id that is not 1 to 64 of letters, digits, `-`, `.` and `_`.
    InvalidId,
    /// Two secrets of one id.
    RepeatedId {
        /// Their id.
        id: String,
    },
    /// A secret without a byte.
    EmptySecret {
        /// Its id.
        id: String,
    },
    /// A secret that could be guessed.
    ShortSecret {
        /// Its id.
        id: String,
        /// How many bytes it has.
        length: usize,
        /// How many it must have.
        shortest: usize,
    },
    /// A secret that is to be compared with a header, and can't stand in one as it is.
    NotVisibleAscii {
        /// Its id.
        id: String,
    },
    /// No issuer to expect.
    EmptyIssuer,
    /// Nothing to be covered: the signature of another request would do.
    NoComponent,
    /// Not `@method`, `@authority`, `@path`, `@query` or the name of a header in lower case.
    UnknownComponent {
        /// As it was written.
        component: String,
    },
    /// Something that each request has, where a header is expected.
    NotAHeader {
        /// As it was written.
        component: String,
    },
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSecret => f.write_str("expected at least one secret"),
            Self::TooManySecrets { most } => write!(f, "expected at most {most} secrets"),
            Self::InvalidId => {
                f.write_str("not an id; expected 1 to 64 of letters, digits, -, . and _")
            }
            Self::RepeatedId { id } => write!(f, "{id} is the id of two secrets"),
            Self::EmptySecret { id } => write!(f, "the secret {id} is empty"),
            Self::ShortSecret {
                id,
                length,
                shortest,
            } => write!(
                f,
                "the secret {id} has {length} bytes; expected at least {shortest}"
            ),
            Self::NotVisibleAscii { id } => write!(
                f,
                "the secret {id} is sent as a header and must be visible ASCII"
            ),
            Self::EmptyIssuer => f.write_str("expected the name of an issuer"),
            Self::NoComponent => f.write_str("expected at least one component to be covered"),
            Self::UnknownComponent { component } => write!(
                f,
                "{component:?} can't be covered; expected @method, @authority, @path, @query or \
                 the name of a header in lower case"
            ),
            Self::NotAHeader { component } => write!(f, "{component:?} is not a header"),
        }
    }
}

impl std::error::Error for SetupError {}
