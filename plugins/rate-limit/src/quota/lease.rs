//! Leases: what a gateway has withdrawn from an engine that counts for several, and may spend.
//!
//! What is withdrawn is counted at the engine already, so that all gateways together admit no more than the engine lets them
//! withdraw. A lease is void after a while: fixed windows end, and of a token bucket a lease is good for so long that what drips
//! into the bucket meanwhile was left out of it ([`Lease::bucket_capacity`]). Its time is one that nobody sets
//! ([`Clock::monotonic`](portcullis_policy::Clock::monotonic)), counted from before the engine was asked.
//!
//! What is withdrawn while some of the lease before is left does not replace it: that is spent first. Requests that pass on
//! credit are a debt, which the next withdrawal settles; so is what they used beyond what they were charged.

use portcullis_policy::{Span, Timestamp};

use super::counting::{Decision, Method, Need, Rate};
use super::used::{Form, Kept, Used};

/// A quota that is counted by an engine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lease {
    rate: Rate,
    /// Most that one request may cost.
    largest: u32,
    /// Most that passes before it is known whether anything is left; 0 where requests wait for that.
    credit: u32,
}

/// A part of a lease.
#[derive(Clone, Copy, Default)]
struct Part {
    units: u32,
    /// In nanoseconds; from then on it is void.
    void_at: u64,
}

/// What is held under a key. Dates are in nanoseconds of the monotonic clock; 0: never.
#[derive(Default)]
pub(super) struct Held {
    old: Part,
    new: Part,
    /// What passed without being withdrawn, and was not settled yet.
    debt: u32,
    /// What was spent since the engine answered last.
    spent: u32,
    /// What it granted then.
    granted: u32,
    /// What it had left then.
    left: u32,
    /// Until then it has nothing more.
    none_until: u64,
    /// When its window ends, or its bucket is full.
    reset_at: u64,
    /// When it was asked what it answered last.
    asked_at: u64,
    /// When more was wished for.
    wished_at: u64,
    /// The engine's own name for when the new part was withdrawn.
    mark: u64,
}

/// What an engine says of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// What was withdrawn.
    pub(crate) granted: u32,
    /// How long after it was asked that is void.
    pub(crate) good_for: Span,
    /// What is left there.
    pub(crate) left: u32,
    /// Time until its window ends, or its bucket is full.
    pub(crate) reset: Span,
    /// Time until it may have more, where it has nothing.
    pub(crate) none_for: Span,
    /// The debt that it has counted.
    pub(crate) settled: u32,
    /// What had been [spent](Spending::spent) when it was asked.
    pub(crate) spent: u32,
    /// Its name for when that was withdrawn.
    pub(crate) mark: u64,
}

/// What is known of a key when more is withdrawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spending {
    /// What was spent since the engine answered last.
    pub(crate) spent: u32,
    /// How long ago that was; `None`: it never did.
    pub(crate) since: Option<Span>,
    /// What passed without being withdrawn.
    pub(crate) debt: u32,
    /// What the engine had left when it answered last.
    pub(crate) left: Option<u32>,
    /// What can be spent yet.
    pub(crate) held: u32,
}

/// What is not to be spent any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unspent {
    pub(crate) units: u32,
    /// The engine's name for when they were withdrawn.
    pub(crate) mark: u64,
}

/// After so long more is wished for again: a wish may be lost.
const WISH_AGAIN: u64 = 250_000_000;

impl Lease {
    /// `largest`: most that one request may cost; `credit`: most that passes before it is known whether anything is left.
    pub(crate) const fn new(rate: Rate, largest: u32, credit: u32) -> Self {
        Self {
            rate,
            largest,
            credit,
        }
    }

    /// How long a lease of a token bucket is good for: as long as a tenth of the bucket takes to drip in, 5 s at most.
    pub(crate) fn bucket_lease(rate: &Rate, burst: u32) -> Span {
        const SHORTEST: u64 = 100_000_000;
        const LONGEST: u64 = 5_000_000_000;
        let tenth = u128::from(rate.nanos()).saturating_mul(u128::from(burst));
        let tenth = tenth.checked_div(u128::from(rate.quota).saturating_mul(10));
        let tenth = tenth.and_then(|nanos| u64::try_from(nanos).ok());
        Span::from_nanos(tenth.unwrap_or(LONGEST).clamp(SHORTEST, LONGEST))
    }

