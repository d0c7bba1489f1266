//! The algorithms, each for itself.

use portcullis_policy::Timestamp;

use super::*;

const MINUTE: u64 = 60;
const START: u64 = 1_767_254_400;

fn quota(algorithm: Algorithm) -> Quota {
    Quota::new(algorithm, 10, Span::from_secs(MINUTE), None)
}

/// The decision, and what is used then.
fn charge(quota: &Quota, mut used: Used, cost: u32, now: Timestamp) -> (Decision, Used) {
    let decision = quota.counting().charge(&mut used, cost, now);
    (decision, used)
}

fn give_back(quota: &Quota, mut used: Used, charged: u64, cost: u32, now: Timestamp) -> Used {
    let counting = quota.counting();
    counting.give_back(&mut used, charged, cost, now);
    used
}

/// Charges one request each of `times` (seconds from a window's start); returns who passed.
fn passed(algorithm: Algorithm, times: &[f64]) -> Vec<bool> {
    let mut used = Used::default();
    times
        .iter()
        .map(|secs| {
            let nanos = (START as i128 * 1_000_000_000 + (secs * 1e9) as i128) as u64;
            let now = Timestamp::from_unix_nanos(nanos);
            let (decision, next) = charge(&quota(algorithm), used, 1, now);
            used = next;
            decision.charged.is_some()
        })
        .collect()
}

fn count(passed: &[bool]) -> usize {
    passed.iter().filter(|passed| **passed).count()
}

const WINDOWS: [Algorithm; 2] = [Algorithm::FixedWindow, Algorithm::SlidingWindow];
const ALL: [Algorithm; 3] = [
    Algorithm::FixedWindow,
    Algorithm::SlidingWindow,
    Algorithm::TokenBucket,
];

#[test]
fn a_window_admits_its_quota_and_no_more() {
    for algorithm in WINDOWS {
        assert_eq!(count(&passed(algorithm, &[5.0; 25])), 10);
    }
}

#[test]
fn the_next_fixed_window_starts_empty_and_the_sliding_one_remembers() {
    let mut times = vec![59.0; 10];
    times.extend([60.0; 10]);
    assert_eq!(count(&passed(Algorithm::FixedWindow, &times)), 20);
    assert_eq!(count(&passed(Algorithm::SlidingWindow, &times)), 10);
    // A 64th of the window is let off.
    for (then, expected) in [(89.06, 10), (89.07, 20)] {
        let mut times = vec![30.0; 10];
        times.extend([then; 10]);
        let passed = passed(Algorithm::SlidingWindow, &times);
        assert_eq!(count(&passed), expected, "{then}");
    }
}

#[test]
fn a_clock_that_is_read_just_before_a_boundary_after_another_was_read_behind_it_charges_its_own_window()
 {
    for algorithm in WINDOWS {
        // 9 in the first window, one in the second, then two latecomers of the first.
        let mut times = vec![59.9; 9];
        times.extend([60.1, 59.99, 59.99]);
        let passed = passed(algorithm, &times);
        match algorithm {
            Algorithm::FixedWindow => assert_eq!(passed[9..], [true, true, false]),
            Algorithm::SlidingWindow | Algorithm::TokenBucket => {
                assert_eq!(count(&passed[9..]), 1);
            }
        }
    }
}

#[test]
fn a_clock_set_back_by_a_day_locks_nobody_out_for_longer_than_a_window_and_admits_nothing_extra() {
    let day = 86_400.0;
    let mut times = vec![day];
    times.extend((0..30).map(f64::from));
    assert_eq!(count(&passed(Algorithm::FixedWindow, &times)), 1);
    times.extend([121.0; 3]);
    assert_eq!(count(&passed(Algorithm::FixedWindow, &times)), 4);

    let quota = quota(Algorithm::SlidingWindow);
    let (start, day) = (Timestamp::from_unix_secs(START), Span::from_secs(86_400));
    let (_, later) = charge(&quota, Used::default(), 1, start.after(day));
    assert!(quota.counting().precedes(start, &later));
    let used = quota.counting().exhausted(start);
    let after = |secs| charge(&quota, used, 1, start.after(Span::from_secs(secs))).0;
    assert_eq!((after(0).charged, after(59).charged), (None, None));
    assert!(after(60).charged.is_some());
}

