//! Quotas in windows: how much is used, how much is left, and when to come again.
//!
//! Both algorithms count in fixed windows and remember the count of the one before. Workers read
//! the clock at slightly different times and clocks are set back, so a request may belong to an
//! earlier window than the one that is being counted:
//!
//! - one window earlier: it is judged by, and counted in, the count of that window, which is still
//!   held;
//! - earlier than that: what was used then is no longer known. Counts of that time start full, so
//!   that nothing is admitted beyond the quota, and are free again one window later; they are kept
//!   beside the later ones, which hold again once the clock is back ([`Quota::precedes`]).

mod fixed_window;
mod sliding_window;

use portcullis_policy::{Span, Timestamp};

use crate::config::Algorithm;

/// What a key has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Window {
    /// Number of the window since 1970.
    pub(crate) number: u64,
    /// Used in it.
    pub(crate) current: u32,
    /// Used in the one before.
    pub(crate) previous: u32,
}

/// How much may be used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quota {
    pub(crate) algorithm: Algorithm,
    /// Requests in a window; at least 1.
    pub(crate) quota: u32,
    /// Length of a window; at least a second.
    pub(crate) window: Span,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    /// The window that it was charged to; `None` when it was refused.
    pub(crate) charged: Option<u64>,
    /// Requests left.
    pub(crate) remaining: u32,
    /// Time until the current window ends.
    pub(crate) reset: Span,
    /// Time until a request is admitted again; zero when one was.
    pub(crate) retry_after: Span,
}

/// A request's place among the windows: in the one that is counted, or in the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Current,
    Previous,
}

impl Quota {
    /// Charges one request at `now`; returns the decision and what the key has used then.
    pub(crate) fn charge(&self, used: Window, now: Timestamp) -> (Decision, Window) {
        let number = self.number(now);
        let (mut used, place) = self.move_to(used, number);
        let elapsed = now
            .unix_nanos()
            .saturating_sub(number.saturating_mul(self.nanos()));
        let wait = match self.algorithm {
            Algorithm::FixedWindow => fixed_window::wait(self, &used, place, elapsed),
            Algorithm::SlidingWindow => sliding_window::wait(self, &used, place, elapsed),
        };
        if wait == 0 {
            let count = match place {
                Place::Current => &mut used.current,
                Place::Previous => &mut used.previous,
            };
            *count = count.saturating_add(1);
        }
        let remaining = match self.algorithm {
            Algorithm::FixedWindow => fixed_window::remaining(self, &used, place),
            Algorithm::SlidingWindow => sliding_window::remaining(self, &used, place, elapsed),
        };
        let decision = Decision {
            charged: (wait == 0).then_some(number),
            remaining,
            reset: Span::from_nanos(self.nanos().saturating_sub(elapsed)),
            retry_after: Span::from_nanos(wait),
        };
        (decision, used)
    }

    /// Whether `now` lies so far before what is counted in `used` that it can't be counted there.
    pub(crate) fn precedes(&self, now: Timestamp, used: &Window) -> bool {
        self.number(now).saturating_add(1) < used.number
    }

    /// What is taken to have been used at a time of which nothing is known any more: everything.
    pub(crate) fn exhausted(&self, now: Timestamp) -> Window {
        let number = self.number(now);
        Window {
            number,
            current: self.quota,
            previous: self.quota,
        }
    }

    /// Gives back what was charged to window `number`.
    pub(crate) fn give_back(used: Window, number: u64) -> Window {
        let mut used = used;
        if used.number == number {
            used.current = used.current.saturating_sub(1);
        } else if used.number == number.saturating_add(1) {
            used.previous = used.previous.saturating_sub(1);
        }
        used
    }

    /// From when on `used` limits nobody.
    pub(crate) fn idle_at(&self, used: &Window) -> Timestamp {
        let windows = match self.algorithm {
            Algorithm::FixedWindow => 1,
            Algorithm::SlidingWindow => 2,
        };
        Timestamp::from_unix_nanos(
            used.number
                .saturating_add(windows)
                .saturating_mul(self.nanos()),
        )
    }

