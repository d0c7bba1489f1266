//! Ports that tests of this crate hand to what needs none, or record what they are told.

use std::cell::RefCell;

use crate::{
    Clock, ClockUnavailable, Counter, Entropy, EntropyUnavailable, Expected, Gauge, LogLine,
    SharedStore, StoreError, Stored, Telemetry, Timestamp,
};

/// A gateway that has no time, no random bytes and no shared data.
pub(crate) struct Nothing;

impl Clock for Nothing {
    fn monotonic(&self) -> Result<Timestamp, ClockUnavailable> {
        self.now()
    }
    fn now(&self) -> Result<Timestamp, ClockUnavailable> {
        Err(ClockUnavailable)
    }
}

impl Entropy for Nothing {
    fn fill(&self, _: &mut [u8]) -> Result<(), EntropyUnavailable> {
        Err(EntropyUnavailable)
    }
}

impl SharedStore for Nothing {
    fn get(&self, _: &str) -> Result<Option<Stored>, StoreError> {
        Err(StoreError::Unavailable)
    }
    fn set(&self, _: &str, _: &[u8], _: Expected) -> Result<(), StoreError> {
        Err(StoreError::Unavailable)
    }
}

/// What was counted, by its place in the registry, and logged.
#[derive(Default)]
pub(crate) struct Recorded {
    pub(crate) counted: RefCell<Vec<usize>>,
    pub(crate) lines: RefCell<Vec<String>>,
}

impl Telemetry for Recorded {
    fn add(&self, counter: Counter, by: u32) {
        let counted = std::iter::repeat_n(counter.index(), by as usize);
        self.counted.borrow_mut().extend(counted);
    }
    fn set(&self, _: Gauge, _: u64) {}
    fn log(&self, line: LogLine) {
        self.lines.borrow_mut().push(line.as_str().to_owned());
    }
}