#[test]
fn one_window_back_is_still_held_and_two_are_not() {
    let back = [(0, 0), (1, 0), (60, 0), (61, 0), (6000, 0), (1, 1)];
    for (algorithm, held) in [
        (
            Algorithm::FixedWindow,
            [true, true, true, false, false, true],
        ),
        // A second at most.
        (
            Algorithm::SlidingWindow,
            [true, true, false, false, false, false],
        ),
    ] {
        let quota = quota(algorithm);
        let start = Timestamp::from_unix_secs(START);
        let (_, used) = charge(&quota, Used::default(), 1, start);
        for ((secs, millis), held) in back.into_iter().zip(held) {
            let by = Span::from_nanos(secs * 1_000_000_000 + millis * 2_000_000);
            let precedes = quota.counting().precedes(start.before(by), &used);
            assert_eq!(precedes, !held, "{algorithm:?} {by:?}");
        }
    }
}

#[test]
fn what_is_given_back_can_be_used_again_in_either_window() {
    let count = |current, previous| Used::from_numbers(5, current, previous);
    let mut used = count(3, 2);
    let (quota, now) = (quota(Algorithm::FixedWindow), Timestamp::default());
    used = give_back(&quota, used, 5, 1, now);
    used = give_back(&quota, used, 4, 1, now);
    used = give_back(&quota, used, 3, 1, now);
    assert_eq!(used, count(2, 1));

    let quota = self::quota(Algorithm::SlidingWindow);
    let at = |secs| Timestamp::from_unix_secs(START + secs);
    let (first, used) = charge(&quota, Used::default(), 3, at(0));
    let (second, after) = charge(&quota, used, 4, at(30));
    let give_back = |used, decision: &Decision, cost| {
        give_back(&quota, used, decision.charged.unwrap(), cost, at(31))
    };
    assert_eq!(give_back(after, &second, 4), used);
    let left = give_back(after, &first, 3);
    assert_eq!(charge(&quota, left, 0, at(31)).0.remaining, 6);
    assert_eq!(give_back(left, &second, 4), Used::default());
    // What counts no more is no more given back.
    let (_, later) = charge(&quota, after, 1, at(70));
    assert_eq!(give_back(later, &first, 3), later);
}

#[test]
fn whoever_comes_again_after_retry_after_is_admitted_and_nobody_earlier() {
    for algorithm in WINDOWS {
        for burst_at in [0_u64, 17, 59] {
            let start = Timestamp::from_unix_secs(START + burst_at);
            let quota = quota(algorithm);
            let before = start.before(Span::from_secs(20));
            let (_, mut used) = charge(&quota, Used::default(), 4, before);
            let refused = loop {
                let (decision, next) = charge(&quota, used, 1, start);
                used = next;
                if decision.charged.is_none() {
                    break decision;
                }
            };
            let admitted_at = |wait: u64| {
                charge(&quota, used, 1, start.after(Span::from_nanos(wait)))
                    .0
                    .charged
                    .is_some()
            };
            let wait = refused.retry_after.as_nanos();
            assert!(
                wait > 0 && admitted_at(wait) && !admitted_at(wait - 1),
                "{algorithm:?} {burst_at}"
            );
            assert_eq!(refused.remaining, 0);
        }
    }
}

/// Nanoseconds from a window's start at which requests came, and what each cost.
type Sent = Vec<(u64, u64)>;

/// Of what was sent, whether it was admitted.
fn admitted(quota: &Quota, sent: &Sent) -> Vec<bool> {
    let mut used = Used::default();
    let charge = |(at, cost): &(u64, u64)| {
        let now = Timestamp::from_unix_nanos(START * 1_000_000_000 + at);
        let (decision, next) = charge(quota, used, u32::try_from(*cost).unwrap(), now);
        used = next;
        decision.charged.is_some()
    };
    sent.iter().map(charge).collect()
}

