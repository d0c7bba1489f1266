//! What workers share: values in the process, each behind a lock of its own that is held for a copy and no longer.
//!
//! Keys come from configurations, so that there are few of them, and once all are there nothing but their values changes. A worker
//! remembers where those lie that it has used.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::rc::Rc;
use std::sync::{Arc, PoisonError};

use portcullis_policy::{Expected, SharedStore, StoreError, Stored, Version};
use twox_hash::XxHash64;

use crate::sync::{Mutex, lock};

/// All values of one name, which filters of several configurations share.
#[derive(Default)]
pub(crate) struct Zone {
    entries: Mutex<BTreeMap<Box<str>, Arc<Entry>>>,
}

/// A value, and its version; none until it was first written.
type Entry = Mutex<Option<(Vec<u8>, u32)>>;

impl Zone {
    /// So many keys a zone has at most: a configuration asks for thousands where its limits have much room.
    const MOST: usize = 1 << 20;

    /// The zone of that name. It stays for as long as the process, over any change of configuration.
    pub(crate) fn named(name: &str) -> Arc<Self> {
        Arc::clone(zones().entry(name.to_owned()).or_default())
    }

    fn entry(&self, key: &str) -> Option<Arc<Entry>> {
        let mut entries = lock(&self.entries);
        if let Some(entry) = entries.get(key) {
            return Some(Arc::clone(entry));
        }
        if entries.len() >= Self::MOST {
            return None;
        }
        let entry = Arc::new(Entry::default());
        entries.insert(key.into(), Arc::clone(&entry));
        Some(entry)
    }
}

/// All zones, by name.
fn zones() -> std::sync::MutexGuard<'static, BTreeMap<String, Arc<Zone>>> {
    static ZONES: std::sync::Mutex<BTreeMap<String, Arc<Zone>>> =
        std::sync::Mutex::new(BTreeMap::new());
    ZONES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Forgets all zones, so that configurations from now on begin anew. For tests that begin anew in one process.
#[doc(hidden)]
pub fn forget_zones() {
    zones().clear();
}

/// A zone as one thread uses it.
pub(crate) struct View {
    zone: Arc<Zone>,
    known: RefCell<HashMap<Box<str>, Arc<Entry>, BuildHasherDefault<XxHash64>>>,
}

impl View {
    pub(crate) fn of(zone: Arc<Zone>) -> Self {
        Self {
            zone,
            known: RefCell::default(),
        }
    }

    fn with<R>(
        &self,
        key: &str,
        run: impl FnOnce(&mut Option<(Vec<u8>, u32)>) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        let mut known = self
            .known
            .try_borrow_mut()
            .map_err(|_| StoreError::Unavailable)?;
        let entry = match known.get(key) {
            Some(entry) => entry,
            None => {
                let entry = self.zone.entry(key).ok_or(StoreError::Unavailable)?;
                known.entry(key.into()).or_insert(entry)
            }
        };
        run(&mut lock(entry))
    }
}

impl SharedStore for View {
    fn get(&self, key: &str) -> Result<Option<Stored>, StoreError> {
        self.with(key, |value| {
            Ok(value.as_ref().map(|(bytes, version)| Stored {
                bytes: bytes.clone(),
                version: Version(*version),
            }))
        })
    }

    fn set(&self, key: &str, value: &[u8], expected: Expected) -> Result<(), StoreError> {
        self.with(key, |stored| {
            match (stored, expected) {
                (Some((bytes, version)), Expected::Version(Version(known)))
                    if *version == known =>
                {
                    bytes.clear();
                    bytes.extend_from_slice(value);
                    *version = version.wrapping_add(1);
                }
                (stored @ None, Expected::Absent) => *stored = Some((value.to_vec(), 1)),
                (Some(_) | None, Expected::Version(_)) | (Some(_), Expected::Absent) => {
                    return Err(StoreError::Conflict);
                }
            }
            Ok(())
        })
    }
}

/// A view, as it is handed to a policy.
#[derive(Clone)]
pub(crate) struct Shared(pub(crate) Rc<View>);

impl SharedStore for Shared {
    fn get(&self, key: &str) -> Result<Option<Stored>, StoreError> {
        self.0.get(key)
    }

    fn set(&self, key: &str, value: &[u8], expected: Expected) -> Result<(), StoreError> {
        self.0.set(key, value, expected)
    }
}

#[cfg(test)]
mod tests;
