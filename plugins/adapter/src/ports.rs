//! The ports of a policy, on the host's calls.

use std::cell::Cell;

use portcullis_policy::{
    CasStatus, Clock, ClockUnavailable, Entropy, EntropyUnavailable, Environment, RawSharedData,
    StoreError, Timestamp,
};

use crate::abi::{self, Status};

/// Reads the clock once, when it is first asked.
#[derive(Default)]
pub(crate) struct CallbackClock(Cell<Option<Timestamp>>);

impl Clock for CallbackClock {
    fn now(&self) -> Result<Timestamp, ClockUnavailable> {
        if let Some(now) = self.0.get() {
            return Ok(now);
        }
        let now = abi::time_nanos()
            .map(Timestamp::from_unix_nanos)
            .map_err(|_| ClockUnavailable)?;
        self.0.set(Some(now));
        Ok(now)
    }
}

/// The host's `random_get`.
pub(crate) struct HostEntropy;

impl Entropy for HostEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyUnavailable> {
        if abi::random(bytes) {
            Ok(())
        } else {
            Err(EntropyUnavailable)
        }
    }
}

/// The variables that the host shows.
pub(crate) struct HostEnvironment;

impl Environment for HostEnvironment {
    fn var(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

/// The host's shared data.
pub(crate) struct HostSharedData;

impl RawSharedData for HostSharedData {
    fn get_raw(&self, key: &str) -> Result<Option<(Vec<u8>, u32)>, StoreError> {
        match abi::shared_data(key) {
            Ok(found) => Ok(Some(found)),
            Err(Status::NOT_FOUND) => Ok(None),
            Err(_) => Err(StoreError::Unavailable),
        }
    }

    fn set_raw(&self, key: &str, value: &[u8], cas: u32) -> CasStatus {
        match abi::set_shared_data(key, value, cas) {
            Ok(()) => CasStatus::Stored,
            Err(Status::CAS_MISMATCH) => CasStatus::Mismatch,
            Err(_) => CasStatus::Failed,
        }
    }
}
