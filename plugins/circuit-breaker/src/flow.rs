//! What is remembered of one request until it has ended.

use portcullis_policy::{Clock, Sent, Timestamp};

use crate::classify::Pace;
use crate::deadline::Client;
use crate::ticket::Ticket;
use crate::watch::Watching;

/// The breakers that admitted a request, and how far each of them has heard of it.
#[derive(Debug, Default)]
pub struct Flow {
    pub(crate) admitted: Vec<Admitted>,
    pub(crate) protocol: Protocol,
    /// How much of the request has come.
    pub(crate) sent: Sent,
    /// Until when its client waits, if it said so.
    pub(crate) deadline: Option<Timestamp>,
    /// Where the rest of the answer is watched.
    pub(crate) watched: Option<Box<Watching>>,
}

impl Flow {
    /// The client's part in it.
    pub(crate) fn client<'a>(&self, clock: &'a dyn Clock) -> Client<'a> {
        Client {
            sent: self.sent,
            deadline: self.deadline,
            clock,
        }
    }
}

/// What the client speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Protocol {
    #[default]
    Http,
    /// Its statuses count, too.
    Grpc,
}

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
