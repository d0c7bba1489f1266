//! Quotas: how much is used, how much is left, and when to come again.
//!
//! Each algorithm keeps something else: fixed windows and permits two counts, a token bucket one point in time,
//! sliding windows when requests came. Workers read the clock at slightly different times and clocks
//! are set back, so a request may come from before what is counted:
//!
//! - a little before, it is judged by what is still held. With fixed windows that is one window
//!   earlier, whose count is held; else a second: a token bucket takes it for empty until it is full
//!   again, and a sliding window takes it to come with the latest;
//! - long before: what was used then is no longer known. Counts of that time start full, so that
//!   nothing is admitted beyond the quota, and are free again one window later; they are kept beside
//!   the later ones, which hold again once the clock is back ([`Counting::precedes`]).
//!
//! Where a request is charged for what it may use, and settled by what it did ([`Counting::give_back`], [`Counting::owe`]), all
//! that was used and all that is charged for what is still running are at most what the algorithm admits, and debts:
//!
//! - **fixed windows**: in each, the quota and what requests that were admitted in it used beyond what they were charged. That is
//!   taken off the next window;
//! - **sliding windows**: in any span, as without debts, and what was used beyond what was charged;
//! - **token buckets**: in any span, as without debts, what was used beyond what was charged, and what was given back in it: of
//!   what was charged and not used only that is given back which has not dripped in again meanwhile.

mod algorithm;
mod counting;
mod in_flight;
mod lease;
mod log;
mod token_bucket;
mod used;
mod windows;

use portcullis_policy::Span;

pub use algorithm::Algorithm;
pub(crate) use counting::{Counting, Decision, Need, Rate};
pub(crate) use in_flight::InFlight;
pub(crate) use lease::{Lease, Spending, Told, Unspent};
pub(crate) use token_bucket::TokenBucket;
pub(crate) use used::{Form, Used};
pub(crate) use windows::{FixedWindow, SlidingWindow};

/// How much may be used, and how that is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Quota {
    FixedWindow(FixedWindow),
    SlidingWindow(SlidingWindow),
    TokenBucket(TokenBucket),
    InFlight(InFlight),
    Lease(Lease),
}

impl Quota {
    /// `burst`: how much a token bucket holds; as much as `quota` where that is not said.
    pub(crate) fn new(algorithm: Algorithm, quota: u32, window: Span, burst: Option<u32>) -> Self {
        let rate = Rate {
            quota,
            window,
            has_debts: false,
        };
        match algorithm {
            Algorithm::FixedWindow => Self::FixedWindow(FixedWindow(rate)),
            Algorithm::SlidingWindow => Self::SlidingWindow(SlidingWindow(rate)),
            Algorithm::TokenBucket => Self::TokenBucket(TokenBucket {
                rate,
                burst: burst.unwrap_or(quota),
            }),
        }
    }

    /// The same, where more may be used than was charged.
    pub(crate) fn with_debts(mut self) -> Self {
        match &mut self {
            Self::FixedWindow(FixedWindow(rate))
            | Self::SlidingWindow(SlidingWindow(rate))
            | Self::TokenBucket(TokenBucket { rate, .. }) => rate.has_debts = true,
            Self::InFlight(_) | Self::Lease(_) => {}
        }
        self
    }

    /// A part of it, in millionths; 1 at least.
    pub(crate) fn part(mut self, millionths: u32) -> Self {
        let part = |number: u32| {
            let part = u64::from(number).saturating_mul(millionths.into()) / 1_000_000;
            u32::try_from(part).unwrap_or(u32::MAX).max(1)
        };
        match &mut self {
            Self::FixedWindow(FixedWindow(rate)) | Self::SlidingWindow(SlidingWindow(rate)) => {
                rate.quota = part(rate.quota);
            }
            Self::TokenBucket(TokenBucket { rate, burst }) => {
                rate.quota = part(rate.quota);
                *burst = part(*burst);
            }
            Self::InFlight(_) | Self::Lease(_) => {}
        }
        self
    }

    /// So many at a time.
    pub(crate) const fn in_flight(most: u32) -> Self {
        Self::InFlight(InFlight::new(most))
    }

    /// The permits, where requests at a time are counted.
    pub(crate) const fn permits(&self) -> Option<InFlight> {
        match self {
            Self::InFlight(permits) => Some(*permits),
            Self::FixedWindow(_)
            | Self::SlidingWindow(_)
            | Self::TokenBucket(_)
            | Self::Lease(_) => None,
        }
    }

    /// The algorithm, whichever it is.
    pub(crate) const fn counting(&self) -> &dyn Counting {
        match self {
            Self::FixedWindow(windows) => windows,
            Self::SlidingWindow(window) => window,
            Self::TokenBucket(bucket) => bucket,
            Self::InFlight(permits) => permits,
            Self::Lease(lease) => lease,
        }
    }
}

#[cfg(test)]
mod tests;
