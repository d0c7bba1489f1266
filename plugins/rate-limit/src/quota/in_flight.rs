//! At most so many requests at a time.
//!
//! A request that is admitted has a permit, until it ends. Permits are counted by the span of [`LEASE`] in which they were given or
//! renewed last, as [`FixedWindow`](super::FixedWindow) counts requests by windows, but in two of them together: the span that is now,
//! and the one before. A worker renews the permits of its requests while they live: it moves them on into the span that is now. So
//! those of a worker that has died are void one to two spans later, and nobody has to know of them.
//!
//! **Never more than the limit**, as long as each worker looks after its permits once in a span. Where one does not, or shared data
//! loses a count, or the clock leaps by more than a span, permits are void whose requests still live: as many others are admitted
//! besides, until the next tick, with which they are counted again.

use portcullis_policy::{Span, Timestamp};

use super::counting::{Decision, Method, Need, Rate};
use super::used::{Form, Kept, Used};

/// How long a span is.
pub(super) const LEASE: Span = Span::from_secs(10);

/// So many at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InFlight {
    rate: Rate,
}

/// The permits of a key.
#[derive(Default)]
pub(super) struct Permits {
    /// The span's number since 1970.
    span: u64,
    /// Given or renewed in it.
    current: u32,
    /// In the one before.
    previous: u32,
}

impl Kept for Permits {
    const FORM: Form = Form::Count;

    fn decode(used: &Used) -> Self {
        let (span, current, previous) = used.numbers();
        Self {
            span,
            current,
            previous,
        }
    }

    fn encode(&self) -> Used {
        Used::from_numbers(self.span, self.current, self.previous)
    }

    fn amount(&self) -> u32 {
        self.current.saturating_add(self.previous)
    }
}

impl Permits {
    /// Goes on to the span that is now. A clock that is a little behind goes by what another has written; what was written by one
    /// that was far ahead is nothing that can be known.
    fn go_on(&mut self, now: u64) {
        let (current, previous) = match now.checked_sub(self.span) {
            Some(0) => return,
            Some(1) => (0, self.current),
            Some(_) => (0, 0),
            None if self.span.saturating_sub(now) == 1 => return,
            None => (0, 0),
        };
        *self = Self {
            span: now,
            current,
            previous,
        };
    }

    /// Takes off permits of a span, unless they are void.
    fn take(&mut self, span: u64, permits: u32) {
        let of_span = if span == self.span {
            &mut self.current
        } else if span.saturating_add(1) == self.span {
            &mut self.previous
        } else {
            return;
        };
        *of_span = of_span.saturating_sub(permits);
    }
}

impl InFlight {
    /// `most`: how many at a time.
    pub(crate) const fn new(most: u32) -> Self {
        Self {
            rate: Rate {
                quota: most,
                window: LEASE,
                has_debts: false,
            },
        }
    }

    /// The span in which a permit is given or renewed now.
    pub(crate) fn span(now: Timestamp) -> u64 {
        now.unix_nanos()
            .checked_div(LEASE.as_nanos())
            .unwrap_or_default()
    }

    /// Renews permits of a span; the one in which they count from now on. They are counted even where they were void: their
    /// request lives.
    pub(crate) fn renew(self, used: &mut Used, span: u64, permits: u32, now: Timestamp) -> u64 {
        let mut kept = Permits::decode(used);
        kept.take(span, permits);
        kept.go_on(Self::span(now));
        kept.current = kept.current.saturating_add(permits);
        *used = kept.encode();
        kept.span
    }
}

impl Method for InFlight {
    type Used = Permits;

    fn rate(&self) -> &Rate {
        &self.rate
    }

    fn charge(&self, used: &mut Permits, cost: u32, now: Timestamp) -> Decision {
        used.go_on(Self::span(now));
        let held = used.amount();
        let next = held.saturating_add(cost);
        let admitted = cost == 0 || next <= self.rate.quota;
        if admitted {
            used.current = used.current.saturating_add(cost);
        }
        Decision {
            charged: admitted.then_some(used.span),
            remaining: self.rate.quota.saturating_sub(used.amount()),
            reset: Span::ZERO,
            // How long requests take only a worker knows.
            retry_after: if admitted { Span::ZERO } else { LEASE },
            need: Need::Nothing,
        }
    }

    fn give_back(&self, used: &mut Permits, span: u64, cost: u32, _now: Timestamp) {
        used.take(span, cost);
    }

    /// A request has a place or has none.
    fn owe(&self, _used: &mut Permits, _cost: u32, _now: Timestamp) {}

