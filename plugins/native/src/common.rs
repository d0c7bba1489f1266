//! What the main thread and the workers of a configuration tell each other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portcullis_policy::CallId;

use crate::abi::Bell;
use crate::metrics::Metrics;

/// A worker's policy of one configuration, among all that there are in the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WorkerId(u64);

impl WorkerId {
    /// One that nobody has had.
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
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
    /// How many ticks there were.
    ticks: AtomicU64,
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
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl Common {
    pub(crate) fn new(metrics: Arc<Metrics>, bell: Bell) -> Self {
        Self {
            metrics,
            bell,
            ticks: AtomicU64::new(0),
            news: AtomicU64::new(0),
            wants: Mutex::default(),
            bells: Mutex::default(),
            gone: AtomicBool::new(false),
        }
    }

    /// A tick has passed.
    pub(crate) fn ticked(&self) {
        self.ticks.fetch_add(1, Ordering::Release);
        self.ring_workers();
    }

    /// What is shared may have changed.
    pub(crate) fn has_news(&self) {
        self.news.fetch_add(1, Ordering::Release);
        self.ring_workers();
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

    /// How many ticks there were, and how often there was news.
    pub(crate) fn seen(&self) -> (u64, u64) {
        (
            self.ticks.load(Ordering::Acquire),
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

    fn ring_workers(&self) {
        // Without the lock: Envoy may let go of a stream in there.
        let bells: Vec<_> = lock(&self.bells).values().cloned().collect();
        for bell in bells {
            bell.ring(0);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
