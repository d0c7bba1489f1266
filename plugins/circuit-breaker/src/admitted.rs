//! One breaker's part in a request that it has admitted.

use portcullis_policy::Timestamp;

use crate::classify::Pace;
use crate::ticket::Ticket;

/// One breaker's part in a request.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// The breaker's index in the configuration.
    pub(crate) circuit: usize,
    pub(crate) ticket: Ticket,
    /// When it was admitted, where that is of interest.
    pub(crate) started: Option<Timestamp>,
    pub(crate) progress: Progress,
}

/// How far a request has come. Each is settled once, so that nothing follows that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// No response was seen.
    Waiting,
    /// A response was seen, but not its status.
    Unread(Pace),
    /// A response was seen and was no failure, and nothing of what is waited for has come of it.
    Begun(Pace),
    /// A response was seen and was no failure: a stream that breaks off can make a failure of it
    /// yet, so that it is a success when it has ended and not before.
    HeadFine(Pace),
    /// The books are closed.
    Settled,
}