    fn number(&self, now: Timestamp) -> u64 {
        now.unix_nanos().checked_div(self.nanos()).unwrap_or(0)
    }

    fn nanos(&self) -> u64 {
        self.window.as_nanos().max(1)
    }

    fn move_to(&self, used: Window, number: u64) -> (Window, Place) {
        if number == used.number {
            (used, Place::Current)
        } else if number == used.number.saturating_add(1) {
            (
                Window {
                    number,
                    current: 0,
                    previous: used.current,
                },
                Place::Current,
            )
        } else if number > used.number {
            (
                Window {
                    number,
                    current: 0,
                    previous: 0,
                },
                Place::Current,
            )
        } else if number.saturating_add(1) == used.number {
            (used, Place::Previous)
        } else {
            (
                Window {
                    number,
                    current: self.quota,
                    previous: self.quota,
                },
                Place::Current,
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60;
    const START: u64 = 1_767_254_400;

    fn quota(algorithm: Algorithm) -> Quota {
        Quota {
            algorithm,
            quota: 10,
            window: Span::from_secs(MINUTE),
        }
    }

    /// Charges one request each of `times` (seconds from a window's start); returns who passed.
    fn passed(algorithm: Algorithm, times: &[f64]) -> Vec<bool> {
        let mut used = Window::default();
        times
            .iter()
            .map(|secs| {
                let nanos = (START as i128 * 1_000_000_000 + (secs * 1e9) as i128) as u64;
                let (decision, next) =
                    quota(algorithm).charge(used, Timestamp::from_unix_nanos(nanos));
                used = next;
                decision.charged.is_some()
            })
            .collect()
    }

    fn count(passed: &[bool]) -> usize {
        passed.iter().filter(|passed| **passed).count()
    }

    const BOTH: [Algorithm; 2] = [Algorithm::FixedWindow, Algorithm::SlidingWindow];

    #[test]
    fn a_window_admits_its_quota_and_no_more() {
        for algorithm in BOTH {
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
        for algorithm in BOTH {
            // 9 in the first window, one in the second, then two latecomers of the first.
            let mut times = vec![59.9; 9];
            times.extend([60.1, 59.99, 59.99]);
            let passed = passed(algorithm, &times);
            match algorithm {
                Algorithm::FixedWindow => assert_eq!(passed[9..], [true, true, false]),
                Algorithm::SlidingWindow => assert_eq!(count(&passed[9..]), 1),
            }
        }
    }

    #[test]
    fn a_clock_set_back_by_a_day_locks_nobody_out_for_longer_than_a_window_and_admits_nothing_extra()
     {
        for algorithm in BOTH {
            let day = 86_400.0;
            let mut times = vec![day];
            times.extend((0..30).map(f64::from));
            assert_eq!(count(&passed(algorithm, &times)), 1);
            times.extend([121.0; 3]);
            assert_eq!(count(&passed(algorithm, &times)), 4, "{algorithm:?}");
        }
    }

    #[test]
    fn what_is_given_back_can_be_used_again_in_either_window() {
        let mut used = Window {
            number: 5,
            current: 3,
            previous: 2,
        };
        used = Quota::give_back(used, 5);
        used = Quota::give_back(used, 4);
        used = Quota::give_back(used, 3);
        assert_eq!(
            used,
            Window {
                number: 5,
                current: 2,
                previous: 1
            }
        );
    }

    #[test]
    fn whoever_comes_again_after_retry_after_is_admitted_and_nobody_earlier() {
        for algorithm in BOTH {
            for burst_at in [0_u64, 17, 59] {
                let start = Timestamp::from_unix_secs(START + burst_at);
                let quota = quota(algorithm);
                let mut used = Window {
                    number: quota.number(start) - 1,
                    current: 4,
                    previous: 0,
                };
                let refused = loop {
                    let (decision, next) = quota.charge(used, start);
                    used = next;
                    if decision.charged.is_none() {
                        break decision;
                    }
                };
                let admitted_at = |wait: u64| {
                    quota
                        .charge(used, start.after(Span::from_nanos(wait)))
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
}