    /// A clock that was set back goes by the permits that there are.
    fn precedes(&self, _now: Timestamp, _used: &Permits) -> bool {
        false
    }

    fn exhausted(&self, now: Timestamp) -> Permits {
        Permits {
            span: Self::span(now),
            current: self.rate.quota,
            previous: 0,
        }
    }

    fn longest(&self) -> Span {
        Span::from_nanos(LEASE.as_nanos().saturating_mul(3))
    }

    fn idle_at(&self, used: &Permits) -> Timestamp {
        let end = match (used.current, used.previous) {
            (0, 0) => return Timestamp::default(),
            (0, _) => used.span.saturating_add(1),
            (_, _) => used.span.saturating_add(2),
        };
        Timestamp::from_unix_nanos(end.saturating_mul(LEASE.as_nanos()))
    }

    fn is_unused(&self, used: &Permits, _now: Timestamp) -> bool {
        used.amount() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREE: InFlight = InFlight::new(3);

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_unix_secs(1_767_254_400 + secs)
    }

    fn ask(used: &mut Permits, cost: u32, secs: u64) -> (Option<u64>, u32) {
        let decision = THREE.charge(used, cost, at(secs));
        (decision.charged, decision.remaining)
    }

    #[test]
    fn so_many_are_admitted_at_a_time_and_one_more_for_each_that_ends() {
        let mut used = Permits::default();
        let span = InFlight::span(at(0));
        assert_eq!(ask(&mut used, 1, 0), (Some(span), 2));
        assert_eq!(ask(&mut used, 2, 1), (Some(span), 0));
        assert_eq!(ask(&mut used, 1, 2), (None, 0));
        assert_eq!(ask(&mut used, 0, 2), (Some(span), 0));
        THREE.give_back(&mut used, span, 2, at(3));
        assert_eq!(ask(&mut used, 1, 3), (Some(span), 1));
        assert_eq!(ask(&mut used, 2, 3), (None, 1));
    }

    #[test]
    fn a_permit_is_void_when_a_whole_span_has_passed_in_which_nobody_renewed_it() {
        let mut used = Permits::default();
        ask(&mut used, 3, 5);
        assert_eq!(ask(&mut used, 1, 19), (None, 0));
        assert_eq!(ask(&mut used, 1, 20).1, 2);
    }

    #[test]
    fn a_permit_that_is_renewed_counts_on_and_once() {
        let mut used = Permits::default();
        let (first, _) = ask(&mut used, 1, 5);
        let (second, _) = ask(&mut used, 1, 5);
        let mut kept = used.encode();
        let renewed = THREE.renew(&mut kept, first.unwrap(), 1, at(12));
        assert_eq!(renewed, InFlight::span(at(12)));
        let mut used = Permits::decode(&kept);
        assert_eq!((used.current, used.previous), (1, 1));
        // The other one is given back after the span in which it was given.
        THREE.give_back(&mut used, second.unwrap(), 1, at(13));
        assert_eq!(used.amount(), 1);
        assert_eq!(ask(&mut used, 1, 25).1, 1);
        // The one that was renewed is void now, and nothing is given back for it.
        THREE.give_back(&mut used, renewed, 1, at(31));
        assert_eq!(ask(&mut used, 0, 31).1, 2);
    }

    #[test]
    fn a_permit_that_is_void_is_counted_again_when_it_is_renewed() {
        let mut used = Permits::default();
        let (first, _) = ask(&mut used, 3, 0);
        ask(&mut used, 2, 60);
        let mut kept = used.encode();
        THREE.renew(&mut kept, first.unwrap(), 3, at(61));
        assert_eq!(Permits::decode(&kept).amount(), 5);
    }

    #[test]
    fn a_clock_that_is_a_little_behind_goes_by_what_was_written() {
        let mut used = Permits::default();
        ask(&mut used, 2, 20);
        let (behind, left) = ask(&mut used, 1, 19);
        assert_eq!((behind, left), (Some(InFlight::span(at(20))), 0));
        // One that was set back by an hour knows nothing of what is counted for then.
        assert_eq!(ask(&mut used, 1, 3_600).1, 2);
        assert_eq!(ask(&mut used, 1, 0).1, 2);
    }

    #[test]
    fn a_key_is_idle_once_all_of_its_permits_are_void() {
        let mut used = Permits::default();
        assert_eq!(THREE.idle_at(&used), Timestamp::default());
        ask(&mut used, 1, 5);
        assert_eq!(THREE.idle_at(&used), at(20));
        ask(&mut used, 0, 12);
        assert_eq!(THREE.idle_at(&used), at(20));
    }
}
