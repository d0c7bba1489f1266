//! A filter's configuration, as Envoy has it read: what all of its workers share.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use portcullis_policy::{CallId, CallReply, Environment};
use zeroize::Zeroizing;

use crate::abi::{self, Bell, ConfigPtr, MetricsTo};
use crate::filters::{self, Kind, OnMain, OnWorker};
use crate::guard::guarded;
use crate::instance::{Main, Worker};
use crate::metrics::Metrics;
use crate::store::Zone;
use crate::worker::WorkerId;
use crate::{surroundings, ticker};

/// A configuration in force.
pub struct Config {
    pub(crate) common: Arc<Common>,
    pub(crate) source: Source,
    envoy: ConfigPtr,
    main: MainOnly<Vec<(Caller, Box<dyn OnMain>)>>,
}

/// A configuration of a route, in force there in place of its listener's.
pub struct Route {
    pub(crate) source: Source,
    pub(crate) caller: Caller,
    gone: AtomicBool,
}

/// What policies are made of.
pub(crate) struct Source {
    kind: Kind,
    text: Zeroizing<Vec<u8>>,
    environment: Variables,
    zone: Arc<Zone>,
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
    /// Routes of which a worker has had the first request.
    adopted: Mutex<Vec<Arc<Route>>>,
    /// By which workers hear of ticks and news that have no request to hear of them with.
    bells: Mutex<BTreeMap<WorkerId, Bell>>,
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

/// What only the main thread uses.
struct MainOnly<T>(RefCell<T>);

// SAFETY: it is used by events of the configuration alone, which Envoy raises on its main thread, and by its destruction, which
// comes after all of them.
unsafe impl<T> Send for MainOnly<T> {}
// SAFETY: the same.
unsafe impl<T> Sync for MainOnly<T> {}

/// The variables that a configuration has asked for, as they were then: all workers get the same.
#[derive(Default)]
struct Variables(Mutex<BTreeMap<String, Option<Zeroizing<String>>>>);

impl Environment for Variables {
    fn var(&self, name: &str) -> Option<String> {
        let mut known = lock(&self.0);
        let read = || surroundings::variable(name).map(Zeroizing::new);
        let value = known.entry(name.to_owned()).or_insert_with(read);
        value.as_ref().map(|value| value.as_str().to_owned())
    }
}

impl Source {
    /// `name`: the filter, and behind a slash what shares its counts, if not all that have none. `None` where there is no such
    /// filter, which was said.
    fn new(name: &str, text: &[u8]) -> Option<Self> {
        let (filter, zone) = name.split_once('/').unwrap_or((name, ""));
        let Some(kind) = filters::named(filter) else {
            let names = filters::names();
            log::error!(
                "portcullis: filter_name: {filter:?} is no filter; expected one of {names}"
            );
            return None;
        };
        Some(Self {
            kind,
            text: Zeroizing::new(text.to_vec()),
            environment: Variables::default(),
            zone: Zone::named(zone),
        })
    }

    /// The main thread's instance; `None` where the configuration is refused, which was said.
    fn main(&self, host: Main) -> Option<Box<dyn OnMain>> {
        (self.kind.main)(host, &self.text, &self.environment)
    }

    /// A worker's instance.
    pub(crate) fn worker(&self, common: &Arc<Common>, caller: Caller) -> Box<dyn OnWorker> {
        let host = Worker::new(Arc::clone(common), caller, &self.zone);
        (self.kind.worker)(host, &self.text, &self.environment)
    }
}

impl Config {
    /// Puts a configuration in force. `None` where it is refused, which was said.
    pub(crate) fn new(envoy: ConfigPtr, name: &str, text: &[u8]) -> Option<Arc<Self>> {
        let source = Source::new(name, text)?;
        let Some(bell) = envoy.bell() else {
            log::error!("{name}: Envoy lets no event of this filter be raised");
            return None;
        };
        let metrics = Arc::<Metrics>::default();
        let main = source.main(Main::new(envoy, Arc::clone(&metrics), &source.zone))?;
        let every = tick_every(&*main);
        let common = Arc::new(Common {
            metrics,
            bell,
            ticks: AtomicU64::new(0),
            news: AtomicU64::new(0),
            wants: Mutex::default(),
            adopted: Mutex::default(),
            bells: Mutex::default(),
            gone: AtomicBool::new(false),
        });
        if let Err(error) = ticker::start(&common, every) {
            log::error!("{name}: there is no thread for ticks: {error}");
            return None;
        }
        let config = Arc::new(Self {
            common,
            source,
            envoy,
            main: MainOnly(RefCell::new(vec![(Caller::LISTENER, main)])),
        });
        // All metrics are there from the start, as they are for a filter in Wasm.
        config.common.metrics.show_all();
        config.hand_over_metrics();
        Some(config)
    }

