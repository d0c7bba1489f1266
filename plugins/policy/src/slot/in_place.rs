//! Records that are read and changed as they lie in their slots.
//!
//! For those that hold many entries of which a change touches one: nothing is decoded, and what is
//! written are the bytes that were read, with that entry changed.

use super::key::SlotKey;
use super::sealed::{Opened, check, record, record_mut, renew, zeroed};
use super::{Seen, SlotError, Step, create_as, look_as, update_as};
use crate::SharedStore;

/// A slot whose record is changed in place.
#[derive(Clone, Debug)]
pub struct SlotInPlace {
    key: SlotKey,
    length: usize,
}

/// Such a slot as it was read, which a change can start from.
#[derive(Clone, Debug)]
pub struct SeenBytes(Seen<Vec<u8>>);

impl SeenBytes {
    /// The record: zeros when it was never written.
    #[must_use]
    pub fn record(&self) -> &[u8] {
        self.0.record.as_deref().map_or(&[], record)
    }
}

impl SlotInPlace {
    /// A slot of that name, whose record is `length` bytes of a format
    /// ([`Layout::FORMAT`](super::Layout::FORMAT)).
    #[must_use]
    pub fn new(format: &str, name: String, length: usize) -> Self {
        Self {
            key: SlotKey::of_format(format, name),
            length,
        }
    }

    /// Reads it, to be changed later by [`SlotInPlace::update_from`].
    ///
    /// # Errors
    /// [`SlotError`].
    pub fn look(&self, store: &dyn SharedStore) -> Result<SeenBytes, SlotError> {
        let mut seen = look_as(store, &self.key, |bytes| self.open(bytes))?;
        seen.record.get_or_insert_with(|| self.zeros());
        Ok(SeenBytes(seen))
    }

    /// Writes it, unless it was written before.
    ///
    /// # Errors
    /// [`SlotError`].
    pub fn create(
        &self,
        store: &dyn SharedStore,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<(), SlotError> {
        let mut sealed = self.zeros();
        fill(record_mut(&mut sealed));
        renew(&mut sealed);
        create_as(store, &self.key, &sealed)
    }

    /// Changes it, from what was read before. `change` is shown the record, zeros when it was never
    /// written, and may be called several times: it must be a pure function of what it is shown. On
    /// [`Step::Keep`] what it did to the record is forgotten.
    ///
    /// # Errors
    /// Those of [`update`](super::update).
    pub fn update_from<R>(
        &self,
        store: &dyn SharedStore,
        seen: SeenBytes,
        mut change: impl FnMut(&mut [u8]) -> Step<(), R>,
    ) -> Result<R, SlotError> {
        let change = |sealed: Option<Vec<u8>>| {
            let mut sealed = sealed.unwrap_or_else(|| self.zeros());
            match change(record_mut(&mut sealed)) {
                Step::Keep(result) => Step::Keep(result),
                Step::Write((), result) => {
                    renew(&mut sealed);
                    Step::Write(sealed, result)
                }
            }
        };
        update_as(store, &self.key, seen.0, |bytes| self.open(bytes), change)
    }

    fn zeros(&self) -> Vec<u8> {
        zeroed(&self.key, self.length)
    }

    fn open(&self, bytes: &mut Vec<u8>) -> Opened<Vec<u8>> {
        match check(&self.key, bytes) {
            Opened::Record(record) if record.len() == self.length => {
                Opened::Record(std::mem::take(bytes))
            }
            Opened::Record(_) | Opened::Broken => Opened::Broken,
            Opened::Foreign => Opened::Foreign,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::{Expected, Layout, Reader, StoreError, Stored, Version, Writer, read, update};

    /// The same bytes, decoded.
    #[derive(Clone, Debug, PartialEq)]
    struct Three([u8; 3]);
    impl Layout for Three {
        const FORMAT: &'static str = "three/1";
        fn encode(&self, to: &mut Writer) {
            to.bytes(&self.0);
        }
        fn decode(from: &mut Reader<'_>) -> Option<Self> {
            from.array().map(Self)
        }
    }

    /// One value, whatever it is called.
    #[derive(Default)]
    struct One(RefCell<Option<Stored>>);
    impl SharedStore for One {
        fn get(&self, _: &str) -> Result<Option<Stored>, StoreError> {
            Ok(self.0.borrow().clone())
        }
        fn set(&self, _: &str, value: &[u8], expected: Expected) -> Result<(), StoreError> {
            let mut stored = self.0.borrow_mut();
            let version = stored.as_ref().map(|stored| stored.version);
            if expected != version.map_or(Expected::Absent, Expected::Version) {
                return Err(StoreError::Conflict);
            }
            *stored = Some(Stored {
                bytes: value.to_vec(),
                version: Version(version.map_or(1, |Version(version)| version + 1)),
            });
            Ok(())
        }
    }

    fn slot() -> SlotInPlace {
        SlotInPlace::new(Three::FORMAT, "a".to_owned(), 3)
    }

    fn write(store: &One, record: [u8; 3]) {
        let key = SlotKey::new::<Three>("a");
        let write = |_: Option<&Three>| Step::Write(Three(record), ());
        update(store, &key, write).unwrap();
    }

    #[test]
    fn a_record_that_is_changed_in_place_is_the_one_that_would_have_been_encoded() {
        let (store, key, slot) = (One::default(), SlotKey::new::<Three>("a"), slot());
        let add = |record: &mut [u8]| {
            let before = record.to_vec();
            record[2] += 5;
            Step::Write((), before)
        };
        let seen = slot.look(&store).unwrap();
        assert_eq!(seen.record(), [0, 0, 0]);
        assert_eq!(slot.update_from(&store, seen, add), Ok(vec![0, 0, 0]));
        assert_eq!(read(&store, &key), Ok(Some(Three([0, 0, 5]))));

        write(&store, [1, 2, 3]);
        let seen = slot.look(&store).unwrap();
        assert_eq!(seen.record(), [1, 2, 3]);
        // Another is faster.
        write(&store, [4, 5, 6]);
        assert_eq!(slot.update_from(&store, seen, add), Ok(vec![4, 5, 6]));
        assert_eq!(read(&store, &key), Ok(Some(Three([4, 5, 11]))));
    }

    #[test]
    fn what_is_kept_is_not_written_and_what_is_there_is_not_created() {
        let (store, slot) = (One::default(), slot());
        slot.create(&store, |record| record.fill(7)).unwrap();
        slot.create(&store, |record| record.fill(8)).unwrap();
        let seen = slot.look(&store).unwrap();
        let kept = slot.update_from(&store, seen, |record| {
            record.fill(9);
            Step::Keep(())
        });
        assert_eq!(kept, Ok(()));
        let key = SlotKey::new::<Three>("a");
        assert_eq!(read(&store, &key), Ok(Some(Three([7; 3]))));
    }

    #[test]
    fn a_record_of_another_length_is_broken_and_one_of_another_format_is_foreign() {
        let store = One::default();
        slot().create(&store, |_| {}).unwrap();
        let other = SlotInPlace::new(Three::FORMAT, "a".to_owned(), 4);
        assert_eq!(other.look(&store).unwrap().record(), [0; 4]);
        let other = SlotInPlace::new("three/2", "a".to_owned(), 3);
        assert_eq!(other.look(&store).unwrap_err(), SlotError::Foreign);
    }
}