    /// What the engine's bucket holds: less than the limit's by what drips in while a lease is good. In any span of `t` gateways spend
    /// what they have withdrawn in it and in a lease's time before, at most `capacity + rate · (t + lease)`, which is
    /// `burst + rate · t`.
    pub(crate) fn bucket_capacity(rate: &Rate, burst: u32) -> u32 {
        let lease = u128::from(Self::bucket_lease(rate, burst).as_nanos());
        let dripped = lease.saturating_mul(u128::from(rate.quota));
        let dripped = dripped.div_ceil(u128::from(rate.nanos()));
        burst.saturating_sub(u32::try_from(dripped).unwrap_or(u32::MAX))
    }

    /// Takes up what the engine has answered; `asked_at`: when it was asked.
    pub(crate) fn learn(&self, used: &mut Used, told: &Told, asked_at: Timestamp, now: Timestamp) {
        let mut held = Held::decode(used);
        held.expire(now.unix_nanos());
        held.debt = held.debt.saturating_sub(told.settled);
        let at = |span: Span| asked_at.after(span).unix_nanos();
        let void_at = at(told.good_for);
        if told.granted > 0 && void_at > now.unix_nanos() {
            // Of three parts the oldest is as good as spent: more was wished for when little was left.
            if held.new.units > 0 {
                held.old = held.new;
            }
            held.new = Part {
                units: told.granted,
                void_at,
            };
            held.granted = told.granted;
            held.mark = told.mark;
        }
        held.left = told.left;
        held.reset_at = at(told.reset);
        held.none_until = match told.left {
            // From when it was heard: a little too long, where what was granted is good a little too short.
            0 => now.after(told.none_for).unix_nanos(),
            _ => 0,
        };
        held.asked_at = asked_at.unix_nanos();
        held.spent = held.spent.saturating_sub(told.spent);
        held.wished_at = 0;
        *used = held.encode();
    }

    /// What is known of a key.
    pub(crate) fn spending(&self, used: &Used, now: Timestamp) -> Spending {
        let mut held = Held::decode(used);
        let now = now.unix_nanos();
        held.expire(now);
        let since = now.saturating_sub(held.asked_at);
        let is_known = held.asked_at > 0;
        Spending {
            spent: held.spent,
            since: is_known.then(|| Span::from_nanos(since)),
            debt: held.debt,
            left: (is_known && held.reset_at > now).then_some(held.left),
            held: held.available(),
        }
    }

    /// Takes out what nobody has spent since the engine was asked at that time.
    pub(crate) fn take_unspent(
        &self,
        used: &mut Used,
        asked_at: Timestamp,
        spent: u32,
        now: Timestamp,
    ) -> Option<Unspent> {
        let mut held = Held::decode(used);
        held.expire(now.unix_nanos());
        let is_idle = held.asked_at == asked_at.unix_nanos() && held.spent == spent;
        let units = held.new.units;
        if !is_idle || units == 0 {
            return None;
        }
        held.new = Part::default();
        held.old = Part::default();
        held.granted = 0;
        // It is left there again.
        held.left = held.left.saturating_add(units);
        let mark = held.mark;
        *used = held.encode();
        Some(Unspent { units, mark })
    }
}

impl Held {
    fn expire(&mut self, now: u64) {
        for part in [&mut self.old, &mut self.new] {
            if part.void_at <= now {
                *part = Part::default();
            }
        }
    }

    fn available(&self) -> u32 {
        self.old.units.saturating_add(self.new.units)
    }

    /// Spends what there is, the older part first; when the earliest part of it is void.
    fn spend(&mut self, cost: u32) -> u64 {
        let void_at = match self.old.units {
            0 => self.new.void_at,
            _ => self.old.void_at,
        };
        let from_old = cost.min(self.old.units);
        self.old.units = self.old.units.saturating_sub(from_old);
        let rest = cost.saturating_sub(from_old);
        self.new.units = self.new.units.saturating_sub(rest);
        self.spent = self.spent.saturating_add(cost);
        void_at
    }

    /// Whether more is to be wished for, since little is left or something is owed; which is then remembered.
    fn wishes(&mut self, now: u64) -> bool {
        let is_low = self.available().saturating_mul(2) <= self.granted;
        let is_due = (is_low && self.none_until <= now) || self.debt > 0;
        let wishes = is_due && now.saturating_sub(self.wished_at) >= WISH_AGAIN;
        if wishes {
            self.wished_at = now;
        }
        wishes
    }
}

impl Kept for Held {
    const FORM: Form = Form::Lease;

    fn decode(used: &Used) -> Self {
        let mut words = used.words();
        let mut long = || words.next().unwrap_or(0);
        let (old_void, new_void) = (long(), long());
        let (none_until, reset_at, asked_at) = (long(), long(), long());
        let (wished_at, mark) = (long(), long());
        let mut pair = || {
            let word = words.next().unwrap_or(0);
            let low = u32::try_from(word & u64::from(u32::MAX)).unwrap_or(0);
            (low, u32::try_from(word >> 32).unwrap_or(0))
        };
        let ((old, new), (debt, spent), (granted, left)) = (pair(), pair(), pair());
        Self {
            old: Part {
                units: old,
                void_at: old_void,
            },
            new: Part {
                units: new,
                void_at: new_void,
            },
            debt,
            spent,
            granted,
            left,
            none_until,
            reset_at,
            asked_at,
            wished_at,
            mark,
        }
    }