    /// An event of the main thread.
    pub(crate) fn on_event(&self, event: u64) {
        self.adopt();
        if event == Event::Tick as u64 {
            self.with_main(|_, main| main.tick());
            self.common.ticks.fetch_add(1, Ordering::Release);
            self.common.ring_workers();
        }
        if event == Event::Want as u64 {
            let wants = std::mem::take(&mut *lock(&self.common.wants));
            self.with_main(|caller, main| {
                let own = wants.iter().filter(|(wanted, _)| *wanted == caller);
                own.for_each(|(_, call)| main.want(*call));
            });
        }
        self.hand_over_metrics();
    }

    /// A call of the main thread's was answered.
    pub(crate) fn on_answer(&self, number: u32, reply: &dyn CallReply) {
        self.with_main(|_, main| main.on_answer(number, reply));
        self.common.news.fetch_add(1, Ordering::Release);
        self.common.ring_workers();
    }

    /// Envoy has no more use for it.
    pub(crate) fn retire(&self) {
        self.common.gone.store(true, Ordering::Release);
        ticker::stop(&self.common);
        // They hand over what they have counted when they go.
        let main = self
            .main
            .0
            .try_borrow_mut()
            .map(|mut main| std::mem::take(&mut *main));
        let _ = guarded("the end of a configuration", || drop(main));
        self.hand_over_metrics();
    }

    /// Elsewhere a worker does it.
    fn hand_over_metrics(&self) {
        if abi::configurations_take_metrics() {
            self.common.metrics.hand_over(MetricsTo::Config(self.envoy));
        }
    }

    /// Makes the calls of routes, too, that have had a request.
    fn adopt(&self) {
        let adopted = std::mem::take(&mut *lock(&self.common.adopted));
        for route in adopted {
            if self
                .main
                .0
                .try_borrow()
                .is_ok_and(|all| all.iter().any(|(known, _)| *known == route.caller))
            {
                // Another worker was first.
                continue;
            }
            let metrics = Arc::clone(&self.common.metrics);
            let host = Main::new(self.envoy, metrics, &route.source.zone);
            if let (Some(main), Ok(mut all)) =
                (route.source.main(host), self.main.0.try_borrow_mut())
            {
                ticker::hasten(&self.common, tick_every(&*main));
                all.push((route.caller, Box::new(OfRoute { main, route })));
            }
        }
        if let Ok(mut all) = self.main.0.try_borrow_mut() {
            all.retain(|(_, main)| !main.is_gone());
        }
    }

    fn with_main(&self, mut run: impl FnMut(Caller, &dyn OnMain)) {
        // An answer may come while a call is being made: it is none of a call that is known yet.
        if let Ok(main) = self.main.0.try_borrow() {
            for (caller, main) in &*main {
                run(*caller, &**main);
            }
        }
    }
}

/// The instance of a route, which ends with it.
struct OfRoute {
    main: Box<dyn OnMain>,
    route: Arc<Route>,
}

impl OnMain for OfRoute {
    fn tick(&self) {
        self.main.tick();
    }

    fn tick_every(&self) -> portcullis_policy::Span {
        self.main.tick_every()
    }

    fn on_answer(&self, number: u32, reply: &dyn CallReply) {
        self.main.on_answer(number, reply);
    }

    fn want(&self, call: CallId) {
        self.main.want(call);
    }

    fn is_gone(&self) -> bool {
        self.route.is_gone()
    }
}

/// How many routes have a configuration of their own.
static ROUTES: AtomicUsize = AtomicUsize::new(0);

impl Route {
    /// Takes a route's configuration. `None` where it is refused, which was said.
    pub(crate) fn new(name: &str, text: &[u8]) -> Option<Arc<Self>> {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let source = Source::new(name, text)?;
        source.main(Main::trying())?;
        ROUTES.fetch_add(1, Ordering::Relaxed);
        Some(Arc::new(Self {
            source,
            caller: Caller(NEXT.fetch_add(1, Ordering::Relaxed)),
            gone: AtomicBool::new(false),
        }))
    }

    /// Whether any route has a configuration of its own.
    pub(crate) fn are_there() -> bool {
        ROUTES.load(Ordering::Relaxed) > 0
    }

    /// Envoy has no more use for it.
    pub(crate) fn retire(&self) {
        self.gone.store(true, Ordering::Release);
        ROUTES.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }
}

impl Caller {
    /// The listener's.
    pub(crate) const LISTENER: Self = Self(0);
}

impl Common {
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

    /// Has the main thread look after a route of which a worker has the first request.
    pub(crate) fn adopt(&self, route: &Arc<Route>) {
        lock(&self.adopted).push(Arc::clone(route));
        self.ring(Event::Want);
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
            Some(bell) => bells.insert(worker, bell),
            None => bells.remove(&worker),
        };
        drop(bells);
        drop(before);
    }

    fn ring_workers(&self) {
        for bell in lock(&self.bells).values() {
            bell.ring(0);
        }
    }
}

fn tick_every(main: &dyn OnMain) -> Duration {
    Duration::from_nanos(main.tick_every().as_nanos().max(1_000_000))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
