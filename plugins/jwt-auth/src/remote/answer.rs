//! What an issuer answered.

use portcullis_policy::{BodyError, CallReply};

use crate::discovery::{self, Location, NoKeySet};
use crate::jwks::{self, Jwks, NoJwks, SkippedKey};

use super::source::Source;

/// What came of a fetch.
macro_rules! results {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// What came of a fetch.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum FetchResult { $($(#[$doc])* $name,)* }

        impl FetchResult {
            /// All of them, each by its index.
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)*];

            /// A fixed word for logs and metrics.
            pub(crate) const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }
        }
    };
}

results! {
    /// A set of keys.
    Ok = "ok",
    /// No answer: no connection, no answer in time; or a gateway's word for that (502, 503, 504).
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
    /// The gateway knows no such upstream.
    NoSuchUpstream = "no_such_upstream",
}

/// A fetch that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) result: FetchResult,
    /// What whoever mends it wants to know, each by a fixed word.
    pub(crate) details: Vec<(&'static str, String)>,
    /// The keys of a set in which there is none that can be used.
    pub(crate) skipped: Vec<SkippedKey>,
}

impl From<FetchResult> for Failure {
    fn from(result: FetchResult) -> Self {
        Self {
            result,
            details: Vec::new(),
            skipped: Vec::new(),
        }
    }
}

impl Failure {
    fn with(mut self, word: &'static str, value: impl Into<String>) -> Self {
        self.details.push((word, value.into()));
        self
    }
}

/// Where the description says that the set is.
pub(super) fn read_description(
    reply: &dyn CallReply,
    source: &Source,
) -> Result<Location, Failure> {
    let document = read_body(reply, discovery::LARGEST, source.upstream(0))?;
    let hosts = source.authorities();
    let found = discovery::find_key_set(&document, &source.issuer, hosts, source.scheme);
    found.map_err(|fault| match fault {
        NoKeySet::Malformed => FetchResult::Malformed.into(),
        NoKeySet::IssuerMismatch(theirs) => Failure::from(FetchResult::IssuerMismatch)
            .with("expected", source.issuer.as_str())
            .with("found", theirs),
        NoKeySet::ForeignKeys(uri) => Failure::from(FetchResult::ForeignKeys).with("jwks_uri", uri),
    })
}

/// The set, from the host of that index.
pub(super) fn read_keys(
    reply: &dyn CallReply,
    source: &Source,
    host: usize,
) -> Result<Jwks, Failure> {
    let document = read_body(reply, jwks::LARGEST, source.upstream(host))?;
    Jwks::parse(&document).map_err(|fault| match fault {
        NoJwks::TooLarge => FetchResult::TooLarge.into(),
        NoJwks::Malformed => FetchResult::Malformed.into(),
        NoJwks::NoUsableKey(skipped) => Failure {
            skipped,
            ..FetchResult::NoUsableKey.into()
        },
    })
}

fn read_body(reply: &dyn CallReply, longest: usize, upstream: &str) -> Result<Vec<u8>, Failure> {
    let failed = |result| Failure::from(result).with("upstream", upstream);
    if reply.has_no_upstream() {
        return Err(failed(FetchResult::NoSuchUpstream));
    }
    match reply.status() {
        Some(200) => {}
        // Envoy answers so itself where the issuer does not.
        Some(502..=504) | None => return Err(failed(FetchResult::Unreachable)),
        Some(status) => {
            return Err(failed(FetchResult::Status).with("status", status.to_string()));
        }
    }
    reply.body(longest).map_err(|error| {
        failed(match error {
            BodyError::TooLong => FetchResult::TooLarge,
            BodyError::Unavailable => FetchResult::Unreachable,
        })
    })
}
