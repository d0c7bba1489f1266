//! The two dialects of shared data, each rule by its name.

use super::*;

fn envoy() -> Zone {
    Zone::new(Dialect::Envoy)
}

fn kong() -> Zone {
    Zone::new(Dialect::Kong)
}

fn stored(zone: &Zone, key: &str) -> (Vec<u8>, u32) {
    zone.get(key).expect("the key is there")
}

#[test]
fn envoy_overwrites_with_version_zero() {
    let zone = envoy();
    assert_eq!(zone.set("k", b"a", 0), SetResult::Stored);
    assert_eq!(zone.set("k", b"b", 0), SetResult::Stored);
    assert_eq!(stored(&zone, "k").0, b"b");
}

#[test]
fn envoy_stores_an_absent_key_whatever_version_is_named() {
    let zone = envoy();
    assert_eq!(zone.set("k", b"a", u32::MAX), SetResult::Stored);
    assert_eq!(zone.set("k", b"b", u32::MAX), SetResult::CasMismatch);
    assert_eq!(stored(&zone, "k").0, b"a");
}

#[test]
fn envoy_versions_come_from_one_counter_and_are_never_zero() {
    let zone = envoy();
    zone.set("a", b"", 0);
    zone.set("b", b"", 0);
    assert_eq!((stored(&zone, "a").1, stored(&zone, "b").1), (1, 2));
    zone.lock().next_cas = u32::MAX;
    zone.set("a", b"", 0);
    zone.set("b", b"", 0);
    assert_eq!((stored(&zone, "a").1, stored(&zone, "b").1), (u32::MAX, 1));
}

#[test]
fn envoy_has_no_bound() {
    let zone = envoy();
    zone.set_capacity(1);
    zone.set("a", b"", 0);
    zone.set("b", b"", 0);
    assert_eq!(zone.len(), 2);
}

#[test]
fn envoy_reads_are_never_torn() {
    let zone = envoy();
    zone.tear_reads(1.0, 7);
    zone.set("k", b"old", 0);
    zone.set("k", b"new", 0);
    assert_eq!(zone.filter_get(b"k"), Some((b"new".to_vec(), 2)));
}

#[test]
fn kong_version_zero_creates_and_does_not_overwrite() {
    let zone = kong();
    assert_eq!(zone.set("k", b"a", 0), SetResult::Stored);
    assert_eq!(zone.set("k", b"b", 0), SetResult::CasMismatch);
    assert_eq!(zone.set("k", b"b", 1), SetResult::Stored);
    assert_eq!(stored(&zone, "k"), (b"b".to_vec(), 2));
}

#[test]
fn kong_refuses_a_version_for_an_absent_key() {
    let zone = kong();
    assert_eq!(zone.set("k", b"a", u32::MAX), SetResult::CasMismatch);
    assert!(zone.is_empty());
}

#[test]
fn kong_versions_restart_after_eviction() {
    let zone = kong();
    zone.set("k", b"a", 0);
    zone.set("k", b"b", 1);
    assert!(zone.evict("k"));
    zone.set("k", b"c", 0);
    assert_eq!(stored(&zone, "k").1, 1);
}

#[test]
fn kong_keys_of_equal_crc32_share_a_slot() {
    // CRC32 of both is 0x4ddb0c25.
    let (one, other) = ("plumless", "buckeroo");
    assert_eq!(
        crc32fast::hash(one.as_bytes()),
        crc32fast::hash(other.as_bytes())
    );
    let zone = kong();
    zone.set(one, b"mine", 0);
    assert_eq!(stored(&zone, other).0, b"mine");
    assert_eq!(zone.len(), 1);
    let apart = envoy();
    apart.set(one, b"mine", 0);
    assert_eq!(apart.get(other), None);
}

#[test]
fn kong_evicts_the_least_recently_used() {
    let zone = kong();
    zone.set_capacity(2);
    zone.set("a", b"", 0);
    zone.set("b", b"", 0);
    zone.filter_get(b"a");
    zone.set("c", b"", 0);
    assert_eq!(
        (zone.get("a").is_some(), zone.get("b").is_some(), zone.len()),
        (true, false, 2)
    );
}

#[test]
fn kong_without_eviction_runs_full() {
    let zone = kong();
    zone.set_capacity_without_eviction(1);
    zone.set("a", b"1", 0);
    assert_eq!(zone.set("b", b"", 0), SetResult::Full);
    assert_eq!(zone.set("a", b"2", 1), SetResult::Stored);
}

#[test]
fn kong_value_that_outgrows_its_slot_overflows() {
    let zone = kong();
    zone.set("key", b"1234567890", 0);
    assert_eq!(zone.set("key", b"123", 1), SetResult::Stored);
    assert_eq!(zone.set("key", b"1234567890", 2), SetResult::Stored);
    assert_eq!(zone.set("key", b"12345678901", 3), SetResult::Overflow);
}

#[test]
fn kong_deletes_with_the_right_version_only() {
    let zone = kong();
    assert_eq!(zone.filter_delete(b"k", 0), SetResult::CasMismatch);
    zone.set("k", b"a", 0);
    assert_eq!(zone.filter_delete(b"k", 7), SetResult::CasMismatch);
    assert_eq!(zone.filter_delete(b"k", 1), SetResult::Stored);
    assert!(zone.is_empty());
}

#[test]
fn kong_torn_read_mixes_two_values_under_the_older_version() {
    let zone = kong();
    zone.set("k", &[1; 64], 0);
    zone.tear_reads(1.0, 42);
    assert_eq!(
        zone.filter_get(b"k"),
        Some((vec![1; 64], 1)),
        "nothing came before the first value"
    );
    zone.set("k", &[2; 64], 1);
    let (value, cas) = zone.filter_get(b"k").expect("the key is there");
    assert_eq!(cas, 1);
    assert!(value.contains(&1));
    assert_eq!(value.len(), 64);
    assert_eq!(zone.torn_reads(), 1);
    assert_eq!(stored(&zone, "k"), (vec![2; 64], 2), "a test reads untorn");
}

#[test]
fn kong_tears_with_the_given_probability_and_the_same_seed_tears_the_same_reads() {
    let torn = |seed| {
        let zone = kong();
        zone.set("k", b"11111111", 0);
        zone.set("k", b"22222222", 1);
        zone.tear_reads(0.25, seed);
        (0..1_000)
            .map(|_| zone.filter_get(b"k"))
            .collect::<Vec<_>>()
    };
    let reads = torn(1);
    let count = reads.iter().flatten().filter(|(_, cas)| *cas == 1).count();
    assert!((200..300).contains(&count), "{count} of 1,000");
    assert_eq!(reads, torn(1));
    assert_ne!(reads, torn(2));
}

#[test]
fn somebody_else_can_write_between_a_read_and_a_write() {
    for zone in [envoy(), kong()] {
        zone.set("k", b"a", 0);
        let (_, cas) = stored(&zone, "k");
        zone.before_next_set(|zone| {
            zone.put("k", b"b");
        });
        assert_eq!(zone.filter_set(b"k", b"c", cas), SetResult::CasMismatch);
        assert_eq!(stored(&zone, "k").0, b"b");
    }
}

#[test]
fn size_is_keys_and_values() {
    let zone = envoy();
    zone.set("key", b"value", 0);
    assert_eq!(
        (zone.len(), zone.bytes(), zone.keys()),
        (1, 8, vec!["key".to_owned()])
    );
    zone.clear();
    assert!(zone.is_empty());
}
