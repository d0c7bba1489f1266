//! At most the quota in each window: in those that are aligned to the clock, or in the one that ends
//! now.
//!
//! **Fixed windows** begin at multiples of their length since 1970. The count of the window before is
//! remembered, for requests of clocks that are read late or set back.
//!
//! **The sliding window** goes by the instants at which requests came. A small quota, of [`PARTS`] at
//! most, keeps the instant of each request. A larger one keeps parts of a twelfth of the window, each
//! beginning with its first request, and takes all of a part to have come then. Instants are kept in
//! ticks of a 32,768th of the window, rounded down. A part counts from its beginning for a window less
//! a 64th, at most a second: whoever sends on the beat of the window does so only to the precision of
//! a network. Both together are the grace.
//!
//! Both errors are on one side:
//!
//! - **It never refuses whoever keeps to the quota.** What counts at an instant came within the
//!   window before it, since nothing is taken to have come later than it did. So where a request
//!   is refused, it and what was admitted in that window are more than the quota.
//! - **No span of a window less the grace, and for a large quota less a twelfth of the window, holds
//!   more than the quota.** What counts at its last request is at least what was admitted in that
//!   span, since nothing is taken to have come earlier than by a part's length; and a request is
//!   admitted only where what counts and itself are at most the quota.
//!
//! At most [`PARTS`] parts count at once: they begin more than a twelfth of a window apart; and of
//! a small quota each holds one request at least.

use portcullis_policy::{Span, Timestamp};

use super::counting::{Decision, LATEST, Method, Need, Rate};
use super::log::{Log, PARTS};
use super::used::{Form, Kept, Used};

/// Windows that begin at multiples of their length.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FixedWindow(pub(super) Rate);

/// The window that ends now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SlidingWindow(pub(super) Rate);

/// What is used in a window and in the one before.
#[derive(Default)]
pub(super) struct Counts {
    /// The window's number since 1970.
    number: u64,
    current: u32,
    previous: u32,
}

impl Kept for Counts {
    const FORM: Form = Form::Count;

    fn decode(used: &Used) -> Self {
        let (number, current, previous) = used.numbers();
        Self {
            number,
            current,
            previous,
        }
    }

    fn encode(&self) -> Used {
        Used::from_numbers(self.number, self.current, self.previous)
    }

    fn amount(&self) -> u32 {
        self.current.saturating_add(self.previous)
    }
}

impl Counts {
    /// The count of a window. Of one that lies behind the one that is counted, or before both, nothing
    /// is held: it becomes the one that is counted, before both with all of the quota used. What was
    /// used beyond a quota is taken off those of the windows behind.
    fn of(&mut self, number: u64, rate: &Rate) -> &mut u32 {
        let quota = rate.quota;
        if self.number.checked_sub(1) == Some(number) {
            return &mut self.previous;
        }
        if number != self.number {
            let debt = match rate.has_debts {
                true => self.current.saturating_sub(quota),
                false => 0,
            };
            let (current, previous) = match number.checked_sub(self.number) {
                Some(1) => (debt, self.current),
                Some(2) => (debt.saturating_sub(quota), debt),
                Some(_) => (0, 0),
                None => (quota, quota),
            };
            *self = Self {
                number,
                current,
                previous,
            };
        }
        &mut self.current
    }
}

impl Method for FixedWindow {
    type Used = Counts;

    fn rate(&self) -> &Rate {
        &self.0
    }

    fn charge(&self, used: &mut Counts, cost: u32, now: Timestamp) -> Decision {
        let quota = self.0.quota;
        let number = self.number(now);
        let begin = number.saturating_mul(self.0.nanos());
        let elapsed = now.unix_nanos().saturating_sub(begin);
        let left = self.0.nanos().saturating_sub(elapsed);
        let count = used.of(number, &self.0);
        let next = count.saturating_add(cost);
        let admitted = cost == 0 || next <= quota;
        if admitted {
            *count = next;
        }
        Decision {
            charged: admitted.then_some(number),
            remaining: quota.saturating_sub(*count),
            reset: Span::from_nanos(left),
            retry_after: Span::from_nanos(if admitted { 0 } else { left.max(1) }),
            need: Need::Nothing,
        }
    }

    fn give_back(&self, used: &mut Counts, number: u64, cost: u32, _now: Timestamp) {
        if used.number == number {
            used.current = used.current.saturating_sub(cost);
        } else if used.number == number.saturating_add(1) {
            used.previous = used.previous.saturating_sub(cost);
        }
    }

    fn owe(&self, used: &mut Counts, cost: u32, now: Timestamp) {
        let count = used.of(self.number(now), &self.0);
        let most = self.0.quota.saturating_mul(2).max(*count);
        *count = count.saturating_add(cost).min(most);
    }

    fn precedes(&self, now: Timestamp, used: &Counts) -> bool {
        self.number(now).saturating_add(1) < used.number
    }

    fn exhausted(&self, now: Timestamp) -> Counts {
        Counts {
            number: self.number(now),
            current: self.0.quota,
            previous: self.0.quota,
        }
    }

    fn longest(&self) -> Span {
        let windows = match self.0.has_debts {
            true => 3,
            false => 2,
        };
        Span::from_nanos(self.0.nanos().saturating_mul(windows))
    }

