//! What a slot makes of requests, one after the other.

use portcullis_policy::Span;

use super::*;
use crate::quota::{Algorithm, Quota};

const START: Timestamp = Timestamp::from_unix_secs(1_767_254_400);
const ALGORITHMS: [Algorithm; 3] = [
    Algorithm::FixedWindow,
    Algorithm::SlidingWindow,
    Algorithm::TokenBucket,
];

fn quota(algorithm: Algorithm) -> Quota {
    Quota::new(algorithm, 5, Span::from_secs(60), None)
}

/// A slot's record.
#[derive(Clone, Debug, PartialEq)]
struct Slot {
    form: Form,
    record: Vec<u8>,
}

impl Slot {
    fn new(quota: &Quota) -> Self {
        let form = quota.counting().form();
        let mut record = vec![0; length(form)];
        begin(&mut record, form);
        Self { form, record }
    }

    fn bucket(&self) -> Bucket<'_> {
        Bucket::of(&self.record, self.form)
    }

    /// As it is after these changes; `None` where there are none.
    fn with(&self, changes: &[Change]) -> Option<Self> {
        let mut next = self.clone();
        write(&mut next.record, self.form, changes);
        (!changes.is_empty()).then_some(next)
    }

    fn give_back(&self, charged: &Charged, ask: &Ask<'_>) -> Option<Self> {
        self.with(&self.bucket().give_back(charged, ask))
    }

    fn find(&self, key: u8) -> Option<Entry> {
        let found = self.bucket().find(Fingerprint([key; 16]));
        found.map(|(_, entry)| entry)
    }
}

fn ask(quota: &Quota, key: u8, cost: u32, now: Timestamp) -> Ask<'_> {
    Ask {
        key: Fingerprint([key; 16]),
        quota: quota.counting(),
        cost,
        now,
        horizon: now.after(Span::from_secs(86_400)),
    }
}

/// Charges, and writes what is to be written.
fn charge(slot: &mut Slot, ask: &Ask<'_>) -> Charged {
    let (charged, next) = planned(slot, ask);
    if let Some(next) = next {
        *slot = next;
    }
    charged
}

/// What becomes of a request, and the slot as it would be then; `None` where nothing is to be written.
fn planned(slot: &Slot, ask: &Ask<'_>) -> (Charged, Option<Slot>) {
    let charged = slot.bucket().charge(ask);
    let next = slot.with(&charged.changes);
    (charged, next)
}

fn is_held(slot: &Slot, key: u8) -> bool {
    slot.find(key).is_some()
}

fn later(secs: u64) -> Timestamp {
    START.after(Span::from_secs(secs))
}

#[test]
fn a_full_slot_gives_up_the_key_that_expires_first() {
    let quota = quota(Algorithm::FixedWindow);
    let mut slot = Slot::new(&quota);
    for key in 1..=8 {
        let now = later(60 * u64::from(key - 1));
        assert!(!charge(&mut slot, &ask(&quota, key, 1, now)).evicted);
    }
    let over = planned(&slot, &ask(&quota, 9, 1, later(60))).0;
    assert!(!over.evicted, "the first key's window is over");
    assert!(charge(&mut slot, &ask(&quota, 9, 1, START)).evicted);
    assert!(!is_held(&slot, 1) && is_held(&slot, 9));
}

/// No count limits for longer than the horizon: what does is of a clock that was wrong.
#[test]
fn what_lies_beyond_the_horizon_makes_room_first_and_what_lies_at_it_does_not() {
    let quota = quota(Algorithm::FixedWindow);
    for (beyond, is_held_on) in [(1, false), (0, true)] {
        let mut slot = Slot::new(&quota);
        charge(&mut slot, &ask(&quota, 1, 1, later(600)));
        for key in 2..=8 {
            charge(&mut slot, &ask(&quota, key, 1, START));
        }
        let newcomer = Ask {
            horizon: later(660).before(Span::from_nanos(beyond)),
            ..ask(&quota, 9, 1, START)
        };
        charge(&mut slot, &newcomer);
        assert!(is_held(&slot, 9));
        assert_eq!(is_held(&slot, 1), is_held_on, "{beyond}");
    }
}

#[test]
fn what_is_refused_and_what_costs_nothing_writes_nothing() {
    for algorithm in ALGORITHMS {
        let quota = quota(algorithm);
        let mut slot = Slot::new(&quota);
        assert!(planned(&slot, &ask(&quota, 1, 0, START)).1.is_none());
        charge(&mut slot, &ask(&quota, 1, 5, START));
        for secs in [0, 1, 7] {
            let (charged, next) = planned(&slot, &ask(&quota, 1, 1, later(secs)));
            assert_eq!(charged.decision.charged, None, "{algorithm:?}");
            assert!(next.is_none(), "{algorithm:?}");
            let (charged, next) = planned(&slot, &ask(&quota, 1, 0, later(secs)));
            assert!(charged.decision.charged.is_some() && next.is_none());
        }
        // A window later, of which nothing is held yet.
        let (charged, next) = planned(&slot, &ask(&quota, 1, 0, later(60)));
        assert!(charged.decision.charged.is_some() && next.is_none());
        let full = (1..=8).fold(Slot::new(&quota), |mut slot, key| {
            charge(&mut slot, &ask(&quota, key, 1, START));
            slot
        });
        let (charged, next) = planned(&full, &ask(&quota, 9, 0, START));
        assert!(!charged.evicted && next.is_none(), "{algorithm:?}");
    }
}

