//! HTTP calls that a policy asks the gateway to make.

use crate::Span;

/// A GET.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCall {
    /// Who is asked: on Envoy a cluster's name, on Kong `host:port`.
    pub upstream: String,
    /// `:scheme`: on Kong it decides whether there is TLS.
    pub scheme: &'static str,
    /// `:authority`.
    pub authority: String,
    /// `:path`, query included.
    pub path: String,
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
}

/// Why a body is not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// It is longer than was asked for. None of it was read.
    TooLong,
    /// The gateway failed.
    Unavailable,
}

/// The reply to a call that could not be made, or that was never answered.
#[derive(Clone, Copy, Debug)]
pub struct NoReply;

impl CallReply for NoReply {
    fn status(&self) -> Option<u16> {
        None
    }

    fn body(&self, _: usize) -> Result<Vec<u8>, BodyError> {
        Err(BodyError::Unavailable)
    }
}
