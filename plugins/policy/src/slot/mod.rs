//! Slots: fixed-size records in shared data, and the only loop that changes one.
//!
//! Shared data has its traps: on Kong two keys with one CRC32 are one key, a read can be torn, a
//! value can vanish and its version start anew. So a slot's bytes carry the identity of the slot
//! they belong to and a checksum over everything, and they never change their size.
//!
//! ```text
//! identity 16 | record LEN | checksum 8
//! ```

mod in_place;
mod key;
mod layout;
mod sealed;

use crate::{Expected, SharedStore, StoreError, Stored};

pub use in_place::{SeenBytes, SlotInPlace};
pub use key::{SlotKey, colliding};
pub use layout::{Fixed, Layout, Reader, Writer};
use sealed::{Opened, open, seal};

/// Why a slot was not read or changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotError {
    /// The gateway failed.
    Unavailable,
    /// Others were faster, on each attempt.
    Contended,
    /// Something else lives under this key.
    Foreign,
}

impl SlotError {
    /// A fixed word for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "store_unavailable",
            Self::Contended => "store_contended",
            Self::Foreign => "store_foreign",
        }
    }
}

/// What becomes of a slot that was looked at.
pub enum Step<L, R> {
    /// It stays as it is.
    Keep(R),
    /// It becomes this.
    Write(L, R),
}

/// How often a change is tried. Whoever loses has been overtaken by another worker that won, so
/// that with a handful of workers a second round is rare and a tenth is unheard of.
const ATTEMPTS: usize = 64;

/// Reads of the same broken bytes, one after the other, after which nobody is still writing them.
const BROKEN_FOR_GOOD: usize = 3;

/// A slot as it was read, which a change can start from.
#[derive(Clone, Debug)]
pub struct Seen<L> {
    record: Option<L>,
    expected: Expected,
}

impl<L> Seen<L> {
    /// What it held; `None` when it was never written.
    #[must_use]
    pub const fn record(&self) -> Option<&L> {
        self.record.as_ref()
    }
}

/// Reads a slot that is to be changed later, by [`update_from`].
///
/// # Errors
/// [`SlotError`].
pub fn look<L: Layout>(store: &dyn SharedStore, key: &SlotKey) -> Result<Seen<L>, SlotError> {
    look_as(store, key, |bytes| open(key, bytes))
}

/// Reads a slot; `None` when it was never written.
///
/// # Errors
/// [`SlotError`].
pub fn read<L: Layout>(store: &dyn SharedStore, key: &SlotKey) -> Result<Option<L>, SlotError> {
    Ok(look(store, key)?.record)
}

/// Writes a slot that was never written; one that was stays as it is.
///
/// # Errors
/// [`SlotError`].
pub fn create<L: Layout>(
    store: &dyn SharedStore,
    key: &SlotKey,
    record: &L,
) -> Result<(), SlotError> {
    create_as(store, key, &seal(key, record))
}

/// Changes a slot. `change` is shown the record (`None` when it was never written) and may be
/// called several times: it must be a pure function of what it is shown.
///
/// # Errors
/// [`SlotError`]; nothing was changed then, with one exception: a gateway that fails after it has
/// stored.
pub fn update<L: Layout, R>(
    store: &dyn SharedStore,
    key: &SlotKey,
    change: impl FnMut(Option<&L>) -> Step<L, R>,
) -> Result<R, SlotError> {
    update_from(store, key, look(store, key)?, change)
}

/// The same from what was read before. It is read again only if another was faster.
///
/// # Errors
/// Those of [`update`].
pub fn update_from<L: Layout, R>(
    store: &dyn SharedStore,
    key: &SlotKey,
    seen: Seen<L>,
    mut change: impl FnMut(Option<&L>) -> Step<L, R>,
) -> Result<R, SlotError> {
    let change = |record: Option<L>| match change(record.as_ref()) {
        Step::Keep(result) => Step::Keep(result),
        Step::Write(record, result) => Step::Write(seal(key, &record), result),
    };
    update_as(store, key, seen, |bytes| open(key, bytes), change)
}

/// Reads a slot until its bytes are whole. `open` may take them, where they are.
fn look_as<T>(
    store: &dyn SharedStore,
    key: &SlotKey,
    open: impl Fn(&mut Vec<u8>) -> Opened<T>,
) -> Result<Seen<T>, SlotError> {
    let mut broken: Option<(Stored, usize)> = None;
    for _ in 0..ATTEMPTS {
        let stored = match store.get(key.name()) {
            Ok(stored) => stored,
            Err(StoreError::Conflict) => continue,
            Err(StoreError::Unavailable) => return Err(SlotError::Unavailable),
        };
        let Some(mut stored) = stored else {
            return Ok(Seen {
                record: None,
                expected: Expected::Absent,
            });
        };
        let expected = Expected::Version(stored.version);
        match open(&mut stored.bytes) {
            Opened::Record(record) => {
                let record = Some(record);
                return Ok(Seen { record, expected });
            }
            Opened::Foreign => return Err(SlotError::Foreign),
            // Torn, or broken for good: that it stays the same tells.
            Opened::Broken => {
                let times = match &broken {
                    Some((before, times)) if *before == stored => times.saturating_add(1),
                    _ => 1,
                };
                if times == BROKEN_FOR_GOOD {
                    let record = None;
                    return Ok(Seen { record, expected });
                }
                broken = Some((stored, times));
            }
        }
    }
    Err(SlotError::Contended)
}

