//! A clock that stands still.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use portcullis_policy::{Clock, ClockUnavailable, Span, Timestamp};

/// A clock that is moved by hand. A clone shows the same time.
#[derive(Clone, Debug)]
pub struct VirtualClock(Arc<AtomicU64>);

impl VirtualClock {
    /// A clock that shows `start`.
    pub fn at(start: Timestamp) -> Self {
        Self(Arc::new(AtomicU64::new(start.unix_nanos())))
    }

    /// Moves on.
    pub fn advance(&self, span: Span) {
        self.set(self.read().after(span));
    }

    /// Shows another time: a step back, or a jump.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.unix_nanos(), Ordering::SeqCst);
    }

    /// The time.
    pub fn read(&self) -> Timestamp {
        Timestamp::from_unix_nanos(self.0.load(Ordering::SeqCst))
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Result<Timestamp, ClockUnavailable> {
        Ok(self.read())
    }
}
