//! A clock that stands still.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use portcullis_policy::{Clock, ClockUnavailable, Span, Timestamp};

/// A clock that is moved by hand. A clone shows the same time.
#[derive(Clone, Debug)]
pub struct VirtualClock {
    wall: Arc<AtomicU64>,
    /// What has passed, whatever the clock was set to.
    passed: Arc<AtomicU64>,
}

impl VirtualClock {
    /// A clock that shows `start`.
    pub fn at(start: Timestamp) -> Self {
        Self {
            wall: Arc::new(AtomicU64::new(start.unix_nanos())),
            passed: Arc::new(AtomicU64::new(1)),
        }
    }

    /// Moves on.
    pub fn advance(&self, span: Span) {
        self.set(self.read().after(span));
        self.passed.fetch_add(span.as_nanos(), Ordering::SeqCst);
    }

    /// Shows another time: a step back, or a jump.
    pub fn set(&self, now: Timestamp) {
        self.wall.store(now.unix_nanos(), Ordering::SeqCst);
    }

    /// The time.
    pub fn read(&self) -> Timestamp {
        Timestamp::from_unix_nanos(self.wall.load(Ordering::SeqCst))
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Result<Timestamp, ClockUnavailable> {
        Ok(self.read())
    }

    fn monotonic(&self) -> Result<Timestamp, ClockUnavailable> {
        let passed = self.passed.load(Ordering::SeqCst);
        Ok(Timestamp::from_unix_nanos(passed))
    }
}
