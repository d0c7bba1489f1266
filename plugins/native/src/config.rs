//! A filter's configuration, as Envoy has it read: what all of its workers share.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use portcullis_policy::{CallId, CallReply};

use crate::abi::{self, ConfigPtr, MetricsTo};
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
    main: MainOnly<Vec<(Caller, Box<dyn OnMain>)>>,
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
        let every = tick_every(&*main);
        let common = Arc::new(Common::new(metrics, bell));
        if let Err(error) = ticker::start(&common, every) {
            log::error!("{name}: there is no thread for ticks: {error}");
            return None;
        }
        let config = Arc::new(Self {
            common,
            source,
            envoy,
            main: MainOnly(RefCell::new(vec![(Caller::LISTENER, main)])),
            adopted: Mutex::default(),
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
            self.common.ticked();
        }
        if event == Event::Want as u64 {
            let wants = self.common.take_wants();
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
        self.common.has_news();
    }

    /// Envoy has no more use for it.
    pub(crate) fn retire(&self) {
        self.common.retire();
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

    /// Has the main thread look after a route of which a worker has the first request.
    pub(crate) fn take_up(&self, route: &Arc<Route>) {
        self.adopted().push(Arc::clone(route));
        self.common.ring(Event::Want);
    }

    fn adopted(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Route>>> {
        self.adopted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the calls of routes, too, that have had a request.
    fn adopt(&self) {
        let adopted = std::mem::take(&mut *self.adopted());
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

fn tick_every(main: &dyn OnMain) -> Duration {
    Duration::from_nanos(main.tick_every().as_nanos().max(1_000_000))
}
