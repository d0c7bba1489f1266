//! The algorithms, each for itself.

use super::*;

const MINUTE: u64 = 60;
const START: u64 = 1_767_254_400;

fn quota(algorithm: Algorithm) -> Quota {
    Quota {
        algorithm,
        quota: 10,
        window: Span::from_secs(MINUTE),
        burst: 10,
    }
}

/// Charges one request each of `times` (seconds from a window's start); returns who passed.
fn passed(algorithm: Algorithm, times: &[f64]) -> Vec<bool> {
    let mut used = Used::default();
    times
        .iter()
        .map(|secs| {
            let nanos = (START as i128 * 1_000_000_000 + (secs * 1e9) as i128) as u64;
            let (decision, next) =
                quota(algorithm).charge(used, 1, Timestamp::from_unix_nanos(nanos));
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
    let mut times = vec![30.0; 10];
    times.extend([90.0; 10]);
    assert_eq!(count(&passed(Algorithm::SlidingWindow, &times)), 15);
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
    for algorithm in WINDOWS {
        let day = 86_400.0;
        let mut times = vec![day];
        times.extend((0..30).map(f64::from));
        assert_eq!(count(&passed(algorithm, &times)), 1);
        times.extend([121.0; 3]);
        assert_eq!(count(&passed(algorithm, &times)), 4, "{algorithm:?}");
    }
}

#[test]
fn one_window_back_is_still_held_and_two_are_not() {
    for algorithm in WINDOWS {
        let quota = quota(algorithm);
        let start = Timestamp::from_unix_secs(START);
        let (_, used) = quota.charge(Used::default(), 1, start);
        let back = |secs: u64| start.before(Span::from_secs(secs));
        for (secs, expected) in [
            (0, false),
            (1, false),
            (60, false),
            (61, true),
            (6000, true),
        ] {
            assert_eq!(
                quota.precedes(back(secs), &used),
                expected,
                "{algorithm:?} {secs}"
            );
        }
    }
}

#[test]
fn what_is_given_back_can_be_used_again_in_either_window() {
    let mut used = Used {
        at: 5,
        current: 3,
        previous: 2,
    };
    let (quota, now) = (quota(Algorithm::FixedWindow), Timestamp::default());
    used = quota.give_back(used, 5, 1, now);
    used = quota.give_back(used, 4, 1, now);
    used = quota.give_back(used, 3, 1, now);
    assert_eq!(
        used,
        Used {
            at: 5,
            current: 2,
            previous: 1
        }
    );
}

#[test]
fn whoever_comes_again_after_retry_after_is_admitted_and_nobody_earlier() {
    for algorithm in WINDOWS {
        for burst_at in [0_u64, 17, 59] {
            let start = Timestamp::from_unix_secs(START + burst_at);
            let quota = quota(algorithm);
            let mut used = Used {
                at: quota.number(start) - 1,
                current: 4,
                previous: 0,
            };
            let refused = loop {
                let (decision, next) = quota.charge(used, 1, start);
                used = next;
                if decision.charged.is_none() {
                    break decision;
                }
            };
            let admitted_at = |wait: u64| {
                quota
                    .charge(used, 1, start.after(Span::from_nanos(wait)))
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

#[test]
fn a_sliding_window_errs_by_less_than_its_quota_in_any_span_and_by_nothing_in_an_aligned_one() {
    // Bursts at random times, each as large as is admitted: the worst that clients can do.
    let mut random = 1_u64;
    let mut worst = 0;
    for _ in 0..300 {
        let mut times = Vec::new();
        let mut at = 0.0;
        while at < 400.0 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            at += f64::from((random >> 33) as u32 % 400) / 10.0;
            times.extend([at; 12]);
        }
        let passed = passed(Algorithm::SlidingWindow, &times);
        let admitted: Vec<f64> = times
            .iter()
            .zip(passed)
            .filter(|(_, p)| *p)
            .map(|(t, _)| *t)
            .collect();
        for start in &admitted {
            let span = admitted
                .iter()
                .filter(|t| **t >= *start && **t < *start + 60.0)
                .count();
            worst = worst.max(span);
            let aligned = (*start / 60.0).floor() * 60.0;
            let window = admitted
                .iter()
                .filter(|t| **t >= aligned && **t < aligned + 60.0);
            assert!(window.count() <= 10);
        }
    }
    assert!(worst <= 19, "2 * quota - 1, but {worst}");
    assert!(worst > 10, "the bursts find no error at all: {worst}");
}

/// A bucket of 5 into which 10 drip a minute: one every 6 s.
fn bucket() -> Quota {
    Quota {
        burst: 5,
        ..quota(Algorithm::TokenBucket)
    }
}

/// How many of requests of that cost at these times (seconds) pass.
fn through(quota: &Quota, cost: u32, times: &[f64]) -> usize {
    let mut used = Used::default();
    let mut passed = 0;
    for secs in times {
        let nanos = (START as i128 * 1_000_000_000 + (secs * 1e9) as i128) as u64;
        let now = Timestamp::from_unix_nanos(nanos);
        let (decision, next) = quota.charge(used, cost, now);
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
            let (decision, next) = quota.charge(used, cost, now);
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
    let mut random = 7_u64;
    let mut draw = |below: u64| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (random >> 33) % below
    };
    for _ in 0..200 {
        let quota = Quota {
            quota: u32::try_from(1 + draw(50)).unwrap(),
            window: Span::from_nanos(1_000_000_000 + draw(60_000_000_000)),
            burst: u32::try_from(1 + draw(30)).unwrap(),
            ..bucket()
        };
        let (mut used, mut now) = (Used::default(), START * 1_000_000_000);
        let mut admitted: Vec<u64> = Vec::new();
        for _ in 0..300 {
            now += draw(2) * draw(2 * quota.window.as_nanos() / u64::from(quota.quota));
            let (decision, next) = quota.charge(used, 1, Timestamp::from_unix_nanos(now));
            used = next;
            if decision.charged.is_some() {
                admitted.push(now);
            }
        }
        for (from, start) in admitted.iter().enumerate() {
            for (to, end) in admitted.iter().enumerate().skip(from) {
                let dripped = u128::from(end - start) * u128::from(quota.quota);
                let most = u128::from(quota.burst) + dripped / u128::from(quota.window.as_nanos());
                assert!((to - from + 1) as u128 <= most, "{quota:?}");
            }
        }
    }
}

#[test]
fn whoever_finds_the_bucket_empty_is_told_to_the_nanosecond_when_to_come() {
    for (count, window, cost) in [
        (10, 60_000_000_000, 1),
        (7, 1_000_000_007, 2),
        (1_000_000_000, 1_000_000_000, 5),
    ] {
        let quota = Quota {
            quota: count,
            window: Span::from_nanos(window),
            burst: 5,
            ..bucket()
        };
        let start = Timestamp::from_unix_secs(START);
        let used = quota.exhausted(start);
        let (refused, same) = quota.charge(used, cost, start);
        assert_eq!((refused.charged, same), (None, used));
        let wait = refused.retry_after.as_nanos();
        let at = |wait: u64| {
            quota
                .charge(used, cost, start.after(Span::from_nanos(wait)))
                .0
        };
        assert!(wait > 0 && at(wait).charged.is_some(), "{count}");
        assert!(at(wait - 1).charged.is_none(), "{count}");
    }
}

#[test]
fn the_largest_numbers_that_are_accepted_do_not_overflow() {
    let year = Span::from_secs(366 * 24 * 3600);
    for algorithm in ALL {
        let quota = Quota {
            algorithm,
            quota: 1_000_000_000,
            window: year,
            burst: 1_000_000_000,
        };
        for now in [0, 1, u64::MAX / 2, u64::MAX] {
            let now = Timestamp::from_unix_nanos(now);
            let worst = Used {
                at: u64::MAX,
                current: u32::MAX,
                previous: u32::MAX,
            };
            for used in [Used::default(), worst, quota.exhausted(now)] {
                let (_, used) = quota.charge(used, 1_000_000_000, now);
                let _ = quota.give_back(used, u64::MAX, 1_000_000_000, now);
                let _ = (quota.precedes(now, &used), quota.idle_at(&used));
            }
        }
    }
}

#[test]
fn what_a_bucket_gave_and_got_back_is_as_if_it_had_never_been_asked() {
    let now = Timestamp::from_unix_secs(START);
    let quota = bucket();
    let (_, used) = quota.charge(Used::default(), 2, now);
    let (decision, after) = quota.charge(used, 3, now);
    let full = decision.charged.unwrap();
    assert_eq!(quota.give_back(after, full, 3, now), used);

    // Once it was full again there is nothing to give back: the next one's token is not forgotten.
    let later = now.after(Span::from_secs(600));
    let (_, next) = quota.charge(after, 1, later);
    assert_eq!(quota.give_back(next, full, 3, later), next);
}

#[test]
fn a_clock_set_back_by_a_day_leaves_a_bucket_empty_and_not_shut() {
    let quota = bucket();
    let (start, day) = (Timestamp::from_unix_secs(START), Span::from_secs(86_400));
    let (_, later) = quota.charge(Used::default(), 1, start.after(day));
    assert!(quota.precedes(start, &later));
    assert!(!quota.precedes(start.after(day), &later));
    let used = quota.exhausted(start);
    assert!(quota.charge(used, 1, start).0.charged.is_none());
    let token = Span::from_secs(6);
    assert!(
        quota
            .charge(used, 1, start.after(token))
            .0
            .charged
            .is_some()
    );
}
