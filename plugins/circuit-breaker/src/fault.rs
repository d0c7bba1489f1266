//! Why a breaker could not do its work.

use portcullis_policy::{ClockUnavailable, SlotError};

/// Why a breaker could not do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Slot(SlotError),
    Clock,
}

impl Fault {
    /// A fixed word for logs and metrics.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::Slot(error) => error.reason(),
            Self::Clock => "clock_unavailable",
        }
    }
}

impl From<ClockUnavailable> for Fault {
    fn from(_: ClockUnavailable) -> Self {
        Self::Clock
    }
}

impl From<SlotError> for Fault {
    fn from(error: SlotError) -> Self {
        Self::Slot(error)
    }
}