fn create_as(store: &dyn SharedStore, key: &SlotKey, sealed: &[u8]) -> Result<(), SlotError> {
    match store.set(key.name(), sealed, Expected::Absent) {
        Ok(()) | Err(StoreError::Conflict) => Ok(()),
        Err(StoreError::Unavailable) => Err(SlotError::Unavailable),
    }
}

/// The loop that writes. `change` makes a slot's bytes of what it held.
fn update_as<T, R>(
    store: &dyn SharedStore,
    key: &SlotKey,
    mut seen: Seen<T>,
    open: impl Fn(&mut Vec<u8>) -> Opened<T>,
    mut change: impl FnMut(Option<T>) -> Step<Vec<u8>, R>,
) -> Result<R, SlotError> {
    for attempt in 1..=ATTEMPTS {
        let (sealed, result) = match change(seen.record) {
            Step::Keep(result) => return Ok(result),
            Step::Write(sealed, result) => (sealed, result),
        };
        match store.set(key.name(), &sealed, seen.expected) {
            Ok(()) => return Ok(result),
            Err(StoreError::Conflict) if attempt == ATTEMPTS => break,
            Err(StoreError::Conflict) => seen = look_as(store, key, &open)?,
            Err(StoreError::Unavailable) => return Err(SlotError::Unavailable),
        }
    }
    Err(SlotError::Contended)
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;
    use crate::Version;

    #[derive(Clone, Debug, PartialEq)]
    struct Count(u64);
    impl Layout for Count {
        const FORMAT: &'static str = "count/1";
        fn encode(&self, to: &mut Writer) {
            to.u64(self.0);
        }
        fn decode(from: &mut Reader<'_>) -> Option<Self> {
            from.u64().map(Self)
        }
    }

    /// Answers reads from a script; accepts each write once it has refused so many.
    struct Scripted {
        refusals: Cell<u32>,
        reads: RefCell<Vec<Result<Option<Stored>, StoreError>>>,
        written: RefCell<Vec<(Vec<u8>, Expected)>>,
    }
    impl SharedStore for Scripted {
        fn get(&self, _: &str) -> Result<Option<Stored>, StoreError> {
            self.reads.borrow_mut().pop().unwrap_or(Ok(None))
        }
        fn set(&self, _: &str, value: &[u8], expected: Expected) -> Result<(), StoreError> {
            self.written.borrow_mut().push((value.to_vec(), expected));
            let left = self.refusals.get();
            self.refusals.set(left.saturating_sub(1));
            if left > 0 {
                return Err(StoreError::Conflict);
            }
            Ok(())
        }
    }
    fn scripted(mut reads: Vec<Result<Option<Stored>, StoreError>>) -> Scripted {
        reads.reverse();
        Scripted {
            refusals: Cell::default(),
            reads: RefCell::new(reads),
            written: RefCell::default(),
        }
    }
    fn stored(bytes: &[u8], version: u32) -> Result<Option<Stored>, StoreError> {
        Ok(Some(Stored {
            bytes: bytes.to_vec(),
            version: Version(version),
        }))
    }

    #[test]
    fn a_torn_read_is_read_again() {
        let key = SlotKey::new::<Count>("a");
        let whole = seal(&key, &Count(7));
        let mut torn = whole.clone();
        torn[20] ^= 1;
        let store = scripted(vec![stored(&torn, 3), stored(&whole, 3)]);
        assert_eq!(read::<Count>(&store, &key), Ok(Some(Count(7))));
    }

    #[test]
    fn a_slot_that_stays_broken_starts_anew_instead_of_failing_for_ever() {
        let key = SlotKey::new::<Count>("a");
        let store = scripted(vec![
            stored(b"junk", 3),
            stored(b"junk", 3),
            stored(b"junk", 3),
        ]);
        let seen = update(&store, &key, |record: Option<&Count>| {
            Step::Write(Count(1), record.cloned())
        });
        assert_eq!(seen, Ok(None));
        assert_eq!(store.written.borrow()[0].1, Expected::Version(Version(3)));
    }

    #[test]
    fn a_change_starts_from_what_was_seen_and_reads_again_only_where_another_was_faster() {
        let key = SlotKey::new::<Count>("a");
        let five = seal(&key, &Count(5));
        let add = |count: Option<&Count>| {
            let count = count.map_or(0, |count| count.0) + 1;
            Step::Write(Count(count), count)
        };
        let seen = || Seen {
            record: Some(Count(3)),
            expected: Expected::Version(Version(7)),
        };
        let store = scripted(vec![]);
        assert_eq!(update_from(&store, &key, seen(), add), Ok(4));
        assert_eq!(store.written.borrow()[0].1, Expected::Version(Version(7)));

        let store = scripted(vec![stored(&five, 9)]);
        store.refusals.set(1);
        assert_eq!(update_from(&store, &key, seen(), add), Ok(6));
        assert_eq!(store.written.borrow()[1].1, Expected::Version(Version(9)));

        let store = scripted(vec![]);
        store.refusals.set(u32::MAX);
        let lost = update_from(&store, &key, seen(), add);
        assert_eq!(lost, Err(SlotError::Contended));
        assert_eq!(store.written.borrow().len(), ATTEMPTS);
    }

    #[test]
    fn a_key_that_aliases_ours_is_not_overwritten() {
        let theirs = seal(&SlotKey::new::<Count>("b"), &Count(1));
        let store = scripted(vec![stored(&theirs, 1)]);
        let result = update(&store, &SlotKey::new::<Count>("a"), |_: Option<&Count>| {
            Step::Write(Count(1), ())
        });
        assert_eq!(result, Err(SlotError::Foreign));
        assert!(store.written.borrow().is_empty());
    }
}
