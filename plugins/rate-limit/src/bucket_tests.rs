//! What a slot makes of requests, one after the other.

use portcullis_policy::Span;

use super::*;
use crate::quota::Algorithm;

const START: Timestamp = Timestamp::from_unix_secs(1_767_254_400);
const ALGORITHMS: [Algorithm; 3] = [
    Algorithm::FixedWindow,
    Algorithm::SlidingWindow,
    Algorithm::TokenBucket,
];

fn quota(algorithm: Algorithm) -> Quota {
    Quota {
        algorithm,
        quota: 5,
        window: Span::from_secs(60),
        burst: 5,
    }
}

fn ask(quota: &Quota, key: u8, cost: u32, now: Timestamp) -> Ask<'_> {
    Ask {
        key: Fingerprint([key; 16]),
        quota,
        cost,
        now,
        horizon: now.after(Span::from_secs(86_400)),
    }
}

/// Charges, and writes what is to be written.
fn charge(bucket: &mut Bucket, ask: &Ask<'_>) -> Charged {
    let (charged, next) = bucket.charge(ask);
    if let Some(next) = next {
        *bucket = next;
    }
    charged
}

fn is_held(bucket: &Bucket, key: u8) -> bool {
    bucket.find(Fingerprint([key; 16])).is_some()
}

fn later(secs: u64) -> Timestamp {
    START.after(Span::from_secs(secs))
}

#[test]
fn a_full_bucket_gives_up_the_key_that_stops_to_matter_first() {
    let quota = quota(Algorithm::FixedWindow);
    let mut bucket = Bucket::new(quota.form());
    for key in 1..=8 {
        let now = later(60 * u64::from(key - 1));
        assert!(!charge(&mut bucket, &ask(&quota, key, 1, now)).evicted);
    }
    let over = bucket.charge(&ask(&quota, 9, 1, later(60))).0;
    assert!(!over.evicted, "the first key's window is over");
    assert!(charge(&mut bucket, &ask(&quota, 9, 1, START)).evicted);
    assert!(!is_held(&bucket, 1) && is_held(&bucket, 9));
}

/// No count matters for longer than the horizon: what does is of a clock that was wrong.
#[test]
fn what_lies_beyond_the_horizon_makes_room_first_and_what_lies_at_it_does_not() {
    let quota = quota(Algorithm::FixedWindow);
    for (beyond, is_held_on) in [(1, false), (0, true)] {
        let mut bucket = Bucket::new(quota.form());
        charge(&mut bucket, &ask(&quota, 1, 1, later(600)));
        for key in 2..=8 {
            charge(&mut bucket, &ask(&quota, key, 1, START));
        }
        let newcomer = Ask {
            horizon: later(660).before(Span::from_nanos(beyond)),
            ..ask(&quota, 9, 1, START)
        };
        charge(&mut bucket, &newcomer);
        assert!(is_held(&bucket, 9));
        assert_eq!(is_held(&bucket, 1), is_held_on, "{beyond}");
    }
}

#[test]
fn what_is_refused_and_what_costs_nothing_writes_nothing() {
    for algorithm in ALGORITHMS {
        let quota = quota(algorithm);
        let mut bucket = Bucket::new(quota.form());
        assert!(bucket.charge(&ask(&quota, 1, 0, START)).1.is_none());
        charge(&mut bucket, &ask(&quota, 1, 5, START));
        for secs in [0, 1, 7] {
            let (charged, next) = bucket.charge(&ask(&quota, 1, 1, later(secs)));
            assert_eq!(charged.decision.charged, None, "{algorithm:?}");
            assert!(next.is_none(), "{algorithm:?}");
            let (charged, next) = bucket.charge(&ask(&quota, 1, 0, later(secs)));
            assert!(charged.decision.charged.is_some() && next.is_none());
        }
        // A window later, of which nothing is held yet.
        let (charged, next) = bucket.charge(&ask(&quota, 1, 0, later(60)));
        assert!(charged.decision.charged.is_some() && next.is_none());
        let full = (1..=8).fold(Bucket::new(quota.form()), |mut bucket, key| {
            charge(&mut bucket, &ask(&quota, key, 1, START));
            bucket
        });
        let (charged, next) = full.charge(&ask(&quota, 9, 0, START));
        assert!(!charged.evicted && next.is_none(), "{algorithm:?}");
    }
}

#[test]
fn a_charge_that_is_given_back_leaves_the_slot_as_it_was_to_the_byte() {
    for algorithm in ALGORITHMS {
        let quota = quota(algorithm);
        let mut bucket = Bucket::new(quota.form());
        for (key, secs) in (1..=12).zip([0, 5, 5, 60, 61, 61, 200, 200, 200, 201, 230, 260]) {
            let ask = ask(&quota, key % 10, 2, later(secs));
            let before = bucket.clone();
            let charged = charge(&mut bucket, &ask);
            assert!(charged.decision.charged.is_some());
            assert_ne!(bucket, before);
            assert_eq!(bucket.give_back(&charged, &ask), Some(before));
        }
    }
}

