//! What all algorithms are asked.

use portcullis_policy::{Span, Timestamp};

use super::used::{Form, Kept, Used};

/// Nanoseconds by which the clock may be behind what is held before it is taken to have been set
/// back: workers read it before they see each other's writes.
pub(super) const LATEST: u64 = 1_000_000_000;

/// How much may be used in which time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// Requests in a window; 1 to 10⁹.
    pub(crate) quota: u32,
    /// Length of a window; a second to 366 days.
    pub(crate) window: Span,
    /// Whether more may be used than was charged, so that there are debts. Of these no more are kept than the quota, or the bucket,
    /// once more.
    pub(crate) has_debts: bool,
}

impl Rate {
    pub(super) fn nanos(&self) -> u64 {
        self.window.as_nanos().max(1)
    }
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
    /// What an engine is to be asked for.
    pub(crate) need: Need,
}

/// What an engine is to be asked for, where that counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing.
    #[default]
    Nothing,
    /// More: little is left of what it gave.
    More,
    /// Whether there is anything: the request was refused for want of that.
    Known,
}

/// An algorithm, with what it keeps of a key.
pub(super) trait Method {
    type Used: Kept;

    fn rate(&self) -> &Rate;

    fn largest_cost(&self) -> u32 {
        self.rate().quota
    }

    fn charge(&self, used: &mut Self::Used, cost: u32, now: Timestamp) -> Decision;

    fn give_back(&self, used: &mut Self::Used, charged: u64, cost: u32, now: Timestamp);

    fn owe(&self, used: &mut Self::Used, cost: u32, now: Timestamp);

    fn precedes(&self, now: Timestamp, used: &Self::Used) -> bool;

    fn exhausted(&self, now: Timestamp) -> Self::Used;

    fn longest(&self) -> Span;

    fn idle_at(&self, used: &Self::Used) -> Timestamp;

    fn is_unused(&self, used: &Self::Used, now: Timestamp) -> bool;
}

/// An algorithm as a slot is asked by it, whatever it keeps.
pub(crate) trait Counting {
    /// How much room a key takes.
    fn form(&self) -> Form;

    /// How much may be used.
    fn rate(&self) -> &Rate;

    /// Most that one request may cost: what costs more would never be admitted.
    fn largest_cost(&self) -> u32;

    /// Charges a request that costs so much at `now`. What costs nothing is admitted. A request that
    /// is refused leaves what the decision says of the rest as one that costs nothing does.
    fn charge(&self, used: &mut Used, cost: u32, now: Timestamp) -> Decision;

    /// Gives back at `now` what was charged to `charged`, as a [`Decision`] names it.
    fn give_back(&self, used: &mut Used, charged: u64, cost: u32, now: Timestamp);

    /// Charges at `now` what was used beyond what had been charged, whether it is left or not: who comes next waits for it.
    fn owe(&self, used: &mut Used, cost: u32, now: Timestamp);

    /// Whether `now` lies so far before what is counted in `used` that it can't be counted there.
    fn precedes(&self, now: Timestamp, used: &Used) -> bool;

    /// What is taken to have been used at a time of which nothing is known any more: everything.
    fn exhausted(&self, now: Timestamp) -> Used;

    /// How long a count can limit.
    fn longest(&self) -> Span;

    /// From when on `used` limits nobody.
    fn idle_at(&self, used: &Used) -> Timestamp;

    /// Whether nothing is used at `now`, as if the key had never been counted.
    fn is_unused(&self, used: &Used, now: Timestamp) -> bool;

    /// How much it is, to tell those that used little.
    fn amount(&self, used: &Used) -> u32;
}

impl<M: Method> Counting for M {
    fn form(&self) -> Form {
        M::Used::FORM
    }

    fn rate(&self) -> &Rate {
        Method::rate(self)
    }

    fn largest_cost(&self) -> u32 {
        Method::largest_cost(self)
    }

    fn charge(&self, used: &mut Used, cost: u32, now: Timestamp) -> Decision {
        let mut kept = M::Used::decode(used);
        let decision = Method::charge(self, &mut kept, cost, now);
        *used = kept.encode();
        decision
    }

    fn give_back(&self, used: &mut Used, charged: u64, cost: u32, now: Timestamp) {
        let mut kept = M::Used::decode(used);
        Method::give_back(self, &mut kept, charged, cost, now);
        *used = kept.encode();
    }

    fn owe(&self, used: &mut Used, cost: u32, now: Timestamp) {
        let mut kept = M::Used::decode(used);
        Method::owe(self, &mut kept, cost, now);
        *used = kept.encode();
    }

    fn precedes(&self, now: Timestamp, used: &Used) -> bool {
        Method::precedes(self, now, &M::Used::decode(used))
    }

    fn exhausted(&self, now: Timestamp) -> Used {
        Method::exhausted(self, now).encode()
    }

    fn longest(&self) -> Span {
        Method::longest(self)
    }

    fn idle_at(&self, used: &Used) -> Timestamp {
        Method::idle_at(self, &M::Used::decode(used))
    }

    fn is_unused(&self, used: &Used, now: Timestamp) -> bool {
        Method::is_unused(self, &M::Used::decode(used), now)
    }

    fn amount(&self, used: &Used) -> u32 {
        M::Used::decode(used).amount()
    }
}
