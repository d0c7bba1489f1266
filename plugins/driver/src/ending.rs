//! How a stream ended.

use portcullis_policy::{Ending, Origin};

use crate::host::Exchange;
use crate::phase::Seen;

/// An end whose log is at hand.
pub(crate) struct Logged<'a, X> {
    pub(crate) exchange: &'a X,
    /// What was seen of a response.
    pub(crate) seen: Option<Seen>,
}

impl<X: Exchange> Ending for Logged<'_, X> {
    fn origin(&self) -> Origin {
        match self.seen {
            // It came from there, and came whole: the host can say nothing else.
            Some(Seen {
                is_from_upstream: true,
                is_whole: true,
            }) => Origin::Upstream,
            seen => self.exchange.ending(seen.is_some()),
        }
    }

    fn grpc_status(&self) -> Option<u8> {
        self.exchange.trailing_grpc_status()
    }
}

/// An end of which nothing more can be asked.
pub(crate) struct Told(pub(crate) Origin);

impl Ending for Told {
    fn origin(&self) -> Origin {
        self.0
    }
}