const SECOND: u64 = 1_000_000_000;

#[test]
fn whoever_sends_the_quota_on_the_beat_of_the_window_is_never_refused_by_a_sliding_one() {
    for (requests, window, jitter) in [
        (1, 1, 10),
        (10, 60, 400),
        (12, 60, 400),
        (13, 60, 400),
        (100, 60, 400),
        (1_000, 3_600, 450),
    ] {
        for begins in [0, 1, 25, 50, 59] {
            let span = Span::from_secs(window);
            let quota = Quota::new(Algorithm::SlidingWindow, requests, span, None);
            let mut sent = Sent::new();
            for round in 0..20 {
                let beat = (begins + round * window) * SECOND;
                // Late in even rounds, and early in odd ones.
                let late = [jitter * 1_000_000, 0][round as usize % 2];
                sent.extend((0..requests).map(|n| (beat + late + u64::from(n), 1)));
            }
            let admitted = admitted(&quota, &sent);
            assert!(
                admitted.iter().all(|passed| *passed),
                "{quota:?}, from {begins}"
            );
        }
    }
}

/// What the module says of its errors.
#[test]
fn a_sliding_window_refuses_nobody_who_keeps_to_the_quota_and_admits_no_more_in_a_span() {
    let mut draw = crate::random::draw(1);
    let (mut most, mut refusals) = (0, 0);
    for _ in 0..600 {
        let largest = [1 + draw(12), 1 + draw(60), 13 + draw(2_000)][draw(3) as usize];
        let window = SECOND + draw(100_000) * [1, 1_000_003][draw(2) as usize];
        let quota = Quota::new(
            Algorithm::SlidingWindow,
            u32::try_from(largest).unwrap(),
            Span::from_nanos(window),
            None,
        );
        let mut sent = Sent::new();
        let mut at = draw(window);
        let pace = [window / largest, window / 5, window / 13, window][draw(4) as usize].max(1);
        while sent.len() < 300 {
            at += draw(2 * pace);
            // Bursts: as much as is admitted, the worst that clients can do.
            let cost = [1, 1 + draw(largest), largest.div_ceil(3)][draw(3) as usize];
            let times = [1, 4][draw(2) as usize];
            sent.extend((0..times).map(|_| (at, cost)));
        }
        let passed = admitted(&quota, &sent);
        let admitted: Sent = (sent.iter().zip(&passed))
            .filter_map(|(sent, passed)| passed.then_some(*sent))
            .collect();
        let within = |from: u64, to: u64| -> u64 {
            let between = admitted.iter().filter(|(at, _)| *at > from && *at <= to);
            between.map(|(_, cost)| cost).sum()
        };
        let grace = (window / 64).min(SECOND) + window.div_ceil(32_768);
        let part = if largest <= 12 { 0 } else { window / 12 };
        let sure = window - grace - part;
        for (at, _) in &admitted {
            let in_span = within(at.saturating_sub(sure), *at);
            assert!(in_span <= largest, "{in_span}, {quota:?}");
            most = most.max(within(at.saturating_sub(window - 1), *at) * 100 / largest);
        }
        for (index, (at, cost)) in sent.iter().enumerate() {
            if !passed[index] {
                refusals += 1;
                let before = sent[..index].iter().zip(&passed);
                let counted = before.filter(|((then, _), passed)| **passed && then + window > *at);
                let used: u64 = counted.map(|((_, cost), _)| cost).sum();
                assert!(used + cost > largest, "{used} + {cost}, {quota:?}");
            }
        }
    }
    assert!(
        refusals > 1_000 && most > 150,
        "tried too little: {refusals}, {most} %"
    );
}

/// A bucket of 5 into which 10 drip a minute: one every 6 s.
fn bucket() -> Quota {
    let window = Span::from_secs(MINUTE);
    Quota::new(Algorithm::TokenBucket, 10, window, Some(5))
}