    fn encode(&self) -> Used {
        let pair = |low: u32, high: u32| u64::from(low) | (u64::from(high) << 32);
        Used::from_words([
            self.old.void_at,
            self.new.void_at,
            self.none_until,
            self.reset_at,
            self.asked_at,
            self.wished_at,
            self.mark,
            pair(self.old.units, self.new.units),
            pair(self.debt, self.spent),
            pair(self.granted, self.left),
        ])
    }

    fn amount(&self) -> u32 {
        self.available().saturating_add(self.debt)
    }
}

impl Method for Lease {
    type Used = Held;

    fn rate(&self) -> &Rate {
        &self.rate
    }

    fn largest_cost(&self) -> u32 {
        self.largest
    }

    fn charge(&self, held: &mut Held, cost: u32, now: Timestamp) -> Decision {
        let now = now.unix_nanos();
        held.expire(now);
        let mut need = Need::Nothing;
        let mut retry_after = 0;
        let charged = if cost <= held.available() {
            let charged = held.spend(cost);
            if cost > 0 && held.wishes(now) {
                need = Need::More;
            }
            Some(charged)
        } else if held.none_until > now {
            retry_after = held.none_until.saturating_sub(now);
            None
        } else if held.debt.saturating_add(cost) <= self.credit {
            held.debt = held.debt.saturating_add(cost);
            held.spent = held.spent.saturating_add(cost);
            if held.wishes(now) {
                need = Need::More;
            }
            Some(0)
        } else {
            need = Need::Known;
            retry_after = Span::from_secs(1).as_nanos();
            None
        };
        let left = match held.reset_at > now {
            true => held.left,
            false => self.rate.quota,
        };
        let remaining = held.available().saturating_add(left);
        let reset = match held.reset_at.saturating_sub(now) {
            0 => self.rate.nanos(),
            reset => reset,
        };
        Decision {
            charged,
            remaining: remaining.min(self.largest.max(self.rate.quota)),
            reset: Span::from_nanos(reset),
            retry_after: Span::from_nanos(retry_after),
            need,
        }
    }

    /// What of it was a debt, and what was withdrawn with the part that it was spent of, if that is still good.
    fn give_back(&self, held: &mut Held, charged: u64, cost: u32, now: Timestamp) {
        held.expire(now.unix_nanos());
        held.spent = held.spent.saturating_sub(cost);
        if charged == 0 {
            held.debt = held.debt.saturating_sub(cost);
            return;
        }
        let part = [&mut held.old, &mut held.new]
            .into_iter()
            .find(|part| part.void_at == charged);
        if let Some(part) = part {
            part.units = part.units.saturating_add(cost);
        }
    }

    fn owe(&self, held: &mut Held, cost: u32, now: Timestamp) {
        held.expire(now.unix_nanos());
        let from_held = cost.min(held.available());
        held.spend(from_held);
        let rest = cost.saturating_sub(from_held);
        let most = self.rate.quota.saturating_mul(2).max(held.debt);
        held.debt = held.debt.saturating_add(rest).min(most);
    }

    /// Nobody sets its clock.
    fn precedes(&self, _now: Timestamp, _used: &Held) -> bool {
        false
    }

    fn exhausted(&self, now: Timestamp) -> Held {
        Held {
            none_until: now.after(self.rate.window).unix_nanos(),
            ..Held::default()
        }
    }

    fn longest(&self) -> Span {
        Span::from_nanos(self.rate.nanos().saturating_mul(3))
    }

    fn idle_at(&self, held: &Held) -> Timestamp {
        let owed = match held.debt {
            0 => 0,
            // It is lost with its key.
            _ => held
                .asked_at
                .max(held.wished_at)
                .saturating_add(self.rate.nanos()),
        };
        let dates = [held.old.void_at, held.new.void_at, held.none_until];
        let latest = dates.into_iter().fold(owed, u64::max);
        Timestamp::from_unix_nanos(latest)
    }

    fn is_unused(&self, held: &Held, now: Timestamp) -> bool {
        let now = now.unix_nanos();
        let is_void = |part: &Part| part.units == 0 || part.void_at <= now;
        is_void(&held.old) && is_void(&held.new) && held.debt == 0 && held.none_until <= now
    }
}
