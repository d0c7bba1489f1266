//! What a table makes of requests, and what is in its slots then.

use portcullis_policy::SharedData;
use portcullis_sim::{Dialect, Zone, ZoneStore};

use super::*;
use crate::quota::Algorithm;
use crate::range::ranges;

const NOW: Timestamp = Timestamp::from_unix_secs(1_767_254_400);

struct Setting {
    table: Table,
    store: SharedData<ZoneStore>,
}

impl Setting {
    fn new() -> Self {
        let quota = Quota::new(Algorithm::FixedWindow, 2, Span::from_secs(60), None);
        Self {
            table: Table::new(quota, ranges(&[("a", 4, Form::Count)])[0]),
            store: SharedData(ZoneStore::new(&Zone::new(Dialect::Envoy), None)),
        }
    }

    fn charge(&self, asked: Asked) -> (bool, Charged) {
        let plan = self.table.look(&self.store, asked).unwrap();
        let writes = plan.writes();
        let charged = self.table.commit(&self.store, asked, plan);
        (writes, charged.unwrap())
    }
}

const fn asked(cost: u32) -> Asked {
    Asked {
        key: Fingerprint([7; 16]),
        cost,
        now: NOW,
    }
}

#[test]
fn what_is_admitted_and_costs_something_is_written_and_given_back() {
    let setting = Setting::new();
    let (writes, charged) = setting.charge(asked(2));
    assert!(writes && charged.decision.charged.is_some());
    let (writes, refused) = setting.charge(asked(1));
    assert!(!writes && refused.decision.charged.is_none());
    let (writes, free) = setting.charge(asked(0));
    assert!(!writes && free.decision.charged.is_some());
    let give_back = |cost, charged: &Charged| {
        let before = (setting.store.0.reads(), setting.store.0.writes());
        let given_back = setting
            .table
            .give_back(&setting.store, asked(cost), charged);
        given_back.unwrap();
        (
            setting.store.0.reads() - before.0,
            setting.store.0.writes() - before.1,
        )
    };
    assert_eq!(give_back(1, &refused), (0, 0));
    assert_eq!(give_back(0, &free), (0, 0));
    assert_eq!(give_back(2, &charged), (1, 1));
    assert!(setting.charge(asked(2)).1.decision.charged.is_some());
}

#[test]
fn what_is_forgotten_was_never_used() {
    let setting = Setting::new();
    let used = || setting.table.used(&setting.store, asked(0).key).unwrap();
    assert_eq!(used(), None);
    setting.charge(asked(2));
    assert!(used().is_some());
    setting.table.forget(&setting.store, asked(0).key).unwrap();
    assert_eq!(used(), None);
    let writes = setting.store.0.writes();
    setting.table.forget(&setting.store, asked(0).key).unwrap();
    assert_eq!(setting.store.0.writes(), writes);
}

/// How each algorithm decides and what it writes, over a long run of requests, of which some are
/// given back, some are never written, and some come while the clock is set: as the first release
/// that kept such slots did, to the byte.
#[test]
fn what_slots_hold_and_what_is_made_of_it_is_what_was_released() {
    use Algorithm::{FixedWindow, SlidingWindow, TokenBucket};
    for (algorithm, quota, expected) in [
        (FixedWindow, 5, 0x85e3_af5b_9655_7df3),
        (FixedWindow, 40, 0xce2b_c5f7_dcf5_538f),
        (SlidingWindow, 5, 0x8e52_49aa_f040_75b8),
        (SlidingWindow, 40, 0x0818_e61f_5996_4dd0),
        (TokenBucket, 5, 0x9bd4_3ef2_b043_81d0),
        (TokenBucket, 40, 0x2231_97ca_356e_7fb2),
    ] {
        assert_eq!(run(algorithm, quota), expected, "{algorithm:?} {quota}");
    }
}

fn run(algorithm: Algorithm, quota: u32) -> u64 {
    use std::hash::Hasher as _;

    let quota = Quota::new(algorithm, quota, Span::from_secs(60), Some(7));
    let zone = Zone::new(Dialect::Envoy);
    let store = SharedData(ZoneStore::new(&zone, None));
    let table = Table::new(quota, ranges(&[("a", 1, quota.counting().form())])[0]);
    let mut draw = crate::random::draw(1);
    let mut hasher = siphasher::sip::SipHasher24::new();
    let mut charges: Vec<(Asked, Charged)> = Vec::new();
    let mut now = NOW.unix_nanos();
    for _ in 0..5_000 {
        now += draw(2) * draw(4_000_000_000);
        if draw(60) == 0 {
            now -= draw(200) * 1_000_000_000;
        }
        if draw(200) == 0 {
            now += draw(2_000) * 1_000_000_000;
        }
        let mut key = [0; 16];
        key[15] = u8::try_from(draw(11)).unwrap();
        key[0] = 7;
        let asked = Asked {
            key: Fingerprint(key),
            cost: [0, 1, 1, 2, 5][draw(5) as usize],
            now: Timestamp::from_unix_nanos(now),
        };
        let plan = table.look(&store, asked).unwrap();
        hasher.write_u8(u8::from(plan.writes()));
        let charged = match draw(10) {
            0 => plan.charged,
            _ => table.commit(&store, asked, plan).unwrap(),
        };
        let decision = charged.decision;
        // What engines are asked for came later.
        let told = format!("{decision:?}").replace(", need: Nothing", "");
        hasher.write(format!("{told} {}", charged.evicted).as_bytes());
        let uncharged = table.uncharged(asked, &charged);
        hasher.write_u32(uncharged.remaining);
        hasher.write_u64(uncharged.reset.as_nanos());
        if decision.charged.is_some() {
            charges.push((asked, charged));
        }
        if draw(3) == 0 && !charges.is_empty() {
            let index = draw(charges.len() as u64) as usize;
            let (mut asked, charged) = charges.swap_remove(index);
            if draw(2) == 0 {
                asked.now = Timestamp::from_unix_nanos(now);
            }
            table.give_back(&store, asked, &charged).unwrap();
        }
        if draw(100) == 0 {
            table.forget(&store, Fingerprint(key)).unwrap();
        }
        for name in zone.keys() {
            // Without the seal around it.
            let (sealed, _) = zone.get(&name).unwrap();
            hasher.write(&sealed[16..sealed.len() - 8]);
        }
    }
    hasher.finish()
}
