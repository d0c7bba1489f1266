//! What an issuer answered.

use portcullis_policy::{BodyError, CallReply};

use crate::config::Target;
use crate::discovery::{self, NoKeySet};
use crate::jwks::{self, Jwks, NoJwks};

use super::source::Source;

/// What came of a fetch.
macro_rules! results {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// What came of a fetch.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum FetchResult { $($(#[$doc])* $name,)* }

        impl FetchResult {
            /// All of them, each at its place.
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)*];

            /// A fixed word for logs and metrics.
            pub(crate) const fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }
        }
    };
}

results! {
    /// A set of keys.
    Ok = "ok",
    /// No answer: no connection, no such upstream, no answer in time; or a gateway's word for that
    /// (502, 503, 504).
    Unreachable = "unreachable",
    /// An answer with another status than 200. Redirects are not followed.
    Status = "status",
    /// A document larger than any that is read, or with more keys.
    TooLarge = "too_large",
    /// Not JSON, not strictly so, or not what was asked for.
    Malformed = "malformed",
    /// A set without a key that can be used.
    NoUsableKey = "no_usable_key",
    /// A description of another issuer.
    IssuerMismatch = "issuer_mismatch",
    /// A description whose keys lie on another host than the one that was asked.
    ForeignKeys = "foreign_jwks_uri",
}

/// Where the description says that the set is.
pub(super) fn read_description(
    reply: &dyn CallReply,
    source: &Source,
) -> Result<Target, FetchResult> {
    let document = read_body(reply, discovery::LARGEST)?;
    discovery::key_set_path(&document, &source.issuer, &source.authority, source.scheme).map_err(
        |fault| match fault {
            NoKeySet::Malformed => FetchResult::Malformed,
            NoKeySet::IssuerMismatch => FetchResult::IssuerMismatch,
            NoKeySet::ForeignKeys => FetchResult::ForeignKeys,
        },
    )
}

/// The set.
pub(super) fn read_keys(reply: &dyn CallReply) -> Result<Jwks, FetchResult> {
    let document = read_body(reply, jwks::LARGEST)?;
    Jwks::parse(&document).map_err(|fault| match fault {
        NoJwks::TooLarge => FetchResult::TooLarge,
        NoJwks::Malformed => FetchResult::Malformed,
        NoJwks::NoUsableKey => FetchResult::NoUsableKey,
    })
}

fn read_body(reply: &dyn CallReply, longest: usize) -> Result<Vec<u8>, FetchResult> {
    match reply.status() {
        Some(200) => {}
        // Envoy answers so itself where the issuer does not.
        Some(502..=504) | None => return Err(FetchResult::Unreachable),
        Some(_) => return Err(FetchResult::Status),
    }
    reply.body(longest).map_err(|error| match error {
        BodyError::TooLong => FetchResult::TooLarge,
        BodyError::Unavailable => FetchResult::Unreachable,
    })
}
