//! How long a breaker stays open: longer each time that it opens again, with some chance in it.

use portcullis_policy::Span;

/// The configured lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenFor {
    pub(crate) initial: Span,
    /// In millionths, one at least.
    pub(crate) multiplier: u32,
    pub(crate) max: Span,
    /// The largest share that is taken off, in millionths.
    pub(crate) jitter: u32,
}

/// How often a breaker has opened without having been closed for long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backoff {
    /// In a row; 0 when it never was open, or has recovered for good.
    pub(crate) times: u8,
    /// How long the last time was.
    pub(crate) last: Span,
}

const WHOLE: u128 = 1_000_000;

impl OpenFor {
    /// The length after it has opened so many times before, with the chance of `roll` (of all `u32`,
    /// evenly): between `1 - jitter` and once the time that is due.
    pub(crate) fn after(&self, times: u8, roll: u32) -> Span {
        let max = u128::from(self.max.as_nanos());
        let mut nanos = u128::from(self.initial.as_nanos());
        for _ in 0..times {
            if nanos >= max {
                break;
            }
            nanos = scaled(nanos, u128::from(self.multiplier));
        }
        let due = nanos.min(max);
        let most_off = scaled(due, u128::from(self.jitter));
        let off = most_off.saturating_mul(u128::from(roll)) >> 32;
        let nanos = u64::try_from(due.saturating_sub(off)).unwrap_or(u64::MAX);
        // A jitter of 1 could leave nothing at all.
        Span::from_nanos(nanos.max(1))
    }
}

/// So many millionths of a number.
const fn scaled(number: u128, millionths: u128) -> u128 {
    number.saturating_mul(millionths) / WHOLE
}

impl Backoff {
    /// The next time, after having been closed for `closed`: from the start if that was as long as
    /// the last time open.
    pub(crate) fn next(self, open_for: &OpenFor, closed: Span, roll: u32) -> Self {
        let times = if closed >= self.last { 0 } else { self.times };
        Self {
            times: times.saturating_add(1),
            last: open_for.after(times, roll),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN_FOR: OpenFor = OpenFor {
        initial: Span::from_secs(30),
        multiplier: 2_000_000,
        max: Span::from_secs(300),
        jitter: 0,
    };

    fn secs(open_for: &OpenFor, times: u8) -> u64 {
        open_for.after(times, 0).as_secs_ceil()
    }

    #[test]
    fn each_time_is_a_multiple_of_the_one_before_up_to_the_longest() {
        let times = [0, 1, 2, 3, 4, 5, 255].map(|times| secs(&OPEN_FOR, times));
        assert_eq!(times, [30, 60, 120, 240, 300, 300, 300]);
        let halves = OpenFor {
            multiplier: 1_500_000,
            ..OPEN_FOR
        };
        assert_eq!([0, 1, 2].map(|times| secs(&halves, times)), [30, 45, 68]);
        let constant = OpenFor {
            multiplier: 1_000_000,
            ..OPEN_FOR
        };
        assert_eq!(secs(&constant, 255), 30);
    }

    #[test]
    fn jitter_takes_off_up_to_its_share_and_never_adds() {
        let jittery = OpenFor {
            jitter: 100_000,
            ..OPEN_FOR
        };
        let span = |roll| jittery.after(0, roll).as_nanos();
        assert_eq!(span(0), 30_000_000_000);
        assert_eq!(span(1 << 31), 28_500_000_000);
        assert!((27_000_000_000..27_000_000_010).contains(&span(u32::MAX)));
        let all = OpenFor {
            jitter: 1_000_000,
            ..OPEN_FOR
        };
        assert!(all.after(0, u32::MAX) > Span::ZERO);
    }

    #[test]
    fn it_starts_again_after_having_been_closed_for_as_long_as_it_was_open() {
        let first = Backoff::default().next(&OPEN_FOR, Span::ZERO, 0);
        assert_eq!((first.times, first.last), (1, Span::from_secs(30)));
        let second = first.next(&OPEN_FOR, Span::from_nanos(29_999_999_999), 0);
        assert_eq!((second.times, second.last), (2, Span::from_secs(60)));
        let again = second.next(&OPEN_FOR, Span::from_secs(60), 0);
        assert_eq!(again, first);
    }

    #[test]
    fn the_longest_of_all_does_not_overflow() {
        let longest = OpenFor {
            initial: Span::from_nanos(u64::MAX),
            multiplier: u32::MAX,
            max: Span::from_nanos(u64::MAX),
            jitter: 1_000_000,
        };
        assert_eq!(longest.after(255, 0).as_nanos(), u64::MAX);
        let last = Backoff {
            times: 255,
            last: Span::from_nanos(u64::MAX),
        };
        assert_eq!(last.next(&longest, Span::ZERO, 7).times, 255);
    }
}
