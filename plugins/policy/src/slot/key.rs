//! A slot's name, and what follows from it.

use std::collections::BTreeMap;
use std::hash::Hasher as _;

use siphasher::sip128::{Hasher128 as _, SipHasher24};

use super::layout::Layout;

/// Bytes of an identity.
pub(super) const IDENTITY: usize = 16;

/// A slot's name and what follows from it.
#[derive(Clone, Debug)]
pub struct SlotKey {
    name: String,
    pub(super) identity: [u8; IDENTITY],
}

impl SlotKey {
    /// A slot of that name. Names come from configuration, never from a request.
    #[must_use]
    pub fn new<L: Layout>(name: impl Into<String>) -> Self {
        Self::of_format(L::FORMAT, name.into())
    }

    pub(super) fn of_format(format: &str, name: String) -> Self {
        let mut hasher = SipHasher24::new();
        hasher.write(format.as_bytes());
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

#[cfg(test)]
mod tests {
    use super::*;

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
