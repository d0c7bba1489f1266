//! What all workers share, and the two dialects in which the gateways offer it.

use std::cell::Cell;

/// Values that all workers see, each changed only by comparing and swapping.
pub trait SharedStore {
    /// The value under `key`, if there is one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    fn get(&self, key: &str) -> Result<Option<Stored>, StoreError>;

    /// Stores `value` if the key is still as expected.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it is not, [`StoreError::Unavailable`] when the gateway fails.
    fn set(&self, key: &str, value: &[u8], expected: Expected) -> Result<(), StoreError>;
}

/// A value that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its bytes. On Kong a read can be torn: check them.
    pub bytes: Vec<u8>,
    /// What [`Expected::Version`] wants to see.
    pub version: Version,
}

/// A value's version. On Kong it starts anew when a value was evicted and created again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(pub u32);

/// How a key must be for a value to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Not there.
    Absent,
    /// As it was when it was read.
    Version(Version),
}

/// Why a value was not read or stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// Another worker was first.
    Conflict,
    /// The gateway failed.
    Unavailable,
}

/// The gateway's own calls, with their compare-and-swap numbers as they are.
pub trait RawSharedData {
    /// The value and its number.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] on any failure of the gateway but absence.
    fn get_raw(&self, key: &str) -> Result<Option<(Vec<u8>, u32)>, StoreError>;
    /// Stores a value under a number. What that means is the gateway's [dialect](SharedData).
    fn set_raw(&self, key: &str, value: &[u8], cas: u32) -> CasStatus;
}

/// What a gateway said to a compare-and-swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CasStatus {
    /// Stored.
    Stored,
    /// The number did not match.
    Mismatch,
    /// Anything else.
    Failed,
}

/// Both dialects of shared data as one [`SharedStore`].
///
/// Envoy: the number 0 overwrites whatever is there; a number that can't match stores only where
/// nothing is. Kong: the number 0 creates, and is refused where something is; any other number is
/// refused where nothing is. So to create means to try a number that no value has, and only where
/// that is refused although still nothing is there, 0.
pub struct SharedData<R>(pub R);

/// A number that hardly a value has: both gateways count up from small ones, Envoy one number for
/// each write of the process.
const MATCHES_NOTHING: u32 = u32::MAX;
/// Kong's number for creating; Envoy's for overwriting.
const CREATES_ON_KONG: u32 = 0;

impl<R: RawSharedData> SharedStore for SharedData<R> {
    fn get(&self, key: &str) -> Result<Option<Stored>, StoreError> {
        let found = self.0.get_raw(key)?;
        Ok(found.map(|(bytes, cas)| Stored {
            bytes,
            version: Version(cas),
        }))
    }

    fn set(&self, key: &str, value: &[u8], expected: Expected) -> Result<(), StoreError> {
        match expected {
            // No value that was read has this number, and on Envoy it would overwrite.
            Expected::Version(Version(CREATES_ON_KONG)) => Err(StoreError::Unavailable),
            Expected::Version(Version(cas)) => outcome(self.0.set_raw(key, value, cas)),
            Expected::Absent => match outcome(self.0.set_raw(key, value, MATCHES_NOTHING)) {
                Err(StoreError::Conflict) => {
                    if self.get(key)?.is_some() {
                        return Err(StoreError::Conflict);
                    }
                    outcome(self.0.set_raw(key, value, CREATES_ON_KONG))
                }
                result => result,
            },
        }
    }
}

/// A store that counts how often another worker was faster.
pub struct CountedConflicts<'a> {
    store: &'a dyn SharedStore,
    conflicts: Cell<u32>,
}

impl<'a> CountedConflicts<'a> {
    /// Counts those of `store`, from none on.
    #[must_use]
    pub const fn of(store: &'a dyn SharedStore) -> Self {
        Self {
            store,
            conflicts: Cell::new(0),
        }
    }

    /// How many there were.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.conflicts.get()
    }
}

impl SharedStore for CountedConflicts<'_> {
    fn get(&self, key: &str) -> Result<Option<Stored>, StoreError> {
        self.store.get(key)
    }

    fn set(&self, key: &str, value: &[u8], expected: Expected) -> Result<(), StoreError> {
        let result = self.store.set(key, value, expected);
        if result == Err(StoreError::Conflict) {
            self.conflicts.set(self.conflicts.get().saturating_add(1));
        }
        result
    }
}

const fn outcome(status: CasStatus) -> Result<(), StoreError> {
    match status {
        CasStatus::Stored => Ok(()),
        CasStatus::Mismatch => Err(StoreError::Conflict),
        CasStatus::Failed => Err(StoreError::Unavailable),
    }
}
