//! A slot's bytes: whose they are, the record, and a checksum over both.

use std::hash::Hasher as _;

use siphasher::sip::SipHasher24;
use twox_hash::XxHash64;

use super::key::{IDENTITY, SlotKey};
use super::layout::{Layout, Reader, Writer};

const CHECKSUM: usize = 8;

/// What bytes in shared data are.
pub(super) enum Opened<T> {
    Record(T),
    /// They are of another slot.
    Foreign,
    /// They are not whole, or no such record.
    Broken,
}

/// The bytes of a record.
pub(super) fn seal<L: Layout>(key: &SlotKey, record: &L) -> Vec<u8> {
    let mut writer = Writer(Vec::with_capacity(1024));
    writer.bytes(&key.identity);
    record.encode(&mut writer);
    let checksum = checksum(&writer.0);
    writer.u64(checksum);
    writer.0
}

/// The record that such bytes hold.
pub(super) fn open<L: Layout>(key: &SlotKey, bytes: &[u8]) -> Opened<L> {
    match check(key, bytes) {
        Opened::Record(record) => {
            let mut reader = Reader(record);
            match L::decode(&mut reader) {
                Some(record) if reader.0.is_empty() => Opened::Record(record),
                _ => Opened::Broken,
            }
        }
        Opened::Foreign => Opened::Foreign,
        Opened::Broken => Opened::Broken,
    }
}

/// The bytes of a slot whose record is so long, all of it zero.
pub(super) fn zeroed(key: &SlotKey, length: usize) -> Vec<u8> {
    let size = IDENTITY.saturating_add(length).saturating_add(CHECKSUM);
    let mut bytes = Vec::with_capacity(size);
    bytes.extend_from_slice(&key.identity);
    bytes.resize(size, 0);
    bytes
}

/// The record in a slot's bytes, which are known to be whole.
pub(super) fn record(bytes: &[u8]) -> &[u8] {
    let end = bytes.len().saturating_sub(CHECKSUM);
    bytes.get(IDENTITY..end).unwrap_or_default()
}

/// The same, to be changed. Then the checksum has to be [`renew`]ed.
pub(super) fn record_mut(bytes: &mut [u8]) -> &mut [u8] {
    let end = bytes.len().saturating_sub(CHECKSUM);
    bytes.get_mut(IDENTITY..end).unwrap_or_default()
}

/// Makes the checksum that of the bytes as they are now.
pub(super) fn renew(bytes: &mut [u8]) {
    if let Some((sealed, sum)) = bytes.split_last_chunk_mut() {
        *sum = checksum(sealed).to_le_bytes();
    }
}

/// The record's own bytes, where all are whole and of this slot.
pub(super) fn check<'b>(key: &SlotKey, bytes: &'b [u8]) -> Opened<&'b [u8]> {
    let Some((sealed, sum)) = bytes.split_last_chunk::<CHECKSUM>() else {
        return Opened::Broken;
    };
    if *sum != checksum(sealed).to_le_bytes() {
        return match *sum == former_checksum(sealed).to_le_bytes() {
            true => Opened::Foreign,
            false => Opened::Broken,
        };
    }
    match sealed.split_first_chunk::<IDENTITY>() {
        Some((identity, record)) if *identity == key.identity => Opened::Record(record),
        Some(_) | None => Opened::Foreign,
    }
}

/// Against accidents, not against attackers: only filters write shared data (XXH64, xxHash specification 0.1.1).
fn checksum(bytes: &[u8]) -> u64 {
    XxHash64::oneshot(0, bytes)
}

/// That of releases before this one. What they wrote is whole: while both are at work in one process neither may take the
/// other's slots for broken and begin them anew.
fn former_checksum(bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher24::new();
    hasher.write(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot() -> SlotKey {
        SlotKey::of_format("f/1", "a".to_owned())
    }

    #[test]
    fn a_single_bit_that_differs_is_noticed_wherever_it_is() {
        let mut whole = zeroed(&slot(), 40);
        renew(&mut whole);
        assert!(matches!(check(&slot(), &whole), Opened::Record(_)));
        for bit in 0..whole.len() * 8 {
            let mut torn = whole.clone();
            torn[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(check(&slot(), &torn), Opened::Broken), "bit {bit}");
        }
    }

    #[test]
    fn what_a_former_release_wrote_is_foreign_and_not_broken() {
        let mut theirs = zeroed(&slot(), 40);
        let (sealed, sum) = theirs.split_last_chunk_mut::<CHECKSUM>().unwrap();
        *sum = former_checksum(sealed).to_le_bytes();
        assert!(matches!(check(&slot(), &theirs), Opened::Foreign));
        theirs[20] ^= 1;
        assert!(matches!(check(&slot(), &theirs), Opened::Broken));
    }
}
