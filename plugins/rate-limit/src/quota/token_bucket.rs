//! A bucket of `burst` tokens into which `quota` tokens drip in each window, kept as one point in
//! time: when it will be full again (the generic cell rate algorithm, ITU-T I.371; its "theoretical
//! arrival time").
//!
//! In any span of `t` it admits at most `burst + quota · t / window`. Time is counted in parts of a
//! nanosecond, `quota` of them to one, in which a token takes exactly `window`: nothing is rounded.
//! A point in time stays under 2^64 · 10^9 < 2^94, a bucket under 10^9 · 2^55 < 2^85.

use portcullis_policy::{Span, Timestamp};

use super::counting::{Decision, LATEST, Method, Need, Rate};
use super::used::{Form, Kept, Used};

/// A bucket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TokenBucket {
    pub(super) rate: Rate,
    /// Requests that it holds; 1 to 10⁹.
    pub(crate) burst: u32,
}

/// When a bucket is full again.
#[derive(Default)]
pub(super) struct FullAt {
    /// Nanoseconds since 1970.
    nanos: u64,
    /// The part of a nanosecond that is missing there, one of `quota`. With another quota than it was
    /// written with it is wrong by less than a nanosecond.
    part: u32,
}

impl Kept for FullAt {
    const FORM: Form = Form::Count;

    fn decode(used: &Used) -> Self {
        let (nanos, part, _) = used.numbers();
        Self { nanos, part }
    }

    fn encode(&self) -> Used {
        Used::from_numbers(self.nanos, self.part, 0)
    }

    /// Of those that are full in one nanosecond.
    fn amount(&self) -> u32 {
        self.part
    }
}

impl Method for TokenBucket {
    type Used = FullAt;

    fn rate(&self) -> &Rate {
        &self.rate
    }

    fn largest_cost(&self) -> u32 {
        self.burst
    }

    fn charge(&self, used: &mut FullAt, cost: u32, now: Timestamp) -> Decision {
        let now = self.point(now);
        let spent = self.full_at(used).saturating_sub(now);
        let price = self.price(cost);
        let missing = spent.saturating_add(price).saturating_sub(self.capacity());
        let admitted = cost == 0 || missing == 0;
        let spent = if admitted {
            spent.saturating_add(price)
        } else {
            spent
        };
        let left = self.capacity().saturating_sub(spent);
        let remaining = left.checked_div(self.token()).unwrap_or(0);
        let next = self.kept(now.saturating_add(spent));
        let decision = Decision {
            charged: admitted.then_some(next.nanos),
            remaining: u32::try_from(remaining).unwrap_or(u32::MAX),
            reset: self.nanos(spent),
            retry_after: if admitted {
                Span::ZERO
            } else {
                self.nanos(missing)
            },
            need: Need::Nothing,
        };
        if admitted && cost > 0 {
            *used = next;
        }
        decision
    }

    /// `full`: when the bucket was to be full after that charge. If it has been, the charge has dripped
    /// in again, and what is missing now was taken by others. Of what is charged for long only that is given back which has not.
    fn give_back(&self, used: &mut FullAt, full: u64, cost: u32, now: Timestamp) {
        if now.unix_nanos() < full {
            let full = Timestamp::from_unix_nanos(full.saturating_add(1));
            let left = self.point(full).saturating_sub(self.point(now));
            let price = match self.rate.has_debts {
                true => self.price(cost).min(left),
                false => self.price(cost),
            };
            let full_at = self.full_at(used).saturating_sub(price);
            *used = self.kept(full_at);
        }
    }

    fn owe(&self, used: &mut FullAt, cost: u32, now: Timestamp) {
        let now = self.point(now);
        let spent = self.full_at(used).saturating_sub(now);
        let owed = spent.saturating_add(self.price(cost)).min(self.deepest());
        *used = self.kept(now.saturating_add(owed.max(spent)));
    }

    fn precedes(&self, now: Timestamp, used: &FullAt) -> bool {
        let spent = self.full_at(used).saturating_sub(self.point(now));
        spent > self.deepest().saturating_add(self.latest())
    }

    fn exhausted(&self, now: Timestamp) -> FullAt {
        self.kept(self.point(now).saturating_add(self.capacity()))
    }

    /// How long a bucket that is as empty as can be takes to be full, with the time by which a clock may be late.
    fn longest(&self) -> Span {
        self.nanos(self.deepest().saturating_add(self.latest()))
    }

    fn idle_at(&self, used: &FullAt) -> Timestamp {
        Timestamp::from_unix_nanos(used.nanos.saturating_add(1))
    }

    fn is_unused(&self, used: &FullAt, now: Timestamp) -> bool {
        used.nanos <= now.unix_nanos()
    }
}

impl TokenBucket {
    /// Parts of a nanosecond.
    fn parts(&self) -> u128 {
        u128::from(self.rate.quota.max(1))
    }

    /// What a token takes to drip in.
    fn token(&self) -> u128 {
        u128::from(self.rate.nanos())
    }

    fn price(&self, cost: u32) -> u128 {
        self.token().saturating_mul(u128::from(cost))
    }

    /// What an empty bucket takes to be full.
    fn capacity(&self) -> u128 {
        self.price(self.burst)
    }

    /// What the emptiest bucket takes to be full: with debts it is emptier than empty.
    fn deepest(&self) -> u128 {
        match self.rate.has_debts {
            true => self.capacity().saturating_mul(2),
            false => self.capacity(),
        }
    }

    /// By how much a clock may be late.
    fn latest(&self) -> u128 {
        u128::from(LATEST).saturating_mul(self.parts())
    }

    fn point(&self, now: Timestamp) -> u128 {
        u128::from(now.unix_nanos()).saturating_mul(self.parts())
    }

    /// Parts as whole nanoseconds, rounded up: nobody is asked to come too early.
    fn nanos(&self, span: u128) -> Span {
        Span::from_nanos(u64::try_from(span.div_ceil(self.parts())).unwrap_or(u64::MAX))
    }

    fn full_at(&self, used: &FullAt) -> u128 {
        let whole = u128::from(used.nanos).saturating_mul(self.parts());
        whole.saturating_add(u128::from(used.part).min(self.parts()))
    }

    fn kept(&self, full_at: u128) -> FullAt {
        let whole = full_at.checked_div(self.parts()).unwrap_or(0);
        let part = full_at.checked_rem(self.parts()).unwrap_or(0);
        FullAt {
            nanos: u64::try_from(whole).unwrap_or(u64::MAX),
            part: u32::try_from(part).unwrap_or(0),
        }
    }
}