/// How many of requests of that cost at these times (seconds) pass.
fn through(quota: &Quota, cost: u32, times: &[f64]) -> usize {
    let mut used = Used::default();
    let mut passed = 0;
    for secs in times {
        let nanos = (START as i128 * 1_000_000_000 + (secs * 1e9) as i128) as u64;
        let now = Timestamp::from_unix_nanos(nanos);
        let (decision, next) = charge(quota, used, cost, now);
        (used, passed) = (next, passed + usize::from(decision.charged.is_some()));
    }
    passed
}

#[test]
fn a_bucket_gives_its_burst_at_once_and_then_what_drips_in() {
    assert_eq!(through(&bucket(), 1, &[0.0; 20]), 5);
    let mut times = vec![0.0; 5];
    times.extend([5.9, 6.0, 6.1, 12.0]);
    assert_eq!(through(&bucket(), 1, &times), 7);
    times.extend([120.0; 20]);
    assert_eq!(
        through(&bucket(), 1, &times),
        12,
        "never more than the burst"
    );
}

#[test]
fn a_cost_is_taken_as_a_whole_or_not_at_all() {
    for algorithm in ALL {
        let quota = quota(algorithm);
        assert_eq!(through(&quota, 3, &[5.0; 20]), 3, "{algorithm:?}");
        assert_eq!(through(&quota, 10, &[5.0; 20]), 1, "{algorithm:?}");
        let mut used = Used::default();
        let now = Timestamp::from_unix_secs(START + 5);
        for (cost, remaining) in [(3, 7), (0, 7), (7, 0), (0, 0), (1, 0)] {
            let (decision, next) = charge(&quota, used, cost, now);
            used = next;
            assert_eq!(decision.remaining, remaining, "{algorithm:?} {cost}");
            assert_eq!(
                decision.charged.is_some(),
                cost != 1 || remaining > 0,
                "{algorithm:?}"
            );
        }
    }
}

#[test]
fn in_no_span_does_a_bucket_admit_more_than_its_burst_and_what_drips_in() {
    let mut draw = crate::random::draw(7);
    for _ in 0..200 {
        let drips = 1 + draw(50);
        let window = 1_000_000_000 + draw(60_000_000_000);
        let burst = 1 + draw(30);
        let quota = Quota::new(
            Algorithm::TokenBucket,
            u32::try_from(drips).unwrap(),
            Span::from_nanos(window),
            Some(u32::try_from(burst).unwrap()),
        );
        let (mut used, mut now) = (Used::default(), START * 1_000_000_000);
        let mut admitted: Vec<u64> = Vec::new();
        for _ in 0..300 {
            now += draw(2) * draw(2 * window / drips);
            let (decision, next) = charge(&quota, used, 1, Timestamp::from_unix_nanos(now));
            used = next;
            if decision.charged.is_some() {
                admitted.push(now);
            }
        }
        for (from, start) in admitted.iter().enumerate() {
            for (to, end) in admitted.iter().enumerate().skip(from) {
                let dripped = u128::from(end - start) * u128::from(drips);
                let most = u128::from(burst) + dripped / u128::from(window);
                assert!((to - from + 1) as u128 <= most, "{quota:?}");
            }
        }
    }
}

#[test]
fn whoever_finds_the_bucket_empty_is_shown_to_the_nanosecond_when_to_come() {
    for (count, window, cost) in [
        (10, 60_000_000_000, 1),
        (7, 1_000_000_007, 2),
        (1_000_000_000, 1_000_000_000, 5),
    ] {
        let window = Span::from_nanos(window);
        let quota = Quota::new(Algorithm::TokenBucket, count, window, Some(5));
        let start = Timestamp::from_unix_secs(START);
        let used = quota.counting().exhausted(start);
        let (refused, same) = charge(&quota, used, cost, start);
        assert_eq!((refused.charged, same), (None, used));
        let wait = refused.retry_after.as_nanos();
        let at = |wait: u64| charge(&quota, used, cost, start.after(Span::from_nanos(wait))).0;
        assert!(wait > 0 && at(wait).charged.is_some(), "{count}");
        assert!(at(wait - 1).charged.is_none(), "{count}");
    }
}

