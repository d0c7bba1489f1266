//! What is known of a request's body before it has come.

use portcullis_policy::Sent;

/// How much of a request has come with its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestBody {
    /// As its policy is told.
    pub sent: Sent,
    /// As the stream's deletion is read, as long as nothing more was heard of the request.
    pub sent_at_deletion: Sent,
    /// Whether a body that comes all the same is one that its head denied, where the head decided.
    pub is_denied: bool,
}

/// How much of a body may pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bound {
    most: Option<u64>,
    passed: u64,
}

impl Bound {
    pub(crate) const fn of(most: Option<u64>) -> Self {
        Self { most, passed: 0 }
    }

    /// Whether there is a bound.
    pub(crate) const fn is_set(&self) -> bool {
        self.most.is_some()
    }

    /// So many more bytes are to pass. Whether they may.
    pub(crate) fn admits(&mut self, more: usize) -> bool {
        let more = u64::try_from(more).unwrap_or(u64::MAX);
        self.passed = self.passed.saturating_add(more);
        self.most.is_none_or(|most| self.passed <= most)
    }
}
