//! A share of bad requests, and whether it is exceeded for certain.
//!
//! What is bad is reported at once, what is fine with a worker's tick: so for a moment bad ones can look
//! like a larger share than they are. A share that is exceeded is therefore a suspicion at first. It
//! is kept as it was then; what is reported to be fine later is added to it, since it may have been
//! earlier. When it is still exceeded after [`CONFIRM`], by which time every worker has had its tick,
//! it was exceeded for certain. So late counts can delay a trip, and never bring one about.

use portcullis_policy::{Span, Timestamp};

use crate::window::{Ratio, Tally, Window};

/// Two ticks: one that is due, and as much again for a worker whose event loop is busy.
pub(crate) const CONFIRM: Span = Span::from_millis(100);

/// The requests of a window, and whether too many of them are suspected to be bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) window: Window,
    pub(crate) suspicion: Option<Suspicion>,
}

/// A share that was exceeded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Suspicion {
    pub(crate) since: Timestamp,
    /// What the window held then, and what was reported to be fine since.
    pub(crate) tally: Tally,
}

/// What is known of a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exceeded {
    No,
    /// It is suspected.
    Perhaps,
    Yes,
}

impl Share {
    /// Counts `tally` at `now`.
    pub(crate) fn tell(&mut self, ratio: &Ratio, tally: Tally, now: Timestamp) -> Exceeded {
        if tally != Tally::default() {
            self.window.add(ratio, tally, now);
        }
        let seen = self.window.sum(ratio, now);
        // What was suspected, with what is known by now to have been fine.
        let fine = tally.requests.saturating_sub(tally.bad);
        let suspected = self.suspicion.map(|known| Suspicion {
            tally: Tally {
                requests: known.tally.requests.saturating_add(fine),
                ..known.tally
            },
            ..known
        });
        // A clock that was set back starts the time anew.
        let suspected = suspected
            .filter(|known| ratio.is_exceeded(known.tally) && known.since <= now)
            .unwrap_or(Suspicion {
                since: now,
                tally: seen,
            });
        if !ratio.is_exceeded(seen) {
            self.suspicion = None;
            return Exceeded::No;
        }
        self.suspicion = Some(suspected);
        match now.since(suspected.since) >= CONFIRM {
            true => Exceeded::Yes,
            false => Exceeded::Perhaps,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATIO: Ratio = Ratio {
        above: 500_000,
        window: Span::from_secs(10),
        minimum_requests: 4,
    };

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_unix_secs(1_000).after(Span::from_millis(millis))
    }

    /// Fine and bad ones at their times; what is known after each.
    fn play(reported: &[(u64, u32, u32)]) -> Vec<Exceeded> {
        let mut share = Share::default();
        let tell = |(millis, fine, bad): &(u64, u32, u32)| {
            let tally = Tally {
                requests: fine + bad,
                bad: *bad,
            };
            share.tell(&RATIO, tally, at(*millis))
        };
        reported.iter().map(tell).collect()
    }

    #[test]
    fn a_share_that_stays_exceeded_is_certain_after_two_ticks() {
        use Exceeded::{No, Perhaps, Yes};
        for (reported, known) in [
            (
                &[(0, 0, 3), (0, 0, 1), (99, 0, 0), (100, 0, 0)][..],
                &[No, Perhaps, Perhaps, Yes][..],
            ),
            // Another bad one finds it so, too.
            (&[(0, 0, 4), (300, 0, 1)], &[Perhaps, Yes]),
            // What was fine is reported late.
            (&[(0, 0, 10), (50, 10, 0), (100, 0, 0)], &[Perhaps, No, No]),
            // Enough of it was bad all the same.
            (
                &[(0, 0, 10), (50, 5, 0), (100, 0, 0)],
                &[Perhaps, Perhaps, Yes],
            ),
            // A share of a half that is reported in turn, the bad ones first.
            (
                &[
                    (0, 10, 10),
                    (10, 0, 1),
                    (60, 1, 0),
                    (70, 0, 1),
                    (120, 1, 0),
                    (130, 0, 1),
                ],
                &[No, Perhaps, No, Perhaps, No, Perhaps],
            ),
            // Of two workers that are fine one tells at a time: the other's are missing always.
            (
                &[
                    (0, 20, 20),
                    (10, 0, 2),
                    (50, 1, 0),
                    (60, 0, 2),
                    (100, 2, 0),
                    (110, 0, 2),
                    (150, 2, 0),
                ],
                &[No, Perhaps, Perhaps, Perhaps, Perhaps, Perhaps, Perhaps],
            ),
            // What was found and what is reported at one reading of the clock is of one suspicion.
            (
                &[(0, 0, 4), (0, 3, 2), (50, 2, 0), (100, 0, 0), (150, 0, 0)],
                &[Perhaps, Perhaps, Perhaps, Perhaps, Yes],
            ),
            // The window has moved on meanwhile.
            (&[(0, 0, 4), (20_000, 0, 0)], &[Perhaps, No]),
        ] {
            assert_eq!(play(reported), known, "{reported:?}");
        }
    }

    #[test]
    fn a_clock_that_was_set_back_starts_the_time_anew() {
        let known = play(&[(5_000, 0, 4), (4_000, 0, 0), (4_099, 0, 0), (4_100, 0, 0)]);
        use Exceeded::{Perhaps, Yes};
        assert_eq!(known, [Perhaps, Perhaps, Perhaps, Yes]);
    }
}
