//! What policies rely on, whoever keeps what workers share.

use portcullis_policy::{Expected, SharedStore, StoreError};

/// Holds a store to it, by two workers' views of one that is empty.
pub fn check_store(one: &dyn SharedStore, other: &dyn SharedStore) {
    const LENGTH: usize = 4;
    let conflict = Err(StoreError::Conflict);
    // What was never written is not there. (What then becomes of a version that nobody has seen is each store's own affair.)
    assert_eq!(one.get("a"), Ok(None));
    // It is created once.
    assert_eq!(one.set("a", b"1111", Expected::Absent), Ok(()));
    assert_eq!(other.set("a", b"2222", Expected::Absent), conflict);
    // It is changed by whoever has seen it last, and by nobody else.
    let seen = other.get("a").unwrap().unwrap();
    assert_eq!(seen.bytes, b"1111");
    let expected = Expected::Version(seen.version);
    assert_eq!(one.set("a", b"3333", expected), Ok(()));
    assert_eq!(other.set("a", b"4444", expected), conflict);
    assert_eq!(other.get("a").unwrap().unwrap().bytes, b"3333");
    // Also back to what it was before.
    let seen = one.get("a").unwrap().unwrap();
    let expected = Expected::Version(seen.version);
    assert_eq!(one.set("a", b"1111", expected), Ok(()));
    assert_eq!(other.set("a", b"5555", expected), conflict);
    // Others have nothing to do with it.
    assert_eq!(other.get("b"), Ok(None));
    assert_eq!(other.set("b", &[0; LENGTH], Expected::Absent), Ok(()));
    assert_eq!(one.get("b").unwrap().unwrap().bytes, [0; LENGTH]);
    assert_eq!(one.get("a").unwrap().unwrap().bytes, b"1111");
}

#[cfg(test)]
mod tests {
    use portcullis_policy::SharedData;

    use super::*;
    use crate::{Dialect, Zone, ZoneStore};

    #[test]
    fn shared_data_of_both_gateways_is_what_policies_rely_on() {
        for dialect in Dialect::BOTH {
            let zone = Zone::new(dialect);
            let view = || SharedData(ZoneStore::new(&zone, None));
            check_store(&view(), &view());
        }
    }
}
