//! What one worker has seen of settled requests and not reported to the others yet.

use std::cell::Cell;

use crate::classify::{Outcome, Pace};
use crate::window::Tally;

/// Settled requests, by what is bad about them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) requests: u32,
    pub(crate) failed: u32,
    pub(crate) slow: u32,
}

/// The counts of one generation of a breaker; those of an earlier one say nothing any more.
#[derive(Debug, Default)]
pub(crate) struct Batch(Cell<(u32, Counts)>);

impl Batch {
    /// Adds what was admitted in `generation`.
    pub(crate) fn put(&self, generation: u32, more: Counts) {
        let (known, counts) = self.0.get();
        if known == generation {
            self.0.set((known, counts.and(more)));
        } else if counts == Counts::default() || is_later(generation, known) {
            self.0.set((generation, more));
        }
    }

    /// Takes what is there of `generation`.
    pub(crate) fn take_of(&self, generation: u32) -> Counts {
        match self.0.get() {
            (known, counts) if known == generation => {
                self.0.set((known, Counts::default()));
                counts
            }
            _ => Counts::default(),
        }
    }

    /// Takes what is there, and of which generation it is; `None` when there is nothing.
    pub(crate) fn take(&self) -> Option<(u32, Counts)> {
        let (generation, counts) = self.0.get();
        self.0.set((generation, Counts::default()));
        (counts != Counts::default()).then_some((generation, counts))
    }
}

impl Counts {
    /// Of one request.
    pub(crate) fn of(outcome: Outcome, pace: Pace) -> Self {
        let failed = match outcome {
            Outcome::Success => 0,
            Outcome::Failure(_) => 1,
            Outcome::Ignored => return Self::default(),
        };
        Self {
            requests: 1,
            failed,
            slow: match pace {
                Pace::Quick => 0,
                Pace::Slow => 1,
            },
        }
    }

    pub(crate) const fn failures(self) -> Tally {
        Tally {
            requests: self.requests,
            bad: self.failed,
        }
    }

    pub(crate) const fn slow(self) -> Tally {
        Tally {
            requests: self.requests,
            bad: self.slow,
        }
    }

    const fn and(self, more: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(more.requests),
            failed: self.failed.saturating_add(more.failed),
            slow: self.slow.saturating_add(more.slow),
        }
    }
}

/// Whether one generation comes after another; they wrap.
pub(crate) const fn is_later(one: u32, other: u32) -> bool {
    const HALF: u32 = 1 << 31;
    let ahead = one.wrapping_sub(other);
    ahead != 0 && ahead < HALF
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Counts = Counts {
        requests: 1,
        failed: 0,
        slow: 0,
    };
    const BAD: Counts = Counts {
        requests: 1,
        failed: 1,
        slow: 1,
    };

    #[test]
    fn counts_of_one_generation_add_up_and_are_taken_once() {
        let batch = Batch::default();
        batch.put(7, GOOD);
        batch.put(7, BAD);
        let both = Counts {
            requests: 2,
            failed: 1,
            slow: 1,
        };
        assert_eq!(batch.take(), Some((7, both)));
        assert_eq!(batch.take(), None);
        batch.put(7, GOOD);
        assert_eq!(batch.take_of(8), Counts::default());
        assert_eq!(batch.take_of(7), GOOD);
        assert_eq!(batch.take_of(7), Counts::default());
    }

    #[test]
    fn a_later_generation_takes_the_place_of_an_earlier_one_and_not_the_other_way_round() {
        for (early, late) in [(7, 8), (7, 9), (u32::MAX, 0), (u32::MAX, 2)] {
            let batch = Batch::default();
            batch.put(early, GOOD);
            batch.put(late, BAD);
            batch.put(early, GOOD);
            assert_eq!(batch.take(), Some((late, BAD)));
            // Nothing is there that it could push out.
            batch.put(early, GOOD);
            assert_eq!(batch.take(), Some((early, GOOD)));
        }
    }

    #[test]
    fn of_two_generations_one_at_most_is_later() {
        const HALF: u32 = 1 << 31;
        assert!(is_later(HALF - 1, 0) && !is_later(HALF, 0) && !is_later(0, HALF));
    }

    #[test]
    fn counts_do_not_overflow() {
        let batch = Batch::default();
        let most = Counts {
            requests: u32::MAX,
            failed: u32::MAX,
            slow: u32::MAX,
        };
        batch.put(0, most);
        batch.put(0, BAD);
        assert_eq!(batch.take(), Some((0, most)));
    }
}
