//! What the filters of a gateway share, in memory.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use portcullis_policy::{Expected, SharedStore, StoreError, Stored, Version};

/// Shared data that also knows what it held before the request at hand.
#[derive(Debug, Default)]
pub(super) struct Memory {
    values: RefCell<BTreeMap<String, Value>>,
    /// What was written over since the mark.
    before: RefCell<BTreeMap<String, Option<Value>>>,
    writes: Cell<u32>,
}

type Value = (Vec<u8>, u32);

impl Memory {
    /// From here on it is known what was there before.
    pub(super) fn mark(&self) {
        self.before.borrow_mut().clear();
    }

    fn find(&self, key: &str) -> Option<Value> {
        self.values.borrow().get(key).cloned()
    }
}

impl SharedStore for Memory {
    fn get(&self, key: &str) -> Result<Option<Stored>, StoreError> {
        Ok(self.find(key).map(stored))
    }

    fn set(&self, key: &str, value: &[u8], expected: Expected) -> Result<(), StoreError> {
        let found = self.find(key);
        let is_expected = match (&found, expected) {
            (None, Expected::Absent) => true,
            (Some((_, version)), Expected::Version(Version(wanted))) => *version == wanted,
            (Some(_), Expected::Absent) | (None, Expected::Version(_)) => false,
        };
        if !is_expected {
            return Err(StoreError::Conflict);
        }
        let version = self.writes.get().wrapping_add(1).max(1);
        self.writes.set(version);
        let mut before = self.before.borrow_mut();
        before.entry(key.to_owned()).or_insert(found);
        let mut values = self.values.borrow_mut();
        values.insert(key.to_owned(), (value.to_vec(), version));
        Ok(())
    }
}

/// What was there at the mark.
pub(super) struct Before<'a>(pub(super) &'a Memory);

impl SharedStore for Before<'_> {
    fn get(&self, key: &str) -> Result<Option<Stored>, StoreError> {
        let before = self.0.before.borrow().get(key).cloned();
        Ok(before.unwrap_or_else(|| self.0.find(key)).map(stored))
    }

    fn set(&self, _: &str, _: &[u8], _: Expected) -> Result<(), StoreError> {
        Err(StoreError::Unavailable)
    }
}

fn stored((bytes, version): Value) -> Stored {
    Stored {
        bytes,
        version: Version(version),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(store: &dyn SharedStore, key: &str) -> Option<Vec<u8>> {
        store.get(key).unwrap().map(|stored| stored.bytes)
    }

    #[test]
    fn a_value_is_written_only_where_it_is_what_was_expected() {
        let memory = Memory::default();
        assert_eq!(memory.set("a", b"1", Expected::Absent), Ok(()));
        assert_eq!(
            memory.set("a", b"2", Expected::Absent),
            Err(StoreError::Conflict)
        );
        let version = memory.get("a").unwrap().unwrap().version;
        assert_eq!(memory.set("a", b"2", Expected::Version(version)), Ok(()));
        assert_eq!(
            memory.set("a", b"3", Expected::Version(version)),
            Err(StoreError::Conflict)
        );
        assert_eq!(held(&memory, "a").unwrap(), b"2");
    }

    #[test]
    fn what_was_there_at_the_mark_can_be_read() {
        let memory = Memory::default();
        memory.set("a", b"1", Expected::Absent).unwrap();
        memory.mark();
        let version = memory.get("a").unwrap().unwrap().version;
        memory.set("a", b"2", Expected::Version(version)).unwrap();
        memory.set("b", b"1", Expected::Absent).unwrap();
        let before = Before(&memory);
        assert_eq!(held(&before, "a").unwrap(), b"1");
        assert_eq!(held(&before, "b"), None);
        memory.mark();
        assert_eq!(held(&before, "a").unwrap(), b"2");
    }
}
