//! What is remembered of one request until it has ended.

use crate::breaker::Ticket;

/// The breakers that admitted a request, and how far each of them has heard of it.
#[derive(Debug, Default)]
pub struct Flow(pub(crate) Vec<Admitted>);

/// One breaker's part in a request.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// The breaker's place in the configuration.
    pub(crate) circuit: usize,
    pub(crate) ticket: Ticket,
    pub(crate) progress: Progress,
}

/// How far a request has come. Each is settled once, so that nothing follows that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// No response was seen.
    Waiting,
    /// A response was seen, but not its status.
    Unread,
    /// A response was seen and was no failure: a stream that breaks off can make a failure of it
    /// yet, so that it is a success when it has ended and not before.
    HeadFine,
    /// The books are closed.
    Settled,
}
