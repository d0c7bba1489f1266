//! What is remembered of one request until it has ended.

use portcullis_policy::{Clock, Sent, Timestamp};

use crate::admitted::Admitted;
use crate::deadline::Client;
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
