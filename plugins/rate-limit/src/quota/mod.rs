//! Quotas: how much is used, how much is left, and when to come again.
//!
//! Each algorithm keeps something else: fixed windows two counts, a token bucket one point in time,
//! sliding windows when requests came. Workers read the clock at slightly different times and clocks
//! are set back, so a request may come from before what is counted:
//!
//! - a little before, it is judged by what is still held. With fixed windows that is one window
//!   earlier, whose count is held; else a second: a token bucket takes it for empty until it is full
//!   again, and a sliding window takes it to come with the latest;
//! - long before: what was used then is no longer known. Counts of that time start full, so that
//!   nothing is admitted beyond the quota, and are free again one window later; they are kept beside
//!   the later ones, which hold again once the clock is back ([`Quota::precedes`]).

mod algorithm;
mod fixed_window;
mod log;
mod sliding_window;
mod token_bucket;

use portcullis_policy::{Span, Timestamp};

pub use algorithm::Algorithm;
pub(crate) use log::Log;

/// Nanoseconds by which the clock may be behind what is held before it is taken to have been set
/// back: workers read it before they see each other's writes.
const LATEST: u64 = 1_000_000_000;

/// What a key has used, as its limit's algorithm keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Used {
    /// Fixed windows and token buckets.
    Count(Count),
    /// Sliding windows, of which something is used.
    Log(Log),
}

/// What is used, in three numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// Fixed windows: the window's number since 1970. Token bucket: when it is full again, in
    /// nanoseconds since 1970.
    pub(crate) at: u64,
    /// Fixed windows: used in it. Token bucket: the part of a nanosecond that is missing in `at`.
    pub(crate) current: u32,
    /// Fixed windows: used in the one before.
    pub(crate) previous: u32,
}

/// How much room an algorithm's [`Used`] takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Form {
    #[default]
    Count,
    Log,
}

impl Form {
    pub(crate) const fn of(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::FixedWindow | Algorithm::TokenBucket => Self::Count,
            Algorithm::SlidingWindow => Self::Log,
        }
    }
}

impl Default for Used {
    fn default() -> Self {
        Self::Count(Count::default())
    }
}

impl From<Log> for Used {
    fn from(log: Log) -> Self {
        if log.is_empty() {
            Self::default()
        } else {
            Self::Log(log)
        }
    }
}

impl Used {
    /// What algorithms other than the sliding window keep.
    pub(crate) fn count(&self) -> Count {
        match self {
            Self::Count(count) => *count,
            Self::Log(_) => Count::default(),
        }
    }

    /// What a sliding window keeps.
    pub(crate) fn log(&self) -> Log {
        match self {
            Self::Count(_) => Log::default(),
            Self::Log(log) => *log,
        }
    }

    /// How much it is, to tell those that used little.
    pub(crate) fn amount(&self) -> u32 {
        match self {
            Self::Count(count) => count.current.saturating_add(count.previous),
            Self::Log(log) => log.used(),
        }
    }
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
    /// What it was charged to: a window by its number, a bucket by when it is full again, in
    /// nanoseconds since 1970, a part of a log by when it begins; `None` when it was refused.
    pub(crate) charged: Option<u64>,
    /// Requests left.
    pub(crate) remaining: u32,
    /// Time until the current window ends, the bucket is full, or nothing that was used counts any
    /// more.
    pub(crate) reset: Span,
    /// Time until such a request is admitted again; zero when this one was.
    pub(crate) retry_after: Span,
}

impl Quota {
    /// How much room a key takes.
    pub(crate) const fn form(&self) -> Form {
        Form::of(self.algorithm)
    }

    /// Charges a request that costs so much at `now`; returns the decision and what the key has used
    /// then. What costs nothing is admitted.
    pub(crate) fn charge(&self, used: Used, cost: u32, now: Timestamp) -> (Decision, Used) {
        match self.algorithm {
            Algorithm::FixedWindow => {
                let (decision, used) = fixed_window::charge(self, used.count(), cost, now);
                (decision, Used::Count(used))
            }
            Algorithm::SlidingWindow => {
                let (decision, used) = sliding_window::charge(self, used.log(), cost, now);
                (decision, Used::from(used))
            }
            Algorithm::TokenBucket => {
                let (decision, used) = token_bucket::charge(self, used.count(), cost, now);
                (decision, Used::Count(used))
            }
        }
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
            Algorithm::FixedWindow => fixed_window::precedes(self, now, &used.count()),
            Algorithm::SlidingWindow => sliding_window::precedes(self, now, &used.log()),
            Algorithm::TokenBucket => token_bucket::precedes(self, now, &used.count()),
        }
    }

    /// What is taken to have been used at a time of which nothing is known any more: everything.
    pub(crate) fn exhausted(&self, now: Timestamp) -> Used {
        match self.algorithm {
            Algorithm::FixedWindow => Used::Count(fixed_window::exhausted(self, now)),
            Algorithm::SlidingWindow => Used::from(sliding_window::exhausted(self, now)),
            Algorithm::TokenBucket => Used::Count(token_bucket::exhausted(self, now)),
        }
    }

    /// How long a count can matter.
    pub(crate) fn longest(&self) -> Span {
        match self.algorithm {
            Algorithm::FixedWindow => fixed_window::longest(self),
            Algorithm::SlidingWindow => sliding_window::longest(self),
            Algorithm::TokenBucket => token_bucket::longest(self),
        }
    }

    /// Gives back at `now` what was charged to `charged`, as a [`Decision`] names it.
    pub(crate) fn give_back(&self, used: Used, charged: u64, cost: u32, now: Timestamp) -> Used {
        match self.algorithm {
            Algorithm::FixedWindow => {
                Used::Count(fixed_window::give_back(used.count(), charged, cost))
            }
            Algorithm::SlidingWindow => {
                Used::from(sliding_window::give_back(used.log(), charged, cost))
            }
            Algorithm::TokenBucket => {
                let used = token_bucket::give_back(self, used.count(), charged, cost, now);
                Used::Count(used)
            }
        }
    }

    /// From when on `used` limits nobody.
    pub(crate) fn idle_at(&self, used: &Used) -> Timestamp {
        match self.algorithm {
            Algorithm::FixedWindow => fixed_window::idle_at(self, &used.count()),
            Algorithm::SlidingWindow => sliding_window::idle_at(self, &used.log()),
            Algorithm::TokenBucket => token_bucket::idle_at(&used.count()),
        }
    }

    /// Whether nothing is used at `now`, as if the key had never been counted.
    pub(crate) fn is_unused(&self, used: &Used, now: Timestamp) -> bool {
        match self.algorithm {
            Algorithm::FixedWindow | Algorithm::SlidingWindow => used.amount() == 0,
            Algorithm::TokenBucket => used.count().at <= now.unix_nanos(),
        }
    }

    fn nanos(&self) -> u64 {
        self.window.as_nanos().max(1)
    }
}

#[cfg(test)]
mod tests;
