//! A sliding window of time in a fixed number of buckets: how many requests, and how many of them
//! bad.
//!
//! The window of length `w` is cut into ten buckets aligned to the clock. What is counted lies
//! between 0.9·w and w back, since the oldest bucket goes as a whole.

use portcullis_policy::{Span, Timestamp};

pub(crate) const BUCKETS: usize = 10;
const BUCKETS_U64: u64 = 10;

/// When a share of bad requests opens a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ratio {
    /// In millionths.
    pub(crate) above: u32,
    pub(crate) window: Span,
    pub(crate) minimum_requests: u32,
}

/// Requests that were settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) requests: u32,
    pub(crate) bad: u32,
}

/// The buckets, each by its number modulo [`BUCKETS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Window {
    /// Of a bucket, in nanoseconds. Another one, of another configuration, starts afresh.
    pub(crate) width: u64,
    /// The number of the newest bucket: time since the epoch in widths.
    pub(crate) newest: u64,
    pub(crate) buckets: [Tally; BUCKETS],
}

impl Ratio {
    /// Whether so many bad ones of so many are too many.
    pub(crate) fn is_exceeded(&self, tally: Tally) -> bool {
        const WHOLE: u64 = 1_000_000;
        let bad = u64::from(tally.bad).saturating_mul(WHOLE);
        let most = u64::from(tally.requests).saturating_mul(u64::from(self.above));
        tally.requests >= self.minimum_requests && bad > most
    }

    /// Never zero: there is no window so short.
    fn width(&self) -> u64 {
        self.window
            .as_nanos()
            .checked_div(BUCKETS_U64)
            .unwrap_or_default()
            .max(1)
    }
}

impl Window {
    /// Counts `tally` at `now`.
    pub(crate) fn add(&mut self, ratio: &Ratio, tally: Tally, now: Timestamp) {
        let number = self.move_to(ratio, now);
        if let Some(bucket) = self.bucket(number) {
            bucket.requests = bucket.requests.saturating_add(tally.requests);
            bucket.bad = bucket.bad.saturating_add(tally.bad);
        }
    }

    /// What the window holds at `now`.
    pub(crate) fn sum(mut self, ratio: &Ratio, now: Timestamp) -> Tally {
        self.move_to(ratio, now);
        self.buckets
            .iter()
            .fold(Tally::default(), |sum, bucket| Tally {
                requests: sum.requests.saturating_add(bucket.requests),
                bad: sum.bad.saturating_add(bucket.bad),
            })
    }

    /// Forgets what is too old at `now`, and says which bucket that is. A clock that was set back
    /// by a whole window starts afresh; one that stepped back by less counts in its own bucket.
    fn move_to(&mut self, ratio: &Ratio, now: Timestamp) -> u64 {
        let width = ratio.width();
        let number = now.unix_nanos().checked_div(width).unwrap_or_default();
        if self.width != width || number.saturating_add(BUCKETS_U64) <= self.newest {
            *self = Self {
                width,
                newest: number,
                buckets: [Tally::default(); BUCKETS],
            };
            return number;
        }
        let passed = number.saturating_sub(self.newest).min(BUCKETS_U64);
        for old in 0..passed {
            if let Some(bucket) = self.bucket(number.saturating_sub(old)) {
                *bucket = Tally::default();
            }
        }
        self.newest = self.newest.max(number);
        number
    }

    fn bucket(&mut self, number: u64) -> Option<&mut Tally> {
        let index = number.checked_rem(BUCKETS_U64)?;
        self.buckets.get_mut(usize::try_from(index).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATIO: Ratio = Ratio {
        above: 500_000,
        window: Span::from_secs(30),
        minimum_requests: 20,
    };
    const BAD: Tally = Tally {
        requests: 1,
        bad: 1,
    };

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_unix_secs(3_000_000 + secs)
    }

    fn tally(requests: u32, bad: u32) -> Tally {
        Tally { requests, bad }
    }

    #[test]
    fn a_share_is_exceeded_by_more_than_it_and_not_before_the_minimum() {
        for (requests, bad, exceeded) in [
            (19, 19, false),
            (20, 10, false),
            (20, 11, true),
            (0, 0, false),
            (u32::MAX, u32::MAX, true),
            (u32::MAX, u32::MAX / 2, false),
        ] {
            assert_eq!(
                RATIO.is_exceeded(tally(requests, bad)),
                exceeded,
                "{bad} of {requests}"
            );
        }
        let any = Ratio { above: 0, ..RATIO };
        assert!(any.is_exceeded(tally(20, 1)) && !any.is_exceeded(tally(20, 0)));
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten_bucket_by_bucket() {
        let mut window = Window::default();
        for second in 0..30 {
            window.add(&RATIO, BAD, at(second));
        }
        // Three a bucket.
        for (second, bad) in [(29, 30), (30, 27), (32, 27), (33, 24), (56, 3), (57, 0)] {
            assert_eq!(window.sum(&RATIO, at(second)).bad, bad, "{second}");
        }
    }

    #[test]
    fn a_request_is_remembered_for_nine_tenths_of_the_window_at_least_and_never_longer_than_it() {
        for second in 0..3 {
            let mut window = Window::default();
            window.add(&RATIO, BAD, at(second));
            assert_eq!(window.sum(&RATIO, at(second + 27)).bad, 1, "{second}");
            assert_eq!(window.sum(&RATIO, at(second + 30)).bad, 0, "{second}");
        }
    }

    #[test]
    fn after_a_long_silence_nothing_is_left() {
        let mut window = Window::default();
        window.add(&RATIO, BAD, at(0));
        window.add(&RATIO, BAD, at(86_400));
        assert_eq!(window.sum(&RATIO, at(86_400)), BAD);
    }

    #[test]
    fn a_clock_that_steps_back_a_little_counts_and_one_that_was_set_back_starts_afresh() {
        let mut window = Window::default();
        window.add(&RATIO, BAD, at(100));
        window.add(&RATIO, BAD, at(90));
        assert_eq!(window.sum(&RATIO, at(100)).bad, 2);
        window.add(&RATIO, BAD, at(60));
        assert_eq!(window.sum(&RATIO, at(60)), BAD);
    }

    #[test]
    fn another_length_starts_afresh() {
        let mut window = Window::default();
        window.add(&RATIO, BAD, at(0));
        // Its buckets may have numbers near those of the other one.
        for nanos in [60_000_000_000, 30_000_000_010, 29_999_999_990] {
            let other = Ratio {
                window: Span::from_nanos(nanos),
                ..RATIO
            };
            assert_eq!(window.sum(&other, at(0)), Tally::default(), "{nanos}");
            let mut window = window;
            window.add(&other, BAD, at(0));
            assert_eq!(window.sum(&other, at(0)), BAD, "{nanos}");
        }
    }

    #[test]
    fn counts_and_times_at_their_ends_do_not_overflow() {
        let mut window = Window::default();
        let end = Timestamp::from_unix_nanos(u64::MAX);
        for _ in 0..2 {
            window.add(&RATIO, tally(u32::MAX, u32::MAX), end);
            window.add(&RATIO, tally(u32::MAX, 1), end.before(Span::from_secs(20)));
        }
        assert_eq!(window.sum(&RATIO, end).requests, u32::MAX);
        let _ = window.sum(&RATIO, Timestamp::default());
    }
}
