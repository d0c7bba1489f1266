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
