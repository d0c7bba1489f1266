//! Whose slots are where.

use portcullis_policy::colliding;

use super::*;
use crate::hash_key::HASH_KEY_NAME;

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("limit_{n}")).collect()
}

fn placed(names: &[String], slots: u32) -> Vec<Range> {
    let limits: Vec<_> = names
        .iter()
        .map(|n| (n.as_str(), slots, Form::Log))
        .collect();
    ranges(&limits)
}

#[test]
fn kong_takes_no_slot_for_another() {
    let ranges = placed(&names(32), 3_907);
    let all: Vec<String> = slot_names(&ranges)
        .chain([HASH_KEY_NAME.to_owned()])
        .collect();
    assert_eq!(all.len(), 32 * 3_907 + 2);
    assert_eq!(colliding(all.iter().map(String::as_str)), None);
}

/// CRC32 (ISO-HDLC), bit by bit, without its last complement.
fn crc_state(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |state, byte| {
        (0..8).fold(state ^ u32::from(*byte), |state, _| match state & 1 {
            0 => state >> 1,
            _ => (state >> 1) ^ 0xedb8_8320,
        })
    })
}

/// The four bytes behind `prefix` that make its CRC32 that of `other`: there is one such text.
fn twin(prefix: &str, other: &str) -> [u8; 4] {
    let back = (0..32).fold(crc_state(other.as_bytes()), |state, _| {
        if state & 0x8000_0000 == 0 {
            state << 1
        } else {
            ((state ^ 0xedb8_8320) << 1) | 1
        }
    });
    (back ^ crc_state(prefix.as_bytes())).to_le_bytes()
}

#[test]
fn no_slot_that_can_be_named_is_taken_for_one_of_the_two_others() {
    assert_eq!(!crc_state(b"123456789"), 0xcbf4_3926);
    assert_eq!(
        twin("portcullis/rate_limit/", "portcullis/rate_limit/a-Z9"),
        *b"a-Z9"
    );
    for other in [HASH_KEY_NAME, LAID_OUT_NAME] {
        for cut in ["", "portcullis/"] {
            let of = |name: &'static str| name.strip_prefix(cut).unwrap();
            let twin = twin(of("portcullis/rate_limit/"), of(other));
            assert!(!twin.iter().all(|byte| DIGITS.contains(byte)), "{other}");
        }
    }
}

#[test]
fn neither_order_nor_other_limits_move_a_limits_slots() {
    let names = names(32);
    let all = placed(&names, 100);
    for (n, range) in all.iter().enumerate() {
        assert_eq!(placed(&names[n..=n], 100), [*range]);
        assert!(all[..n].iter().all(|other| !range.overlaps(other)));
    }
    let reversed: Vec<String> = names.iter().rev().cloned().collect();
    let mut again = placed(&reversed, 100);
    again.reverse();
    assert_eq!(again, all);
}

#[test]
fn limits_that_meet_on_the_ring_get_slots_of_their_own_in_any_order() {
    // So large that some meet.
    let names = names(32);
    let all = placed(&names, 100_000);
    for (n, range) in all.iter().enumerate() {
        assert!(all[..n].iter().all(|other| !range.overlaps(other)), "{n}");
    }
    let alone = (0..32).map(|n| placed(&names[n..=n], 100_000)[0]);
    assert!(alone.zip(&all).any(|(alone, placed)| alone != *placed));
    let reversed: Vec<String> = names.iter().rev().cloned().collect();
    let mut again = placed(&reversed, 100_000);
    again.reverse();
    assert_eq!(again, all);
    assert_eq!(slot_name(0), "portcullis/rate_limit/0000");
    let last = Range {
        first: MASK,
        slots: 2,
        form: Form::Count,
    };
    let names = [last.slot_name(0), last.slot_name(1)];
    assert_eq!(names, [slot_name(MASK), slot_name(0)]);
}

