use portcullis_policy::{MetricRegistry, SharedData};
use portcullis_sim::{Dialect, RecordingTelemetry, SeededEntropy, VirtualClock, Zone, ZoneStore};

use super::*;

fn key(number: u64) -> Fingerprint {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes[15] = 1;
    Fingerprint(bytes)
}

/// A small generator (Marsaglia's xorshift), to skew what keys ask for.
fn numbers(seed: u64) -> impl Iterator<Item = u64> {
    std::iter::successors(
        Some(seed.wrapping_mul(2_685_821_657_736_338_717) | 1),
        |x| {
            let x = x ^ (x << 13);
            let x = x ^ (x >> 7);
            Some(x ^ (x << 17))
        },
    )
}

struct Node {
    clock: VirtualClock,
    store: SharedData<ZoneStore>,
    telemetry: RecordingTelemetry,
    entropy: SeededEntropy,
}

impl Node {
    fn new(zone: &Zone, clock: &VirtualClock) -> Self {
        Self {
            clock: clock.clone(),
            store: SharedData(ZoneStore::new(zone, None)),
            telemetry: RecordingTelemetry::new(&MetricRegistry::default()),
            entropy: SeededEntropy::new(1),
        }
    }

    fn ports(&self) -> Ports<'_> {
        Ports {
            clock: &self.clock,
            entropy: &self.entropy,
            store: &self.store,
            telemetry: &self.telemetry,
        }
    }
}

const HOUR: Span = Span::from_secs(3600);

#[test]
fn what_is_said_of_a_key_is_within_the_error_that_is_said_however_workers_share_it() {
    for seed in 1..=60 {
        let dialect = Dialect::BOTH[seed as usize % 2];
        let (zone, clock) = (
            Zone::new(dialect),
            VirtualClock::at(Timestamp::from_unix_secs(1_767_254_400)),
        );
        let nodes = [(); 3].map(|()| Node::new(&zone, &clock));
        let workers = [(); 3].map(|()| Busiest::new("l", HOUR));
        let mut truth = std::collections::BTreeMap::<u64, (u64, u64)>::new();
        let mut numbers = numbers(seed);
        let mut draw = |below: u64| numbers.next().unwrap() % below;
        for _ in 0..3000 {
            // A few keys ask often, many once.
            let number = match draw(4) {
                0 => draw(5),
                1 => draw(40),
                _ => draw(1_000_000),
            };
            let cost = u32::try_from(draw(4)).unwrap();
            let worker = usize::try_from(draw(3)).unwrap();
            let now = clock.read();
            workers[worker].asked(key(number), cost, now, || format!("key {number}"));
            let reported = truth.entry(number).or_default();
            reported.0 += u64::from(cost);
            if draw(3) == 0 {
                workers[worker].refused(key(number));
                reported.1 += 1;
            }
            if draw(50) == 0 {
                workers[worker].report(&nodes[worker].ports()).unwrap();
            }
        }
        for (worker, node) in workers.iter().zip(&nodes) {
            worker.report(&node.ports()).unwrap();
        }
        let (_, record) = workers[0].read(clock.read(), &nodes[0].ports()).unwrap();
        let all: u64 = truth.values().map(|(asked, _)| asked).sum();
        assert_eq!(record.now.asked, all, "seed {seed}");
        let share = all / KEYS as u64;
        for (number, (asked, refused)) in &truth {
            let known = record.now.find(key(*number));
            assert!(
                known.is_some() || *asked <= share,
                "seed {seed}: {number} is left out"
            );
            let Some(known) = known else { continue };
            let (most, error) = (known.asked, known.error);
            assert!(
                most >= *asked && most - error <= *asked,
                "seed {seed}: {known:?}"
            );
            assert!(error <= share, "seed {seed}: {known:?} of {all}");
            assert!(
                u64::from(known.refused) <= *refused,
                "seed {seed}: {known:?}"
            );
            assert_eq!(known.label, format!("key {number}"), "seed {seed}");
        }
        assert!(record.now.keys.len() <= KEYS);
    }
}

#[test]
fn few_keys_are_known_exactly_and_the_busiest_comes_first() {
    let mut summary = Summary::default();
    for (number, cost) in [(1, 2), (2, 5), (1, 1), (3, 0)] {
        summary.add(key(number), cost, || number.to_string());
    }
    summary.refuse(key(3));
    summary.refuse(key(9));
    let shown: Vec<_> = summary
        .busiest()
        .iter()
        .map(|k| (k.label.as_str(), k.asked, k.error, k.refused))
        .collect();
    assert_eq!(shown, [("2", 5, 0, 0), ("1", 3, 0, 0), ("3", 0, 0, 1)]);
    assert_eq!(summary.asked, 8);
}

