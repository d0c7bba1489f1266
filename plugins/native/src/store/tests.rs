use std::thread;

use super::*;

fn view(name: &str) -> View {
    View::of(Zone::named(name))
}

#[test]
fn a_value_is_created_once_and_changed_by_whoever_has_seen_it_last() {
    let (one, other) = (view("once"), view("once"));
    assert_eq!(one.get("a"), Ok(None));
    assert_eq!(one.set("a", b"1", Expected::Absent), Ok(()));
    assert_eq!(
        other.set("a", b"2", Expected::Absent),
        Err(StoreError::Conflict)
    );
    let seen = other.get("a").unwrap().unwrap();
    assert_eq!(seen.bytes, b"1");
    assert_eq!(
        one.set("a", b"longer", Expected::Version(seen.version)),
        Ok(())
    );
    assert_eq!(
        other.set("a", b"3", Expected::Version(seen.version)),
        Err(StoreError::Conflict)
    );
    assert_eq!(other.get("a").unwrap().unwrap().bytes, b"longer");
}

#[test]
fn what_was_never_written_has_no_version_to_be_seen() {
    let view = view("never");
    let any = Expected::Version(Version(1));
    assert_eq!(view.set("a", b"1", any), Err(StoreError::Conflict));
    assert_eq!(view.get("a"), Ok(None));
}

#[test]
fn zones_of_two_names_have_nothing_in_common_and_one_outlives_its_views() {
    view("lasting").set("a", b"1", Expected::Absent).unwrap();
    assert_eq!(view("other").get("a"), Ok(None));
    assert_eq!(view("lasting").get("a").unwrap().unwrap().bytes, b"1");
}

#[test]
fn no_addition_is_lost_among_threads() {
    const THREADS: u64 = 8;
    const EACH: u64 = 5_000;
    let add = || {
        let view = view("sum");
        for _ in 0..EACH {
            loop {
                let seen = view.get("sum").unwrap();
                let (sum, expected) = match &seen {
                    None => (0, Expected::Absent),
                    Some(seen) => (
                        u64::from_le_bytes(seen.bytes.as_slice().try_into().unwrap()),
                        Expected::Version(seen.version),
                    ),
                };
                if view.set("sum", &(sum + 1).to_le_bytes(), expected).is_ok() {
                    break;
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(add);
        }
    });
    let sum = view("sum").get("sum").unwrap().unwrap();
    assert_eq!(sum.bytes, (THREADS * EACH).to_le_bytes());
}