#[test]
fn a_clock_that_is_right_again_is_undone_too() {
    let quota = quota(Algorithm::FixedWindow);
    let mut bucket = Bucket::new(quota.form());
    charge(&mut bucket, &ask(&quota, 1, 1, later(600)));
    let past = ask(&quota, 1, 1, START);
    let (refused, written) = bucket.charge(&past);
    assert_eq!(refused.decision.charged, None);
    bucket = written.expect("from when on the past runs");
    assert!(bucket.charge(&past).1.is_none(), "and that is known now");
    let before = bucket.clone();
    let right = ask(&quota, 1, 1, later(601));
    let charged = charge(&mut bucket, &right);
    assert_eq!(charged.changes.len(), 2);
    assert_eq!(bucket.give_back(&charged, &right), Some(before));
}

#[test]
fn what_others_did_since_stays_when_a_charge_is_given_back() {
    for algorithm in ALGORITHMS {
        let quota = quota(algorithm);
        let full = (1..=8).fold(Bucket::new(quota.form()), |mut bucket, key| {
            charge(
                &mut bucket,
                &ask(&quota, key, 1 + u32::from(key % 2), START),
            );
            bucket
        });
        let newcomer = ask(&quota, 9, 2, START);
        let mut bucket = full.clone();
        let first = charge(&mut bucket, &newcomer);
        assert!(first.evicted);
        let pushed_out = (1..=8).find(|key| !is_held(&bucket, *key)).unwrap();

        // Another of the same key: the place stays the newcomer's.
        let mut shared = bucket.clone();
        let second = charge(&mut shared, &newcomer);
        let left = shared.give_back(&first, &newcomer).unwrap();
        assert!(
            is_held(&left, 9) && !is_held(&left, pushed_out),
            "{algorithm:?}"
        );
        let used = |bucket: &Bucket| *bucket.find(Fingerprint([9; 16])).unwrap();
        assert_eq!(used(&left), used(&bucket), "{algorithm:?}");
        // That one is given back, too: nothing is left that would take a place.
        let left = left.give_back(&second, &newcomer).unwrap();
        assert!(!is_held(&left, 9), "{algorithm:?}");
        // In the other order the one that pushed out goes last, and undoes it.
        let left = shared.give_back(&second, &newcomer).unwrap();
        assert_eq!(
            left.give_back(&first, &newcomer),
            Some(full.clone()),
            "{algorithm:?}"
        );

        // Another key in another place changes nothing of it.
        let mut other = bucket.clone();
        let held = (1..=8).find(|key| is_held(&other, *key)).unwrap();
        charge(&mut other, &ask(&quota, held, 1, START));
        let left = other.give_back(&first, &newcomer).unwrap();
        assert!(
            is_held(&left, pushed_out) && !is_held(&left, 9),
            "{algorithm:?}"
        );

        // The one that was pushed out has come back elsewhere: it is not there twice.
        let mut back = bucket.clone();
        charge(&mut back, &ask(&quota, pushed_out, 3, START));
        if is_held(&back, 9) {
            let left = back.give_back(&first, &newcomer).unwrap();
            let count = |key: u8| {
                left.entries
                    .iter()
                    .filter(|e| e.fingerprint.0 == [key; 16])
                    .count()
            };
            assert_eq!((count(pushed_out), count(9)), (1, 0), "{algorithm:?}");
        }
        // The newcomer itself was pushed out since: there is nothing to give back.
        let gone = full.clone();
        assert_eq!(gone.give_back(&first, &newcomer), None);
    }
}

#[test]
fn a_slot_comes_back_as_it_was_in_both_forms() {
    use portcullis_policy::{SharedData, SlotKey, Step, read, update};
    use portcullis_sim::{Dialect, Zone, ZoneStore};
    for algorithm in ALGORITHMS {
        let quota = quota(algorithm);
        let mut bucket = Bucket::new(quota.form());
        for key in 1..=5 {
            charge(
                &mut bucket,
                &ask(&quota, key, u32::from(key), later(u64::from(key))),
            );
        }
        let store = SharedData(ZoneStore::new(&Zone::new(Dialect::Kong), None));
        let slot = SlotKey::new::<Bucket>("slot");
        update(&store, &slot, |_: Option<&Bucket>| {
            Step::Write(bucket.clone(), ())
        })
        .unwrap();
        assert_eq!(
            read::<Bucket>(&store, &slot),
            Ok(Some(bucket)),
            "{algorithm:?}"
        );
    }
}