#[test]
fn a_period_is_a_window_of_at_least_a_minute_and_the_one_before_is_kept() {
    let zone = Zone::new(Dialect::Kong);
    let clock = VirtualClock::at(Timestamp::from_unix_secs(6000));
    let node = Node::new(&zone, &clock);
    let busiest = Busiest::new("l", Span::from_secs(1));
    let seen = |node: &Node| {
        let (since, record) = busiest.read(clock.read(), &node.ports()).unwrap();
        (since, record.now.asked, record.before.asked)
    };
    busiest.asked(key(1), 3, clock.read(), String::new);
    assert_eq!(seen(&node), (6000, 0, 0));
    busiest.report(&node.ports()).unwrap();
    assert_eq!(seen(&node), (6000, 3, 0));
    let writes = node.store.0.writes();
    busiest.report(&node.ports()).unwrap();
    assert_eq!(node.store.0.writes(), writes, "there was nothing to report");
    clock.advance(Span::from_secs(60));
    assert_eq!(seen(&node), (6060, 0, 3));
    busiest.asked(key(1), 4, clock.read(), String::new);
    busiest.report(&node.ports()).unwrap();
    assert_eq!(seen(&node), (6060, 4, 3));
    // What is reported late is of the period in which it was asked.
    clock.set(Timestamp::from_unix_secs(6119));
    busiest.asked(key(1), 2, clock.read(), String::new);
    clock.set(Timestamp::from_unix_secs(6120));
    busiest.asked(key(1), 1, clock.read(), String::new);
    busiest.report(&node.ports()).unwrap();
    assert_eq!(seen(&node), (6120, 1, 6));
    clock.set(Timestamp::from_unix_secs(60));
    busiest.asked(key(1), 1, clock.read(), String::new);
    busiest.report(&node.ports()).unwrap();
    assert_eq!(
        seen(&node),
        (6120, 2, 6),
        "a clock that was set back loses nothing"
    );
    clock.set(Timestamp::from_unix_secs(6240));
    assert_eq!(seen(&node), (6240, 0, 0));
    for period in 0..9 {
        clock.set(Timestamp::from_unix_secs(60 * period));
        busiest.asked(key(1), 1, clock.read(), String::new);
    }
    assert!(busiest.unreported.borrow().len() <= MOST_PERIODS);
    let day = Busiest::new("l", Span::from_secs(366 * 24 * 3600));
    assert_eq!(day.period, Span::from_secs(86_400));
}

#[test]
fn what_could_not_be_reported_is_reported_later() {
    let zone = Zone::new(Dialect::Envoy);
    let clock = VirtualClock::at(Timestamp::from_unix_secs(6000));
    let node = Node::new(&zone, &clock);
    let busiest = Busiest::new("l", HOUR);
    busiest.asked(key(1), 3, clock.read(), String::new);
    node.store.0.fail_after(Some(0));
    assert!(busiest.report(&node.ports()).is_err());
    node.store.0.fail_after(None);
    busiest.report(&node.ports()).unwrap();
    let (_, record) = busiest.read(clock.read(), &node.ports()).unwrap();
    assert_eq!(record.now.asked, 3);
}

#[test]
fn who_is_surely_busy_comes_before_who_only_may_be() {
    let mut summary = Summary::default();
    for number in 0..KEYS as u64 {
        summary.add(key(number), 10, || number.to_string());
    }
    summary.add(key(99), 1, || "99".to_owned());
    assert_eq!(summary.keys.len(), KEYS);
    summary.add(key(3), u32::MAX, || "3".to_owned());
    summary.add(key(3), u32::MAX, || "3".to_owned());
    let busiest = summary.busiest();
    assert_eq!(
        (busiest[0].label.as_str(), busiest[0].asked),
        ("3", 10 + 2 * u64::from(u32::MAX))
    );
    let last = busiest.last().unwrap();
    assert_eq!(
        (last.label.as_str(), last.asked, last.error),
        ("99", 11, 10)
    );
}

#[test]
fn labels_are_cut_between_characters() {
    for (label, kept) in [
        ("short".to_owned(), "short".to_owned()),
        ("x".repeat(60), "x".repeat(47)),
        ("é".repeat(60), "é".repeat(23)),
    ] {
        let mut summary = Summary::default();
        summary.add(key(1), 1, || label);
        assert_eq!(summary.busiest()[0].label, kept);
    }
}