    fn idle_at(&self, used: &Counts) -> Timestamp {
        let behind = match self.0.has_debts && used.current > self.0.quota {
            true => 2,
            false => 1,
        };
        let end = used.number.saturating_add(behind);
        Timestamp::from_unix_nanos(end.saturating_mul(self.0.nanos()))
    }

    fn is_unused(&self, used: &Counts, _now: Timestamp) -> bool {
        used.amount() == 0
    }
}

impl FixedWindow {
    fn number(&self, now: Timestamp) -> u64 {
        now.unix_nanos().checked_div(self.0.nanos()).unwrap_or(0)
    }
}

/// Ticks in a window, or a few less where it does not divide.
const TICKS: u64 = 1 << 15;

/// Of a long window, nanoseconds.
const LONGEST_GRACE: u64 = 1_000_000_000;

impl Method for SlidingWindow {
    type Used = Log;

    fn rate(&self) -> &Rate {
        &self.0
    }

    fn charge(&self, used: &mut Log, cost: u32, now: Timestamp) -> Decision {
        let now = now.unix_nanos();
        // Workers read the clock before they see each other's writes: time does not go back for a key.
        let at = now.max(self.latest(used));
        used.forget_before(self.earliest(at));
        let wait = self.wait(used, cost, at);
        let begin = at.checked_div(self.tick()).unwrap_or(0);
        let admitted = wait == 0;
        let charged = if admitted && cost > 0 {
            used.add(begin, self.span(), cost)
        } else {
            begin
        };
        let late = at.saturating_sub(now);
        let idle = self.idle_at(used).unix_nanos();
        Decision {
            charged: admitted.then_some(charged),
            remaining: self.0.quota.saturating_sub(used.used()),
            reset: Span::from_nanos(idle.saturating_sub(now)),
            retry_after: Span::from_nanos(if admitted {
                0
            } else {
                wait.saturating_add(late)
            }),
            need: Need::Nothing,
        }
    }

    fn give_back(&self, used: &mut Log, begin: u64, cost: u32, _now: Timestamp) {
        used.take(begin, cost);
    }

    fn owe(&self, used: &mut Log, cost: u32, now: Timestamp) {
        let at = now.unix_nanos().max(self.latest(used));
        used.forget_before(self.earliest(at));
        used.add(at.checked_div(self.tick()).unwrap_or(0), self.span(), cost);
    }

    fn precedes(&self, now: Timestamp, used: &Log) -> bool {
        self.latest(used) > now.unix_nanos().saturating_add(LATEST)
    }

    fn exhausted(&self, now: Timestamp) -> Log {
        let mut log = Log::default();
        let begin = now.unix_nanos().checked_div(self.tick()).unwrap_or(0);
        log.add(begin, 0, self.0.quota);
        log
    }

    fn longest(&self) -> Span {
        Span::from_nanos(self.0.nanos().saturating_add(LATEST))
    }

    fn idle_at(&self, used: &Log) -> Timestamp {
        let end = used.latest().map_or(0, |latest| self.end(latest));
        Timestamp::from_unix_nanos(end)
    }

    fn is_unused(&self, used: &Log, _now: Timestamp) -> bool {
        used.amount() == 0
    }
}

impl SlidingWindow {
    /// When the latest part begins, in nanoseconds.
    fn latest(&self, used: &Log) -> u64 {
        used.latest().unwrap_or(0).saturating_mul(self.tick())
    }

    /// Nanoseconds until a request of that cost is admitted; 0: at once.
    fn wait(&self, used: &Log, cost: u32, at: u64) -> u64 {
        let room = self.0.quota.saturating_sub(cost);
        let mut left = used.used();
        if cost == 0 || left <= room {
            return 0;
        }
        let mut wait = 0;
        for (begin, used) in used.earliest_first() {
            left = left.saturating_sub(used);
            wait = self.end(begin).saturating_sub(at);
            if left <= room {
                break;
            }
        }
        wait.max(1)
    }

    /// When the part that begins then counts no more.
    fn end(&self, begin: u64) -> u64 {
        let begin = begin.saturating_mul(self.tick());
        begin.saturating_add(self.counts_for())
    }

    /// The earliest tick at which a part that counts can begin.
    fn earliest(&self, at: u64) -> u64 {
        let ended = at.checked_sub(self.counts_for());
        let ended = ended.and_then(|ended| ended.checked_div(self.tick()));
        ended.map_or(0, |tick| tick.saturating_add(1))
    }

    /// How long a part counts.
    fn counts_for(&self) -> u64 {
        let grace = self.0.nanos().checked_div(64).unwrap_or(0);
        self.0.nanos().saturating_sub(grace.min(LONGEST_GRACE))
    }

    /// Ticks that a part spans.
    fn span(&self) -> u64 {
        let parts = u64::try_from(PARTS).unwrap_or(1);
        if u64::from(self.0.quota) <= parts {
            return 0;
        }
        let ticks = self.0.nanos().checked_div(self.tick()).unwrap_or(0);
        ticks.checked_div(parts).unwrap_or(0)
    }

    /// Nanoseconds in a tick.
    fn tick(&self) -> u64 {
        self.0.nanos().div_ceil(TICKS)
    }
}
