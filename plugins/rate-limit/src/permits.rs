//! What a worker's requests hold of a limit on requests at a time.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use portcullis_policy::{Span, Timestamp};

use crate::quota::InFlight;
use crate::table::Asked;

/// What one request holds.
#[derive(Debug)]
pub(crate) struct Permit {
    pub(crate) asked: Asked,
    /// In which span it was given or renewed last.
    pub(crate) span: Cell<u64>,
}

/// All that a worker's requests hold of one limit, and how long they take.
#[derive(Debug, Default)]
pub(crate) struct Permits {
    held: RefCell<Held>,
    took: Cell<[u64; Permits::REMEMBERED]>,
    ended: Cell<usize>,
}

#[derive(Debug, Default)]
struct Held {
    permits: Vec<Weak<Permit>>,
    /// How many were left when those were last forgotten that have ended.
    living: usize,
}

impl Permits {
    /// So many requests say what is usual.
    const REMEMBERED: usize = 31;

    /// A request is admitted.
    pub(crate) fn give(&self, asked: Asked, span: u64) -> Rc<Permit> {
        let permit = Rc::new(Permit {
            asked,
            span: Cell::new(span),
        });
        // Where that is not to be had the permit is not renewed, and void after a while.
        if let Ok(mut held) = self.held.try_borrow_mut() {
            let many = held.living.saturating_mul(2).saturating_add(64);
            if held.permits.len() >= many {
                held.forget_ended();
            }
            held.permits.push(Rc::downgrade(&permit));
        }
        permit
    }

    /// Those that were given or renewed in a span that has passed.
    pub(crate) fn due(&self, now: Timestamp) -> Vec<Rc<Permit>> {
        let span = InFlight::span(now);
        let Ok(mut held) = self.held.try_borrow_mut() else {
            return Vec::new();
        };
        held.forget_ended();
        let living = held.permits.iter().filter_map(Weak::upgrade);
        living.filter(|permit| permit.span.get() != span).collect()
    }

    /// A request has ended, after so long.
    pub(crate) fn took(&self, span: Span) {
        let ended = self.ended.get();
        let mut took = self.took.get();
        let at = ended.checked_rem(Self::REMEMBERED).unwrap_or(0);
        if let Some(place) = took.get_mut(at) {
            *place = span.as_nanos();
        }
        self.took.set(took);
        self.ended.set(ended.wrapping_add(1));
    }

    /// How long requests usually take: the median of the last ones. A second where none has ended.
    pub(crate) fn usual(&self) -> Span {
        let mut took = self.took.get();
        let known = self.ended.get().min(Self::REMEMBERED);
        let known = took.get_mut(..known).unwrap_or_default();
        known.sort_unstable();
        let median = known.get(known.len() / 2).copied();
        median.map_or(Span::from_secs(1), Span::from_nanos)
    }
}

impl Held {
    fn forget_ended(&mut self) {
        self.permits.retain(|permit| permit.strong_count() > 0);
        self.living = self.permits.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Fingerprint;

    fn asked(secs: u64) -> Asked {
        Asked {
            key: Fingerprint::default(),
            cost: 1,
            now: Timestamp::from_unix_secs(secs),
        }
    }

    #[test]
    fn what_has_ended_is_not_renewed_and_takes_no_room() {
        let permits = Permits::default();
        let span = InFlight::span(asked(100).now);
        let living = permits.give(asked(100), span);
        for _ in 0..10_000 {
            permits.give(asked(100), span);
        }
        assert!(permits.held.borrow().permits.len() <= 66);
        assert_eq!(permits.due(asked(105).now).len(), 0);
        let due = permits.due(asked(110).now);
        assert_eq!(due.len(), 1);
        assert!(Rc::ptr_eq(&due[0], &living));
    }

    #[test]
    fn what_is_usual_is_the_median_of_the_last_ones() {
        let permits = Permits::default();
        assert_eq!(permits.usual(), Span::from_secs(1));
        for secs in [9, 1, 2] {
            permits.took(Span::from_secs(secs));
        }
        assert_eq!(permits.usual(), Span::from_secs(2));
        for _ in 0..40 {
            permits.took(Span::from_secs(7));
        }
        assert_eq!(permits.usual(), Span::from_secs(7));
    }
}
