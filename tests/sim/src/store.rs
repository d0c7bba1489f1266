//! A worker's view of a zone.

use std::cell::Cell;

use portcullis_policy::{CasStatus, RawSharedData, StoreError};

use crate::{SetResult, Turns, Zone};

/// A zone as one worker sees it: it gives its turn away before each access, and fails on demand.
pub struct ZoneStore {
    zone: Zone,
    turns: Option<Turns>,
    fail_after: Cell<Option<u32>>,
    fail_writes: Cell<bool>,
    reads: Cell<u64>,
    writes: Cell<u64>,
}

impl ZoneStore {
    /// A view of `zone`.
    pub fn new(zone: &Zone, turns: Option<Turns>) -> Self {
        Self {
            zone: zone.clone(),
            turns,
            fail_after: Cell::new(None),
            fail_writes: Cell::new(false),
            reads: Cell::new(0),
            writes: Cell::new(0),
        }
    }

    /// From the `accesses`th access on, all fail; `None` ends that.
    pub fn fail_after(&self, accesses: Option<u32>) {
        self.fail_after.set(accesses);
    }

    /// Whether writes fail, while reads go on.
    pub fn fail_writes(&self, fail: bool) {
        self.fail_writes.set(fail);
    }

    /// Reads so far.
    pub fn reads(&self) -> u64 {
        self.reads.get()
    }

    /// Writes so far, refused ones included.
    pub fn writes(&self) -> u64 {
        self.writes.get()
    }

    fn access(&self) -> Result<(), StoreError> {
        if let Some(turns) = &self.turns {
            turns.next();
        }
        match self.fail_after.get() {
            None => Ok(()),
            Some(0) => Err(StoreError::Unavailable),
            Some(left) => {
                self.fail_after.set(Some(left - 1));
                Ok(())
            }
        }
    }
}

impl RawSharedData for ZoneStore {
    fn get_raw(&self, key: &str) -> Result<Option<(Vec<u8>, u32)>, StoreError> {
        self.access()?;
        self.reads.set(self.reads.get() + 1);
        Ok(self.zone.filter_get(key.as_bytes()))
    }

    fn set_raw(&self, key: &str, value: &[u8], cas: u32) -> CasStatus {
        if self.access().is_err() || self.fail_writes.get() {
            return CasStatus::Failed;
        }
        self.writes.set(self.writes.get() + 1);
        match self.zone.filter_set(key.as_bytes(), value, cas) {
            SetResult::Stored => CasStatus::Stored,
            SetResult::CasMismatch => CasStatus::Mismatch,
            // The real one takes the worker down; no policy may get here.
            SetResult::Full | SetResult::Overflow => panic!("a write that crashes Kong: {key}"),
        }
    }
}
