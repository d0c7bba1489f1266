//! How limits are counted that several gateways share.

use portcullis_policy::Span;

use crate::config::EngineName;
use crate::sizing::Sizing;

/// What is the same for all of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lending {
    pub(crate) engine: EngineName,
    /// Whether a request waits for what is not known.
    pub(crate) waits: bool,
    pub(crate) sizing: Sizing,
    /// The part of each quota that a gateway admits by itself while the engine is away, in millionths.
    pub(crate) local_share: Option<u32>,
}

/// How a limit is counted there.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// The limit's name.
    pub(crate) limit: String,
    pub(crate) quota: u32,
    pub(crate) window: Span,
    pub(crate) method: Method,
}

/// The algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// Fixed windows: a lease is good until its window ends.
    Window,
    /// A token bucket.
    Bucket {
        /// What it holds there.
        capacity: u32,
        /// How long a lease is good.
        lease: Span,
    },
}
