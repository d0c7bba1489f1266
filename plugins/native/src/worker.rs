//! What a worker thread has of each configuration: a policy, and how it hears of ticks.
//!
//! Envoy raises no event on a worker but those of its requests. So a worker looks with each request whether a tick has passed, and
//! while it has requests one of them carries a bell, by which the main thread reaches it. A worker whose last request ends tells
//! the others what it has kept for a tick.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use portcullis_driver::StreamId;

use crate::abi::FilterPtr;
use crate::common::{Caller, Common, WorkerId};
use crate::config::Config;
use crate::filters::{OnStream, OnWorker};
use crate::route::Route;

/// A configuration's place in a worker.
pub(crate) struct Place {
    id: WorkerId,
    common: Arc<Common>,
    route: Option<Arc<Route>>,
    policy: Box<dyn OnWorker>,
    /// Whether it keeps something for its next tick that others go by.
    tells_with_ticks: bool,
    /// How often it wants a tick, in nanoseconds.
    every: u64,
    /// For how long ticks had been raised at its last one, in nanoseconds.
    ticked_at: Cell<u64>,
    /// The news that it has heard of.
    news: Cell<u64>,
    /// Its requests, by the numbers of their streams; nothing is kept where there is no use for it.
    streams: RefCell<BTreeSet<u64>>,
    /// Whose request carries the bell.
    bell: Cell<Option<u64>>,
}

thread_local! {
    static PLACES: RefCell<Vec<Rc<Place>>> = const { RefCell::new(Vec::new()) };
}

impl Place {
    /// This thread's place of a configuration, or of a route with one of its own.
    pub(crate) fn of(config: &Config, route: Option<&Arc<Route>>) -> Rc<Self> {
        let caller = route.map_or(Caller::LISTENER, |route| route.caller);
        let known = PLACES.with_borrow(|places| {
            let is_own = |place: &&Rc<Self>| {
                Arc::ptr_eq(&place.common, &config.common) && place.caller() == caller
            };
            places.iter().find(is_own).cloned()
        });
        known.unwrap_or_else(|| {
            let place = Rc::new(Self::new(config, route, caller));
            // Those of configurations that are gone: what they have kept was told when their last request ended.
            let gone: Vec<_> = PLACES.with_borrow_mut(|places| {
                let gone = places.extract_if(.., |place| place.is_gone()).collect();
                places.push(Rc::clone(&place));
                gone
            });
            drop(gone);
            place
        })
    }

    fn new(config: &Config, route: Option<&Arc<Route>>, caller: Caller) -> Self {
        let source = route.map_or(&config.source, |route| &route.source);
        let (ticked_at, news) = config.common.seen();
        let policy = source.worker(&config.common, caller);
        if let Some(route) = route {
            config.take_up(route);
        }
        Self {
            route: route.cloned(),
            id: WorkerId::next(),
            every: policy.tick_every().as_nanos(),
            ticked_at: Cell::new(ticked_at),
            news: Cell::new(news),
            common: Arc::clone(&config.common),
            tells_with_ticks: policy.tells_with_ticks(),
            policy,
            streams: RefCell::default(),
            bell: Cell::default(),
        }
    }

    fn caller(&self) -> Caller {
        self.route
            .as_ref()
            .map_or(Caller::LISTENER, |route| route.caller)
    }

    fn is_gone(&self) -> bool {
        self.common.is_gone() || self.route.as_ref().is_some_and(|route| route.is_gone())
    }

    /// What looks after one request.
    pub(crate) fn stream(&self, filter: FilterPtr) -> Box<dyn OnStream> {
        self.policy.stream(StreamId(filter.number()))
    }

    /// Forgets this place, after a panic: the next request finds a new one.
    pub(crate) fn leave(&self) {
        let left: Vec<_> = PLACES
            .with_borrow_mut(|places| places.extract_if(.., |place| place.id == self.id).collect());
        // Requests that it still has keep it.
        drop(left);
    }

    /// Hears of ticks and news.
    pub(crate) fn catch_up(&self) {
        let (elapsed, news) = self.common.seen();
        let had = self.news.replace(news);
        if elapsed.saturating_sub(self.ticked_at.get()) >= self.every {
            self.ticked_at.set(elapsed);
            self.policy.tick();
        } else if news != had {
            self.policy.look();
        }
    }

    /// A request has come, which may carry the bell. `held`: whether it waits for a tick.
    pub(crate) fn began(&self, filter: FilterPtr, held: bool) {
        if !self.tells_with_ticks && !held {
            return;
        }
        if let Ok(mut streams) = self.streams.try_borrow_mut() {
            streams.insert(filter.number());
        }
        if self.bell.get().is_none() {
            self.hang_bell(Some(filter));
        }
    }

    /// A request has ended.
    pub(crate) fn ended(&self, filter: FilterPtr) {
        let Ok(mut streams) = self.streams.try_borrow_mut() else {
            return;
        };
        let was_known = streams.remove(&filter.number());
        let another = streams.first().copied();
        drop(streams);
        if !was_known {
            return;
        }
        if self.bell.get() == Some(filter.number()) {
            // SAFETY: a stream is taken out before it is destroyed.
            self.hang_bell(another.and_then(|number| unsafe { FilterPtr::of_number(number) }));
        }
        if self.tells_with_ticks && self.bell.get().is_none() {
            self.policy.idle();
        }
    }

    fn hang_bell(&self, filter: Option<FilterPtr>) {
        let bell = filter.and_then(|filter| Some((filter.number(), filter.bell()?)));
        self.bell.set(bell.as_ref().map(|(number, _)| *number));
        self.common.put_bell(self.id, bell.map(|(_, bell)| bell));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.bell.get().is_some() {
            self.common.put_bell(self.id, None);
        }
    }
}