#[test]
fn the_largest_numbers_that_are_accepted_do_not_overflow() {
    let year = Span::from_secs(366 * 24 * 3600);
    for algorithm in ALL {
        let quota = Quota::new(algorithm, 1_000_000_000, year, None);
        for now in [0, 1, u64::MAX / 2, u64::MAX] {
            let now = Timestamp::from_unix_nanos(now);
            let worst = Used::read(&[u8::MAX; 80]);
            for used in [Used::default(), worst, quota.counting().exhausted(now)] {
                let (_, used) = charge(&quota, used, 1_000_000_000, now);
                let _ = give_back(&quota, used, u64::MAX, 1_000_000_000, now);
                let _ = (
                    quota.counting().precedes(now, &used),
                    quota.counting().idle_at(&used),
                );
            }
        }
    }
}

#[test]
fn what_a_bucket_gave_and_got_back_is_as_if_it_had_never_been_asked() {
    let now = Timestamp::from_unix_secs(START);
    let quota = bucket();
    let (_, used) = charge(&quota, Used::default(), 2, now);
    let (decision, after) = charge(&quota, used, 3, now);
    let full = decision.charged.unwrap();
    assert_eq!(give_back(&quota, after, full, 3, now), used);

    // Once it was full again there is nothing to give back: the next one's token is not forgotten.
    let later = now.after(Span::from_secs(600));
    let (_, next) = charge(&quota, after, 1, later);
    assert_eq!(give_back(&quota, next, full, 3, later), next);
}

#[test]
fn a_clock_set_back_by_a_day_leaves_a_bucket_empty_and_not_shut() {
    let quota = bucket();
    let (start, day) = (Timestamp::from_unix_secs(START), Span::from_secs(86_400));
    let (_, later) = charge(&quota, Used::default(), 1, start.after(day));
    assert!(quota.counting().precedes(start, &later));
    assert!(!quota.counting().precedes(start.after(day), &later));
    let used = quota.counting().exhausted(start);
    assert!(charge(&quota, used, 1, start).0.charged.is_none());
    let token = Span::from_secs(6);
    assert!(
        charge(&quota, used, 1, start.after(token))
            .0
            .charged
            .is_some()
    );
}

#[test]
fn a_request_may_cost_what_is_there_at_most_and_no_count_limits_for_longer_than_is_said() {
    for (algorithm, largest) in [
        (Algorithm::FixedWindow, 5),
        (Algorithm::SlidingWindow, 5),
        (Algorithm::TokenBucket, 9),
    ] {
        let quota = Quota::new(algorithm, 5, Span::from_secs(60), Some(9));
        assert_eq!(quota.counting().largest_cost(), largest, "{algorithm:?}");
        let now = Timestamp::from_unix_secs(1_767_254_400);
        let (decision, used) = charge(&quota, Used::default(), largest, now);
        assert!(decision.charged.is_some(), "{algorithm:?}");
        let idle_at = quota.counting().idle_at(&used);
        assert!(
            idle_at > now && idle_at <= now.after(quota.counting().longest()),
            "{algorithm:?}"
        );
    }
}

#[test]
fn a_refusal_leaves_as_much_as_what_costs_nothing() {
    for algorithm in ALL {
        let quota = quota(algorithm);
        for (used, cost) in [(10, 1), (7, 4), (9, 10)] {
            let at = |secs| Timestamp::from_unix_secs(START + secs);
            let (_, used) = charge(&quota, Used::default(), used, at(5));
            for secs in [5, 6, 4] {
                let (refused, after) = charge(&quota, used, cost, at(secs));
                let (free, as_free) = charge(&quota, used, 0, at(secs));
                assert_eq!(refused.charged, None, "{algorithm:?}");
                assert_eq!(
                    (refused.remaining, refused.reset, after),
                    (free.remaining, free.reset, as_free),
                    "{algorithm:?}"
                );
            }
        }
    }
}
