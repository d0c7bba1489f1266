//! HTTP calls that a policy asks the gateway to make.

use crate::Span;

/// Most calls of one filter that are under way at a time: one for each key set of any configuration
/// that is known. Where there are more, they wait for each other.
pub const MOST_CALLS: usize = 16;

/// What a policy calls a call of its own. No two that are under way have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallId(pub u32);

/// An HTTP request of the gateway's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCall {
    /// `:method`.
    pub method: &'static str,
    /// Who is asked: on Envoy a cluster's name, on Kong `host:port`.
    pub upstream: String,
    /// `:scheme`: on Kong it decides whether there is TLS.
    pub scheme: &'static str,
    /// `:authority`.
    pub authority: String,
    /// `:path`, query included.
    pub path: String,
    /// Its other headers, names in lower case.
    pub headers: Vec<(&'static str, &'static str)>,
    /// Its body; empty where it has none.
    pub body: Vec<u8>,
    /// How long the answer may take.
    pub timeout: Span,
}

/// What came of a call.
pub trait CallReply {
    /// The answer's status; `None` when there was no answer.
    fn status(&self) -> Option<u16>;

    /// The answer's body.
    ///
    /// # Errors
    /// [`BodyError`].
    fn body(&self, longest: usize) -> Result<Vec<u8>, BodyError>;

    /// The first value of an answer's header.
    fn header(&self, name: &str) -> Option<Vec<u8>>;

    /// Whether nobody was asked, since the gateway knows no such upstream.
    fn has_no_upstream(&self) -> bool {
        false
    }
}

/// Why a body is not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// It is longer than was asked for. None of it was read.
    TooLong,
    /// The gateway failed.
    Unavailable,
}

/// The reply to a call that was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoReply {
    /// It could not be made, or no answer came.
    Unanswered,
    /// The gateway knows no such upstream.
    NoSuchUpstream,
}

impl CallReply for NoReply {
    fn status(&self) -> Option<u16> {
        None
    }

    fn body(&self, _: usize) -> Result<Vec<u8>, BodyError> {
        Err(BodyError::Unavailable)
    }

    fn header(&self, _: &str) -> Option<Vec<u8>> {
        None
    }

    fn has_no_upstream(&self) -> bool {
        match self {
            Self::Unanswered => false,
            Self::NoSuchUpstream => true,
        }
    }
}
