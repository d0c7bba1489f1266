//! What the main thread and the workers of a configuration tell each other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use portcullis_policy::CallId;

use crate::abi::Bell;
use crate::metrics::Metrics;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Mutex, lock};

/// A worker's policy of one configuration, among all that there are in the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WorkerId(u64);

impl WorkerId {
    /// One that nobody has had.
    pub(crate) fn next() -> Self {
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// An instance of the main thread's: the listener's, or that of one of its routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Caller(usize);

/// What the main thread and the workers of a configuration tell each other.
pub(crate) struct Common {
    pub(crate) metrics: Arc<Metrics>,
    /// Raises events of the main thread.
    bell: Bell,
    /// How often ticks are raised, in nanoseconds.
    every: AtomicU64,
    /// How long they have been raised, by their number.
    elapsed: AtomicU64,
    /// Whether one was raised that has not come yet.
    under_way: AtomicBool,
    /// How often what is shared may have changed besides.
    news: AtomicU64,
    /// The calls that workers' requests want.
    wants: Mutex<BTreeSet<(Caller, CallId)>>,
    /// By which workers hear of ticks and news that have no request to hear of them with.
    bells: Mutex<BTreeMap<WorkerId, Arc<Bell>>>,
    /// Whether Envoy has no more use for it.
    gone: AtomicBool,
}

/// An event of the main thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Event {
    /// A tick is due.
    Tick = 1,
    /// Metrics have changed.
    Metrics = 2,
    /// A worker's request wants a call, or is the first of its route.
    Want = 3,
}

impl Caller {
    /// The listener's.
    pub(crate) const LISTENER: Self = Self(0);

    /// One of a route, which nobody has had.
    pub(crate) fn next() -> Self {
        static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl Common {
    /// `every`: how often ticks are raised, in nanoseconds.
    pub(crate) fn new(metrics: Arc<Metrics>, bell: Bell, every: u64) -> Self {
        Self {
            metrics,
            bell,
            every: AtomicU64::new(every),
            elapsed: AtomicU64::new(0),
            under_way: AtomicBool::new(false),
            news: AtomicU64::new(0),
            wants: Mutex::default(),
            bells: Mutex::default(),
            gone: AtomicBool::new(false),
        }
    }

    /// How often ticks are raised.
    pub(crate) fn every(&self) -> Duration {
        Duration::from_nanos(self.every.load(Ordering::Relaxed))
    }

    /// Has ticks raised so often, if they are not raised more often already: of several instances each hears of those that it
    /// wants.
    pub(crate) fn hasten(&self, every: u64) {
        self.every.fetch_min(every, Ordering::Relaxed);
    }

    /// Has a tick raised, unless one is on its way: what could not keep up does not make up for it.
    pub(crate) fn raise_tick(&self) {
        if !self.under_way.swap(true, Ordering::AcqRel) {
            self.ring(Event::Tick);
        }
    }

    /// A tick has come.
    pub(crate) fn ticked(&self) {
        self.under_way.store(false, Ordering::Release);
        let every = self.every.load(Ordering::Relaxed);
        self.elapsed.fetch_add(every, Ordering::Release);
    }

    /// What is shared may have changed.
    pub(crate) fn has_news(&self) {
        self.news.fetch_add(1, Ordering::Release);
    }

    /// The calls that workers' requests want, once.
    pub(crate) fn take_wants(&self) -> BTreeSet<(Caller, CallId)> {
        std::mem::take(&mut *lock(&self.wants))
    }

    /// Envoy has no more use for it.
    pub(crate) fn retire(&self) {
        self.gone.store(true, Ordering::Release);
    }

    /// Has an event of the main thread raised.
    pub(crate) fn ring(&self, event: Event) {
        self.bell.ring(event as u64);
    }

    /// Has the main thread know that a request lacks what this call would bring.
    pub(crate) fn want(&self, caller: Caller, call: CallId) {
        if lock(&self.wants).insert((caller, call)) {
            self.ring(Event::Want);
        }
    }

    /// How long ticks have been raised, in nanoseconds, and how often there was news.
    pub(crate) fn seen(&self) -> (u64, u64) {
        (
            self.elapsed.load(Ordering::Acquire),
            self.news.load(Ordering::Acquire),
        )
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// By what a worker hears of ticks and news from now on; `None`: of its own accord.
    pub(crate) fn put_bell(&self, worker: WorkerId, bell: Option<Bell>) {
        let mut bells = lock(&self.bells);
        let before = match bell {
            Some(bell) => bells.insert(worker, Arc::new(bell)),
            None => bells.remove(&worker),
        };
        drop(bells);
        drop(before);
    }

    /// Has workers hear of ticks and news that have no request to hear of them with.
    pub(crate) fn ring_workers(&self) {
        // Without the lock: Envoy may let go of a stream in there.
        let bells: Vec<_> = lock(&self.bells).values().cloned().collect();
        for bell in bells {
            bell.ring(0);
        }
    }
}
