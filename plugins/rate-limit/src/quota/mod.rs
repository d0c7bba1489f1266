//! Quotas: how much is used, how much is left, and when to come again.
//!
//! Two algorithms count in fixed windows and remember the count of the one before; the third keeps
//! one point in time. Workers read the clock at slightly different times and clocks are set back, so
//! a request may come from before what is counted:
//!
//! - a little before: one window earlier it is judged by, and counted in, the count of that window,
//!   which is still held; a token bucket takes it for empty until it is full again;
//! - long before: what was used then is no longer known. Counts of that time start full, so that
//!   nothing is admitted beyond the quota, and are free again one window later; they are kept beside
//!   the later ones, which hold again once the clock is back ([`Quota::precedes`]).

mod fixed_window;
mod sliding_window;
mod token_bucket;

use portcullis_policy::{Span, Timestamp};

use crate::config::Algorithm;

/// What a key has used, as its limit's algorithm counts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Used {
    /// Windows: the window's number since 1970. Token bucket: when it is full again, in nanoseconds
    /// since 1970.
    pub(crate) at: u64,
    /// Windows: used in it. Token bucket: the part of a nanosecond that is missing in `at`.
    pub(crate) current: u32,
    /// Windows: used in the one before.
    pub(crate) previous: u32,
}

/// How much may be used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quota {
    pub(crate) algorithm: Algorithm,
    /// Requests in a window; 1 to 10⁹.
    pub(crate) quota: u32,
    /// Length of a window; a second to 366 days.
    pub(crate) window: Span,
    /// Requests that a token bucket holds; 1 to 10⁹.
    pub(crate) burst: u32,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    /// What it was charged to: a window by its number, or a bucket by when it is full again, in
    /// nanoseconds since 1970; `None` when it was refused.
    pub(crate) charged: Option<u64>,
    /// Requests left.
    pub(crate) remaining: u32,
    /// Time until the current window ends, or until the bucket is full.
    pub(crate) reset: Span,
    /// Time until such a request is admitted again; zero when this one was.
    pub(crate) retry_after: Span,
}

/// A request's place among the windows: in the one that is counted, or in the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Current,
    Previous,
}

impl Quota {
    /// Charges a request that costs so much at `now`; returns the decision and what the key has used
    /// then. What costs nothing is admitted.
    pub(crate) fn charge(&self, used: Used, cost: u32, now: Timestamp) -> (Decision, Used) {
        if self.algorithm == Algorithm::TokenBucket {
            return token_bucket::charge(self, used, cost, now);
        }
        let number = self.number(now);
        let (mut used, place) = self.move_to(used, number);
        let elapsed = now
            .unix_nanos()
            .saturating_sub(number.saturating_mul(self.nanos()));
        let wait = match self.algorithm {
            _ if cost == 0 => 0,
            Algorithm::FixedWindow => fixed_window::wait(self, &used, place, cost, elapsed),
            Algorithm::SlidingWindow | Algorithm::TokenBucket => {
                sliding_window::wait(self, &used, place, cost, elapsed)
            }
        };
        if wait == 0 {
            let count = match place {
                Place::Current => &mut used.current,
                Place::Previous => &mut used.previous,
            };
            *count = count.saturating_add(cost);
        }
        let remaining = match self.algorithm {
            Algorithm::FixedWindow => fixed_window::remaining(self, &used, place),
            Algorithm::SlidingWindow | Algorithm::TokenBucket => {
                sliding_window::remaining(self, &used, place, elapsed)
            }
        };
        let decision = Decision {
            charged: (wait == 0).then_some(number),
            remaining,
            reset: Span::from_nanos(self.nanos().saturating_sub(elapsed)),
            retry_after: Span::from_nanos(wait),
        };
        (decision, used)
    }

    /// Most that one request may cost: what costs more would never be admitted.
    pub(crate) const fn largest_cost(&self) -> u32 {
        match self.algorithm {
            Algorithm::FixedWindow | Algorithm::SlidingWindow => self.quota,
            Algorithm::TokenBucket => self.burst,
        }
    }

    /// Whether `now` lies so far before what is counted in `used` that it can't be counted there.
    pub(crate) fn precedes(&self, now: Timestamp, used: &Used) -> bool {
        match self.algorithm {
            Algorithm::FixedWindow | Algorithm::SlidingWindow => {
                self.number(now).saturating_add(1) < used.at
            }
            Algorithm::TokenBucket => token_bucket::precedes(self, now, used),
        }
    }

    /// What is taken to have been used at a time of which nothing is known any more: everything.
    pub(crate) fn exhausted(&self, now: Timestamp) -> Used {
        match self.algorithm {
            Algorithm::FixedWindow | Algorithm::SlidingWindow => Used {
                at: self.number(now),
                current: self.quota,
                previous: self.quota,
            },
            Algorithm::TokenBucket => token_bucket::exhausted(self, now),
        }
    }

    /// How long a count can matter.
    pub(crate) fn longest(&self) -> Span {
        match self.algorithm {
            Algorithm::FixedWindow | Algorithm::SlidingWindow => {
                Span::from_nanos(self.nanos().saturating_mul(2))
            }
            Algorithm::TokenBucket => token_bucket::longest(self),
        }
    }

    /// Gives back at `now` what was charged to window `number`.
    pub(crate) fn give_back(&self, used: Used, number: u64, cost: u32, now: Timestamp) -> Used {
        let mut used = used;
        match self.algorithm {
            Algorithm::TokenBucket => {
                return token_bucket::give_back(self, used, number, cost, now);
            }
            Algorithm::FixedWindow | Algorithm::SlidingWindow => {}
        }
        if used.at == number {
            used.current = used.current.saturating_sub(cost);
        } else if used.at == number.saturating_add(1) {
            used.previous = used.previous.saturating_sub(cost);
        }
        used
    }

    /// From when on `used` limits nobody.
    pub(crate) fn idle_at(&self, used: &Used) -> Timestamp {
        let windows = match self.algorithm {
            Algorithm::FixedWindow => 1,
            Algorithm::SlidingWindow => 2,
            Algorithm::TokenBucket => return Timestamp::from_unix_nanos(used.at.saturating_add(1)),
        };
        Timestamp::from_unix_nanos(used.at.saturating_add(windows).saturating_mul(self.nanos()))
    }

    /// Whether nothing is used at `now`, as if the key had never been counted.
    pub(crate) fn is_unused(&self, used: &Used, now: Timestamp) -> bool {
        match self.algorithm {
            Algorithm::FixedWindow | Algorithm::SlidingWindow => {
                used.current == 0 && used.previous == 0
            }
            Algorithm::TokenBucket => used.at <= now.unix_nanos(),
        }
    }

    fn number(&self, now: Timestamp) -> u64 {
        now.unix_nanos().checked_div(self.nanos()).unwrap_or(0)
    }

    fn nanos(&self) -> u64 {
        self.window.as_nanos().max(1)
    }

    fn move_to(&self, used: Used, number: u64) -> (Used, Place) {
        if number == used.at {
            (used, Place::Current)
        } else if number == used.at.saturating_add(1) {
            let moved = Used {
                at: number,
                current: 0,
                previous: used.current,
            };
            (moved, Place::Current)
        } else if number > used.at {
            let moved = Used {
                at: number,
                current: 0,
                previous: 0,
            };
            (moved, Place::Current)
        } else if number.saturating_add(1) == used.at {
            (used, Place::Previous)
        } else {
            let moved = Used {
                at: number,
                current: self.quota,
                previous: self.quota,
            };
            (moved, Place::Current)
        }
    }
}

#[cfg(test)]
mod tests;
