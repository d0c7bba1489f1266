//! A filter's configuration, as Envoy has it read: what all of its workers share.

use std::cell::{Cell, RefCell};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portcullis_policy::CallReply;

use crate::abi::ConfigPtr;
use crate::common::{Caller, Common, Event};
use crate::filters::OnMain;
use crate::guard::guarded;
use crate::instance::Main;
use crate::metrics::Metrics;
use crate::route::Route;
use crate::source::Source;
use crate::ticker;

/// A configuration in force.
pub struct Config {
    pub(crate) common: Arc<Common>,
    pub(crate) source: Source,
    envoy: ConfigPtr,
    main: MainOnly<Vec<Instance>>,
    /// Routes of which a worker has had the first request.
    adopted: Mutex<Vec<Arc<Route>>>,
}

/// What only the main thread uses.
struct MainOnly<T>(RefCell<T>);

// SAFETY: it is used by events of the configuration alone, which Envoy raises on its main thread, and by its destruction, which
// comes after all of them, on whichever thread is the last to have a use for it.
unsafe impl<T> Send for MainOnly<T> {}
// SAFETY: the same.
unsafe impl<T> Sync for MainOnly<T> {}

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
        let instance = Instance::new(main, None, 0);
        let common = Arc::new(Common::new(metrics, bell, instance.every));
        if let Err(error) = ticker::start(&common) {
            log::error!("{name}: there is no thread for ticks: {error}");
            return None;
        }
        let config = Arc::new(Self {
            common,
            source,
            envoy,
            main: MainOnly(RefCell::new(vec![instance])),
            adopted: Mutex::default(),
        });
        // All metrics are there from the start, as they are for a filter in Wasm.
        config.common.metrics.show_all();
        config.common.metrics.hand_over(envoy);
        Some(config)
    }

    /// An event of the main thread.
    pub(crate) fn on_event(&self, event: u64) {
        self.adopt();
        let wants = self.common.take_wants();
        if !wants.is_empty() {
            self.with_instances(|instance| {
                let own = wants.iter();
                let own = own.filter(|(wanted, _)| *wanted == instance.caller());
                own.for_each(|(_, call)| instance.main.want(*call));
            });
        }
        if event == Event::Tick as u64 {
            self.common.ticked();
            let (elapsed, _) = self.common.seen();
            self.with_instances(|instance| instance.tick(elapsed));
            self.common.ring_workers();
        }
        self.common.metrics.hand_over(self.envoy);
    }

    /// A call of the main thread's was answered.
    pub(crate) fn on_answer(&self, number: u32, reply: &dyn CallReply) {
        self.with_instances(|instance| instance.main.on_answer(number, reply));
        self.common.has_news();
        self.common.ring_workers();
    }

    /// Envoy has no more use for it.
    pub(crate) fn retire(&self) {
        self.common.retire();
        ticker::stop(&self.common);
        let main = self.main.0.try_borrow_mut();
        let main = main.map(|mut main| std::mem::take(&mut *main));
        let _ = guarded("the end of a configuration", || drop(main));
        // Envoy knows its own threads only. That this one is the last to let go of a configuration is a matter of microseconds.
        if !ticker::is_this_thread() {
            self.common.metrics.hand_over(self.envoy);
        }
    }

    /// Has the main thread look after a route of which a worker has the first request.
    pub(crate) fn take_up(&self, route: &Arc<Route>) {
        self.adopted().push(Arc::clone(route));
        self.common.ring(Event::Want);
    }

    fn adopted(&self) -> MutexGuard<'_, Vec<Arc<Route>>> {
        self.adopted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks after routes, too, that have had a request, and no longer after those that are gone.
    fn adopt(&self) {
        let adopted = std::mem::take(&mut *self.adopted());
        for route in adopted {
            let instances = self.main.0.try_borrow();
            let is_known = |instance: &Instance| instance.caller() == route.caller;
            if instances.is_ok_and(|instances| instances.iter().any(is_known)) {
                // Another worker was first.
                continue;
            }
            let made = guarded("a route's begin", || self.made(Some(&route)));
            if let (Some(Some(main)), Ok(mut instances)) = (made, self.main.0.try_borrow_mut()) {
                let (elapsed, _) = self.common.seen();
                let instance = Instance::new(main, Some(route), elapsed);
                self.common.hasten(instance.every);
                instances.push(instance);
            }
        }
        if let Ok(mut instances) = self.main.0.try_borrow_mut() {
            instances.retain(|instance| {
                let route = instance.route.as_ref();
                !route.is_some_and(|route| route.is_gone())
            });
        }
    }

    /// An instance for the main thread.
    fn made(&self, route: Option<&Arc<Route>>) -> Option<Box<dyn OnMain>> {
        let source = route.map_or(&self.source, |route| &route.source);
        let metrics = Arc::clone(&self.common.metrics);
        source.main(Main::new(self.envoy, metrics, &source.zone))
    }

    /// Runs this for each instance. One that panics is made anew, and keeps no other from its turn.
    fn with_instances(&self, mut run: impl FnMut(&Instance)) {
        // An answer may come while a call is being made: it is none of a call that is known yet.
        let Ok(instances) = self.main.0.try_borrow() else {
            return;
        };
        let mut broken = Vec::new();
        for (index, instance) in instances.iter().enumerate() {
            if guarded("a tick", || run(instance)).is_none() {
                broken.push((index, instance.route.clone()));
            }
        }
        drop(instances);
        for (index, route) in broken {
            let made = guarded("a configuration", || self.made(route.as_ref())).flatten();
            if let (Some(main), Ok(mut instances)) = (made, self.main.0.try_borrow_mut())
                && let Some(instance) = instances.get_mut(index)
            {
                let left = std::mem::replace(&mut instance.main, main);
                let _ = guarded("what a panic has left", || drop(left));
            }
        }
    }
}

/// A policy of the main thread's: the listener's, or that of a route.
struct Instance {
    main: Box<dyn OnMain>,
    route: Option<Arc<Route>>,
    /// How often it wants a tick, in nanoseconds.
    every: u64,
    /// For how long ticks had been raised at its last one, in nanoseconds.
    ticked_at: Cell<u64>,
}

impl Instance {
    fn new(main: Box<dyn OnMain>, route: Option<Arc<Route>>, elapsed: u64) -> Self {
        Self {
            every: main.tick_every().as_nanos().max(1_000_000),
            main,
            route,
            ticked_at: Cell::new(elapsed),
        }
    }

    fn caller(&self) -> Caller {
        let route = self.route.as_ref();
        route.map_or(Caller::LISTENER, |route| route.caller)
    }

    /// Ticks have been raised for so long.
    fn tick(&self, elapsed: u64) {
        if elapsed.saturating_sub(self.ticked_at.get()) >= self.every {
            self.ticked_at.set(elapsed);
            self.main.tick();
        }
    }
}
