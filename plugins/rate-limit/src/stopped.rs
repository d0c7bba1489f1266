//! Why a request does not go on.

use portcullis_policy::LocalReply;

/// Why a request does not go on.
#[derive(Debug)]
pub(crate) enum Stopped {
    Refused(LocalReply),
    /// An engine is asked whether anything is left for it.
    Waits,
}

impl From<LocalReply> for Stopped {
    fn from(reply: LocalReply) -> Self {
        Self::Refused(reply)
    }
}
