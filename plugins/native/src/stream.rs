//! One request and its response, behind the address that Envoy has for it.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

use portcullis_driver::Step;
use portcullis_policy::Problem;

use crate::abi::{Body, BodyStep, FilterPtr, HeadStep, Map, TrailersStep};
use crate::config::Config;
use crate::exchange::Entered;
use crate::filters::OnStream;
use crate::guard::guarded;
use crate::route::Route;
use crate::worker::Place;

/// One request and its response. What Envoy does by itself, an answer of its own for one, may come back here before the event
/// has ended that brought it about: then it finds nothing to do.
pub struct Stream {
    filter: FilterPtr,
    /// Envoy's, which outlives its streams.
    config: *const Config,
    /// Where it is looked after, once its route is known.
    place: OnceCell<Rc<Place>>,
    /// `None` before its request and while an event is at hand, and once one has panicked.
    driven: RefCell<Option<Box<dyn OnStream>>>,
    /// How many events are at hand.
    depth: Cell<u32>,
    /// Whether Envoy has no more use for it.
    gone: Cell<bool>,
    /// Whether its request is held back: where nothing more can be said of it, it is refused.
    undecided: Cell<bool>,
}

impl Stream {
    /// # Safety
    /// The configuration outlives the stream.
    pub(crate) const unsafe fn new(filter: FilterPtr, config: *const Config) -> Self {
        Self {
            filter,
            config,
            place: OnceCell::new(),
            driven: RefCell::new(None),
            depth: Cell::new(0),
            gone: Cell::new(false),
            undecided: Cell::new(false),
        }
    }

    pub(crate) fn on_request(&self, ends: bool) -> HeadStep {
        let placed = guarded("a stream's begin", || self.find_place());
        let decided = placed.and_then(|()| {
            self.within("a request", |driven, place| {
                place.catch_up();
                if self.gone.get() {
                    return HeadStep::StopIteration;
                }
                let count = self.filter.header_count(Map::Request);
                let step = driven.on_request(Entered(self.filter), count, ends);
                if self.gone.get() {
                    return HeadStep::StopIteration;
                }
                let held = driven.is_held();
                place.began(self.filter, held);
                self.undecided.set(held);
                match (step, held) {
                    (Step::Continue, _) => HeadStep::Continue,
                    // None of its body comes while it is held, unless that is to be read.
                    (Step::Stop, true) if !driven.reads_request() => HeadStep::StopAllAndWatermark,
                    (Step::Stop, _) => HeadStep::StopIteration,
                }
            })
        });
        decided.unwrap_or_else(|| {
            self.refuse();
            HeadStep::StopIteration
        })
    }

    fn find_place(&self) {
        // SAFETY: it outlives its streams.
        let Some(config) = (unsafe { self.config.as_ref() }) else {
            return;
        };
        let Ok(route) = Route::of(self.filter) else {
            // What is meant there is not this module's to know. Without a place nothing passes.
            log::error!("portcullis: a route's configuration is another module's");
            return;
        };
        let place = Place::of(config, route.as_ref());
        if let Ok(mut driven) = self.driven.try_borrow_mut() {
            *driven = Some(place.stream(self.filter));
        }
        let _ = self.place.set(place);
    }

    pub(crate) fn on_request_body(&self, ends: bool) -> BodyStep {
        let step = self.within("a request's body", |driven, _| {
            let size = |body: Body, matters: bool| match matters {
                true => self.filter.body_size(body),
                false => 0,
            };
            let come = size(Body::ReceivedRequest, driven.measures_request());
            let has_kept = driven.keeps_body() && !self.filter.receives_what_was_kept();
            let kept = size(Body::BufferedRequest, has_kept);
            let size = kept.saturating_add(come);
            let step = driven.on_request_body(Entered(self.filter), size, ends);
            self.undecided.set(driven.is_held());
            step
        });
        match step {
            None if self.undecided.replace(false) => {
                self.refuse();
                BodyStep::StopNoBuffer
            }
            Some(Step::Continue) | None => BodyStep::Continue,
            // Envoy answers by itself what is longer than it keeps.
            Some(Step::Stop) => BodyStep::StopAndBuffer,
        }
    }