#[test]
fn slots_of_different_sizes_never_have_one_name() {
    let slots = RING / 2 + 1;
    let all = [("a", slots, Form::Count), ("a", slots, Form::Log)];
    let ranges = ranges(&all);
    let [count, log] = [&ranges[0], &ranges[1]];
    assert_eq!(count.first, log.first, "neither moves the other");
    let digits = |range: &Range| {
        let names = range.names().step_by(1_000);
        let digits = names.map(|name| name.as_bytes()["portcullis/rate_limit/".len()]);
        digits.collect::<std::collections::BTreeSet<u8>>()
    };
    assert!(digits(count).is_disjoint(&digits(log)));
}

#[test]
fn the_capacity_is_shared_evenly_by_those_without_one_of_their_own() {
    let (shared, one) = ((None, false), (None, true));
    for (capacity, own, slots) in [
        (640, &[shared][..], &[80][..]),
        (640, &[shared, shared], &[40, 40]),
        (640, &[shared, one, shared], &[40, 1, 40]),
        (640, &[shared, (Some(41), false), shared], &[38, 6, 38]),
        (640, &[(Some(640), false)], &[80]),
        // So few that a share of them is too few.
        (64, &[shared, shared], &[8, 8]),
        (16, &[shared, one, shared], &[2, 1, 2]),
        (1, &[shared, shared, shared], &[1, 1, 1]),
    ] {
        assert_eq!(shares(capacity, own).unwrap(), slots, "{own:?}");
    }
    for own in [
        &[(Some(40), false), (Some(25), false)][..],
        &[(Some(64), false), shared],
    ] {
        let error = shares(64, own).unwrap_err().to_string();
        assert!(error.starts_with("capacity: the limits' own"), "{error}");
    }
}

#[test]
fn slots_are_laid_out_once_and_anew_where_they_are_others() {
    use portcullis_policy::SharedData;
    use portcullis_sim::{Dialect, Zone, ZoneStore};
    let of = |form: Form, slots: u32| ranges(&[("a", slots, form), ("b", 3, Form::Count)]);
    for dialect in Dialect::BOTH {
        let zone = Zone::new(dialect);
        let store = SharedData(ZoneStore::new(&zone, None));
        lay_out(&store, &of(Form::Log, 5)).unwrap();
        assert_eq!(zone.len(), 5 + 3 + 1);
        let writes = store.0.writes();
        lay_out(&store, &of(Form::Log, 5)).unwrap();
        assert_eq!(store.0.writes(), writes, "{dialect:?}");
        lay_out(&store, &of(Form::Log, 7)).unwrap();
        assert_eq!(zone.len(), 7 + 3 + 1);
        lay_out(&store, &of(Form::Count, 7)).unwrap();
        assert_eq!(
            zone.len(),
            7 + 7 + 3 + 1,
            "slots of another form beside them"
        );
        let writes = store.0.writes();
        lay_out(&store, &of(Form::Count, 7)).unwrap();
        assert_eq!(store.0.writes(), writes, "{dialect:?}");
    }
}

#[test]
fn what_is_laid_out_differs_by_forms_beginnings_and_numbers_and_is_no_number_of_old() {
    let of = |form: Form, first: u32, slots: u32| LaidOut::of(&[Range { first, slots, form }]);
    let all = [
        of(Form::Log, 1, 2),
        of(Form::Count, 1, 2),
        of(Form::Log, 2, 2),
        of(Form::Log, 1, 3),
    ];
    for (index, one) in all.iter().enumerate() {
        assert!(one.0 >= 0x8000_0000 && one.0 != u32::MAX, "{one:?}");
        assert!(all.iter().skip(index + 1).all(|other| other != one));
    }
    let (a, b) = (
        Range {
            first: 1,
            slots: 2,
            form: Form::Log,
        },
        Range {
            first: 9,
            slots: 2,
            form: Form::Log,
        },
    );
    assert_eq!(LaidOut::of(&[a, b]), LaidOut::of(&[b, a]));
}
