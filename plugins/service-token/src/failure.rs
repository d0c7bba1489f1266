//! Why a request can't be given its credential.

/// Why there is no credential for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The gateway does not tell the time.
    Clock,
    /// The request has something in it that can't be signed: the client's doing.
    Unsignable,
}

impl Failure {
    /// A fixed word for logs and metrics.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::Clock => "clock_unavailable",
            Self::Unsignable => "unsignable",
        }
    }
}
