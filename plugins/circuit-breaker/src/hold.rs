//! What a person has ordered a breaker to be for a while, whatever it sees.

use portcullis_policy::{Span, Timestamp};

use crate::permits::left;
use crate::transition::Phase;

/// Held open or closed, until it is over or released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hold {
    pub(crate) side: Side,
    /// When it was ordered.
    pub(crate) since: Timestamp,
    pub(crate) until: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Nothing passes.
    Open,
    /// Everything passes, and is counted.
    Closed,
}

impl Hold {
    pub(crate) const fn new(side: Side, now: Timestamp, span: Span) -> Self {
        Self {
            side,
            since: now,
            until: now.after(span),
        }
    }

    /// How long it holds yet; `None` when it is over, or of a clock that has been set back since.
    pub(crate) fn left(&self, now: Timestamp) -> Option<Span> {
        left(self.since, self.until, now)
    }
}

impl Side {
    pub(crate) const fn phase(self) -> Phase {
        match self {
            Self::Open => Phase::Open,
            Self::Closed => Phase::Closed,
        }
    }
}