#[test]
fn a_charge_that_is_given_back_leaves_the_slot_as_it_was_to_the_byte() {
    for algorithm in ALGORITHMS {
        let quota = quota(algorithm);
        let mut slot = Slot::new(&quota);
        for (key, secs) in (1..=12).zip([0, 5, 5, 60, 61, 61, 200, 200, 200, 201, 230, 260]) {
            let ask = ask(&quota, key % 10, 2, later(secs));
            let before = slot.clone();
            let charged = charge(&mut slot, &ask);
            assert!(charged.decision.charged.is_some());
            assert_ne!(slot, before);
            assert_eq!(slot.give_back(&charged, &ask), Some(before));
        }
    }
}

#[test]
fn a_clock_that_is_right_again_is_undone_too() {
    let quota = quota(Algorithm::FixedWindow);
    let mut slot = Slot::new(&quota);
    charge(&mut slot, &ask(&quota, 1, 1, later(600)));
    let past = ask(&quota, 1, 1, START);
    let (refused, written) = planned(&slot, &past);
    assert_eq!(refused.decision.charged, None);
    slot = written.expect("from when on the past runs");
    assert!(planned(&slot, &past).1.is_none(), "and that is known now");
    let before = slot.clone();
    let right = ask(&quota, 1, 1, later(601));
    let charged = charge(&mut slot, &right);
    assert_eq!(charged.changes.len(), 2);
    assert_eq!(slot.give_back(&charged, &right), Some(before));
}

#[test]
fn what_others_did_since_stays_when_a_charge_is_given_back() {
    for algorithm in ALGORITHMS {
        let quota = quota(algorithm);
        let full = (1..=8).fold(Slot::new(&quota), |mut slot, key| {
            charge(&mut slot, &ask(&quota, key, 1 + u32::from(key % 2), START));
            slot
        });
        let newcomer = ask(&quota, 9, 2, START);
        let mut slot = full.clone();
        let first = charge(&mut slot, &newcomer);
        assert!(first.evicted);
        let pushed_out = (1..=8).find(|key| !is_held(&slot, *key)).unwrap();

        // Another of the same key: the entry stays the newcomer's.
        let mut shared = slot.clone();
        let second = charge(&mut shared, &newcomer);
        let left = shared.give_back(&first, &newcomer).unwrap();
        assert!(
            is_held(&left, 9) && !is_held(&left, pushed_out),
            "{algorithm:?}"
        );
        let used = |slot: &Slot| slot.find(9).unwrap();
        assert_eq!(used(&left), used(&slot), "{algorithm:?}");
        // That one is given back, too: nothing is left that would take an entry.
        let left = left.give_back(&second, &newcomer).unwrap();
        assert!(!is_held(&left, 9), "{algorithm:?}");
        // In the other order the one that pushed out goes last, and undoes it.
        let left = shared.give_back(&second, &newcomer).unwrap();
        assert_eq!(
            left.give_back(&first, &newcomer),
            Some(full.clone()),
            "{algorithm:?}"
        );

        // Another key in another entry changes nothing of it.
        let mut other = slot.clone();
        let held = (1..=8).find(|key| is_held(&other, *key)).unwrap();
        charge(&mut other, &ask(&quota, held, 1, START));
        let left = other.give_back(&first, &newcomer).unwrap();
        assert!(
            is_held(&left, pushed_out) && !is_held(&left, 9),
            "{algorithm:?}"
        );

        // The one that was pushed out has come back elsewhere: it is not there twice.
        let mut back = slot.clone();
        charge(&mut back, &ask(&quota, pushed_out, 3, START));
        if is_held(&back, 9) {
            let left = back.give_back(&first, &newcomer).unwrap();
            let count = |key: u8| {
                let entries = left.bucket().entries();
                entries.filter(|(_, e)| e.key.0 == [key; 16]).count()
            };
            assert_eq!((count(pushed_out), count(9)), (1, 0), "{algorithm:?}");
        }
        // The newcomer itself was pushed out since: there is nothing to give back.
        let gone = full.clone();
        assert_eq!(gone.give_back(&first, &newcomer), None);
    }
}

#[test]
fn a_slot_is_of_a_form_and_holds_each_key_with_what_it_used() {
    for (algorithm, mark, size) in [
        (Algorithm::FixedWindow, 0, 32),
        (Algorithm::SlidingWindow, 1, 96),
        (Algorithm::TokenBucket, 0, 32),
    ] {
        let quota = quota(algorithm);
        let mut slot = Slot::new(&quota);
        for key in 1..=5 {
            let cost = u32::from(key);
            charge(&mut slot, &ask(&quota, key, cost, later(cost.into())));
        }
        assert_eq!(slot.record.len(), 1 + 8 * size, "{algorithm:?}");
        assert_eq!(slot.record[0], mark, "{algorithm:?}");
        let entries: Vec<_> = slot.record[1..].chunks(size).collect();
        for key in 1..=5 {
            let held = |entry: &&&[u8]| entry[..16] == [key; 16];
            assert_eq!(entries.iter().filter(held).count(), 1, "{algorithm:?}");
        }
        let free = |entry: &&&[u8]| entry.iter().all(|byte| *byte == 0);
        assert_eq!(entries.iter().filter(free).count(), 3, "{algorithm:?}");
    }
}
