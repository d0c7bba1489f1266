//! Where the changes of workers that interleave are judged, in the order in which they were stored.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::generate::Guard;
use crate::op::{Effect, Op};
use crate::reference::Breaker;
use crate::status::{self, Watcher};

/// What all workers did so far.
pub(crate) struct Court(Mutex<Record>);

#[derive(Default)]
pub(crate) struct Record {
    /// The breaker after each change, the one that nobody has changed first.
    pub(crate) history: Vec<Breaker>,
    /// Probes that are out and whole, with the epoch in which and the time until which.
    permits: Vec<(u64, u64, u64)>,
    /// When it opened last, by the clock of the worker that opened it.
    opened: u64,
    /// The gauge, which is one for all workers.
    pub(crate) gauge: u64,
}

/// A callback on its way, as far as it looks at shared data.
pub(crate) struct Trial<'a> {
    pub(crate) court: &'a Court,
    pub(crate) guard: &'a Guard,
    pub(crate) watcher: &'a Watcher,
    /// What it may change.
    pub(crate) op: Option<Op>,
    /// By the worker's clock.
    pub(crate) now: u64,
    /// By the world's, which may have moved on.
    pub(crate) world: &'a dyn Fn() -> u64,
    /// What it was shown last: its index in the history.
    pub(crate) read: Option<usize>,
    /// Where in the history it began.
    pub(crate) began: usize,
    pub(crate) effect: Option<Effect>,
}

impl Court {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Record {
            history: vec![Breaker::default()],
            ..Record::default()
        }))
    }

    /// A panic in one worker must not hide the others'.
    pub(crate) fn record(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn length(&self) -> usize {
        self.record().history.len()
    }
}

impl Record {
    pub(crate) fn last(&self) -> &Breaker {
        &self.history[self.history.len() - 1]
    }

    /// The states that it had from an index in the history on.
    pub(crate) fn states(&self, from: usize) -> Vec<&'static str> {
        self.history[from - 1..]
            .iter()
            .map(Breaker::state)
            .collect()
    }

    pub(crate) fn give_back(&mut self, request: u64) {
        self.permits.retain(|(who, _, _)| *who != request);
    }
}

impl Trial<'_> {
    pub(crate) fn read(&mut self) {
        // What is read after a change is for the gauge only.
        if self.effect.is_none() {
            self.read = Some(self.court.length() - 1);
        }
    }

    /// A change was stored: it must be the one that the reference makes of the breaker as it was.
    pub(crate) fn stored(&mut self) {
        assert!(self.effect.is_none(), "one callback has stored two changes");
        let op = self.op.as_ref().expect("a change by what changes nothing");
        let mut record = self.court.record();
        let mut breaker = record.last().clone();
        let name = &self.guard.name;
        let look = |shortest, longest| self.watcher.until(name, shortest, longest);
        let settings = &self.guard.settings;
        let effect = breaker.apply(settings, op, self.now, &look);
        assert!(effect.stores, "nothing was to be stored: {op:?}");
        let shown = self.watcher.shown(self.now);
        status::check(self.guard, &breaker, &shown[name], self.now);
        record.opens_in_time(self.guard, &effect, self.now);
        record.history.push(breaker);
        match op {
            Op::Ask {
                request,
                whole: true,
            }
            | Op::Confirm { request, .. } => {
                record.permit(self.guard, *request, self.now, (self.world)());
            }
            Op::Settle { request, .. } => record.give_back(*request),
            Op::Ask { whole: false, .. } | Op::Succeed { .. } | Op::Tell(_) => {}
        }
        self.effect = Some(effect);
    }

    /// What came of it: what the reference makes of what was shown last, if nothing was stored.
    pub(crate) fn judge(&mut self) -> Effect {
        if let Some(effect) = self.effect.take() {
            return effect;
        }
        let (Some(op), Some(read)) = (&self.op, self.read) else {
            assert!(self.op.is_none(), "{:?} without a look", self.op);
            assert_eq!(self.read, None, "a look for nothing");
            return Effect::default();
        };
        let mut breaker = self.court.record().history[read].clone();
        let never = |_, _| panic!("it was to open: {op:?}");
        let effect = breaker.apply(&self.guard.settings, op, self.now, &never);
        assert!(!effect.stores, "it was to be stored: {op:?}");
        effect
    }
}

/// What holds whatever the reference thinks.
impl Record {
    /// Nobody probes before the shortest time is up.
    fn opens_in_time(&mut self, guard: &Guard, effect: &Effect, now: u64) {
        match effect.transition.as_ref().map(|transition| transition.to) {
            Some("open") => self.opened = now,
            Some("half_open") => {
                let settings = &guard.settings;
                let off = u128::from(settings.initial) * u128::from(settings.jitter) / 1_000_000;
                let least = settings.initial - off as u64;
                assert!(now >= self.opened + least, "{now}, opened {}", self.opened);
            }
            _ => {}
        }
    }

    /// No more than so many that are whole are out at once, within their leases.
    fn permit(&mut self, guard: &Guard, request: u64, now: u64, world: u64) {
        let epoch = self.last().epoch;
        let lease = guard.settings.lease;
        self.permits
            .retain(|(who, of, until)| *who != request && *of == epoch && *until > world);
        self.permits.push((request, epoch, now + lease));
        let out = self.permits.len();
        assert!(out <= guard.settings.probes, "{out} probes are out");
    }
}
