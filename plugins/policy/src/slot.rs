//! Slots: fixed-size records in shared data, and the only loop that changes one.
//!
//! Shared data has its traps: on Kong two keys with one CRC32 are one key, a read can be torn, a
//! value can vanish and its version start anew. So a slot's bytes carry the identity of the slot
//! they belong to and a checksum over everything, and they never change their size.
//!
//! ```text
//! identity 16 | record LEN | checksum 8
//! ```

use std::collections::BTreeMap;
use std::hash::Hasher as _;

use siphasher::sip::SipHasher24;
use siphasher::sip128::{Hasher128 as _, SipHasher24 as SipHasher24x128};

use crate::{Expected, SharedStore, StoreError, Stored};

const IDENTITY: usize = 16;
const CHECKSUM: usize = 8;

/// A record of a fixed size.
pub trait Layout: Sized + Clone {
    /// Names the record's format: change it when the format changes, so that what an older release
    /// left in shared data is not misread.
    const FORMAT: &'static str;
    /// Writes all fields, in order.
    fn encode(&self, to: &mut Writer);
    /// Reads what [`Layout::encode`] wrote; `None` when it can't have.
    fn decode(from: &mut Reader<'_>) -> Option<Self>;
}

/// A slot's name and what follows from it.
#[derive(Clone, Debug)]
pub struct SlotKey {
    name: String,
    identity: [u8; IDENTITY],
}

impl SlotKey {
    /// A slot of that name. Names come from configuration, never from a request.
    #[must_use]
    pub fn new<L: Layout>(name: impl Into<String>) -> Self {
        let name = name.into();
        let mut hasher = SipHasher24x128::new();
        hasher.write(L::FORMAT.as_bytes());
        hasher.write(&[0]);
        hasher.write(name.as_bytes());
        Self {
            identity: hasher.finish128().as_bytes(),
            name,
        }
    }

    /// Its name: the key in shared data.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// The first two of these names that Kong would take for one another: equal CRC32, as they stand or
/// behind their first slash. What stands before it may name a zone of its own, and is then no part
/// of the key.
pub fn colliding<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<(&'a str, &'a str)> {
    let mut seen = BTreeMap::new();
    for name in names {
        let in_zone = name.split_once('/').map_or(name, |(_, key)| key);
        for (kind, key) in [("whole", name), ("in zone", in_zone)] {
            if let Some(other) = seen.insert((kind, crc32fast::hash(key.as_bytes())), name) {
                return Some((other, name));
            }
        }
    }
    None
}

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
    pub const fn reason(self) -> &'static str {
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
    let mut broken: Option<(Stored, usize)> = None;
    for _ in 0..ATTEMPTS {
        let stored = match store.get(&key.name) {
            Ok(stored) => stored,
            Err(StoreError::Conflict) => continue,
            Err(StoreError::Unavailable) => return Err(SlotError::Unavailable),
        };
        let Some(stored) = stored else {
            return Ok(Seen {
                record: None,
                expected: Expected::Absent,
            });
        };
        let expected = Expected::Version(stored.version);
        match open(key, &stored.bytes) {
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
    match store.set(&key.name, &seal(key, record), Expected::Absent) {
        Ok(()) | Err(StoreError::Conflict) => Ok(()),
        Err(StoreError::Unavailable) => Err(SlotError::Unavailable),
    }
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
    mut seen: Seen<L>,
    mut change: impl FnMut(Option<&L>) -> Step<L, R>,
) -> Result<R, SlotError> {
    for attempt in 1..=ATTEMPTS {
        let (record, result) = match change(seen.record()) {
            Step::Keep(result) => return Ok(result),
            Step::Write(record, result) => (record, result),
        };
        match store.set(&key.name, &seal(key, &record), seen.expected) {
            Ok(()) => return Ok(result),
            Err(StoreError::Conflict) if attempt == ATTEMPTS => {}
            Err(StoreError::Conflict) => seen = look(store, key)?,
            Err(StoreError::Unavailable) => return Err(SlotError::Unavailable),
        }
    }
    Err(SlotError::Contended)
}

/// Reads of the same broken bytes, one after the other, after which nobody is still writing them.
const BROKEN_FOR_GOOD: usize = 3;

enum Opened<L> {
    Record(L),
    Foreign,
    Broken,
}

fn seal<L: Layout>(key: &SlotKey, record: &L) -> Vec<u8> {
    let mut writer = Writer(Vec::with_capacity(1024));
    writer.bytes(&key.identity);
    record.encode(&mut writer);
    let checksum = checksum(&writer.0);
    writer.u64(checksum);
    writer.0
}

fn open<L: Layout>(key: &SlotKey, bytes: &[u8]) -> Opened<L> {
    let Some((sealed, sum)) = bytes
        .len()
        .checked_sub(CHECKSUM)
        .and_then(|at| bytes.split_at_checked(at))
    else {
        return Opened::Broken;
    };
    if Reader(sum).u64() != Some(checksum(sealed)) {
        return Opened::Broken;
    }
    let mut reader = Reader(sealed);
    match reader.take(IDENTITY) {
        Some(identity) if identity == key.identity => {}
        _ => return Opened::Foreign,
    }
    match L::decode(&mut reader) {
        Some(record) if reader.0.is_empty() => Opened::Record(record),
        _ => Opened::Broken,
    }
}

/// Against accidents, not against attackers: only filters write shared data.
fn checksum(bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher24::new();
    hasher.write(bytes);
    hasher.finish()
}

/// Writes numbers, little-endian.
pub struct Writer(Vec<u8>);

impl Writer {
    /// Writes bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
    /// Writes a byte.
    pub fn u8(&mut self, value: u8) {
        self.0.push(value);
    }
    /// Writes two bytes.
    pub fn u16(&mut self, value: u16) {
        self.bytes(&value.to_le_bytes());
    }
    /// Writes four bytes.
    pub fn u32(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }
    /// Writes eight bytes.
    pub fn u64(&mut self, value: u64) {
        self.bytes(&value.to_le_bytes());
    }
}

/// Reads what a [`Writer`] wrote.
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads bytes.
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }
    /// Reads a fixed number of bytes.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }
    /// Reads a byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(u8::from_le_bytes)
    }
    /// Reads two bytes.
    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }
    /// Reads four bytes.
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }
    /// Reads eight bytes.
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
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

    #[test]
    fn names_that_kong_would_take_for_one_another_are_found() {
        // Two words with one CRC32, long known: "plumless" and "buckeroo".
        assert_eq!(
            colliding(["a", "plumless", "buckeroo"]),
            Some(("plumless", "buckeroo"))
        );
        assert_eq!(
            colliding(["zone/plumless", "z/buckeroo"]),
            Some(("zone/plumless", "z/buckeroo"))
        );
        assert_eq!(colliding(["a", "b"]), None);
    }
}