    pub(crate) fn on_request_trailers(&self) -> TrailersStep {
        match self.within("a request's trailers", |driven, _| {
            let step = driven.on_request_trailers(Entered(self.filter));
            self.undecided.set(driven.is_held());
            step
        }) {
            None if self.undecided.replace(false) => {
                self.refuse();
                TrailersStep::Stop
            }
            Some(Step::Continue) | None => TrailersStep::Continue,
            Some(Step::Stop) => TrailersStep::Stop,
        }
    }

    pub(crate) fn on_response(&self, ends: bool) {
        self.within("a response", |driven, _| {
            driven.on_response(Entered(self.filter), ends)
        });
    }

    pub(crate) fn on_response_body(&self, ends: bool) {
        self.within("a response's body", |driven, _| {
            let size = match driven.reads_response() {
                true => self.filter.body_size(Body::ReceivedResponse),
                false => 0,
            };
            driven.on_response_body(Entered(self.filter), size, ends);
        });
    }

    pub(crate) fn on_complete(&self) {
        self.within("a stream's end", |driven, _| {
            driven.on_log(Entered(self.filter));
        });
        self.end();
    }

    /// A tick has passed, or there is news.
    pub(crate) fn on_bell(&self) {
        self.at_place("a tick", Place::catch_up);
    }

    /// Envoy has no more use for it. Whether it can go now; else it goes with the event that is at hand.
    pub(crate) fn retire(&self) -> bool {
        self.gone.set(true);
        self.drop_driven();
        self.end();
        self.depth.get() == 0
    }

    /// An event begins.
    pub(crate) fn enter(&self) {
        self.depth.set(self.depth.get().saturating_add(1));
    }

    /// It has ended.
    pub(crate) fn exit(&self) {
        self.depth.set(self.depth.get().saturating_sub(1));
    }

    /// Whether it was to go while an event was at hand.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.get() && self.depth.get() == 0
    }

    /// What nothing else has ended ends now.
    pub(crate) fn drop_driven(&self) {
        let driven = self
            .driven
            .try_borrow_mut()
            .ok()
            .and_then(|mut driven| driven.take());
        self.at_place("a stream's deletion", |_| drop(driven));
    }

    fn end(&self) {
        self.at_place("a stream's end", |place| place.ended(self.filter));
    }

    /// Runs what is the place's.
    fn at_place(&self, event: &str, run: impl FnOnce(&Place)) {
        if let Some(place) = self.place.get()
            && guarded(event, || run(place)).is_none()
        {
            place.leave();
        }
    }

    /// Runs an event; `None` where there is nothing to do, or it panicked.
    fn within<R>(
        &self,
        event: &str,
        run: impl FnOnce(&mut dyn OnStream, &Place) -> R,
    ) -> Option<R> {
        let place = self.place.get()?;
        let mut driven = self.driven.try_borrow_mut().ok()?.take()?;
        let result = guarded(event, || run(&mut *driven, place));
        if result.is_some() {
            if let Ok(mut kept) = self.driven.try_borrow_mut() {
                *kept = Some(driven);
            }
        } else {
            place.leave();
            let _ = guarded("what a panic has left", || drop(driven));
        }
        result
    }

    /// Answers a request that could not be decided on. Never lets it pass: who sent it may have brought the panic about.
    fn refuse(&self) {
        let reply = Problem::UNAVAILABLE.reply_blind();
        let headers = reply.headers.iter();
        let headers = headers.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let details = "portcullis{panicked}";
        let _ = self
            .filter
            .send_response(reply.status, headers, &reply.body, details);
    }
}
