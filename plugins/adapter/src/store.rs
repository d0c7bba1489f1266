//! Shared data, on the host's calls.

use portcullis_policy::{CasStatus, RawSharedData, StoreError};

use crate::abi::{self, Status};

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
