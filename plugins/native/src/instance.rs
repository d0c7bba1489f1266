//! A policy's surroundings: a worker's, and those of the main thread.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use portcullis_driver::{Failed, Host, MetricId, StreamId};
use portcullis_policy::{
    Abilities, CallId, ClockUnavailable, EntropyUnavailable, HttpCall, MetricKind, NoReply,
    Timestamp,
};

use crate::abi::{ConfigPtr, FilterPtr, NotCalled};
use crate::common::{Caller, Common};
use crate::exchange::Entered;
use crate::metrics::{Metric, Metrics, Shard};
use crate::store::{Shared, View, Zone};
use crate::surroundings;

/// What surrounds a policy of one configuration on a thread.
pub(crate) struct Surrounded<R>(Rc<Inner<R>>);

struct Inner<R> {
    role: R,
    counts: Counts,
    store: Shared,
}

// Derived, it would want roles that can be cloned.
impl<R> Clone for Surrounded<R> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

/// A worker, as the policy of one configuration has it.
pub(crate) type Worker = Surrounded<OfWorker>;

/// The main thread, as the policy of one configuration has it: it makes the calls.
pub(crate) type Main = Surrounded<OfMain>;

pub(crate) struct OfWorker {
    common: Arc<Common>,
    caller: Caller,
}

pub(crate) struct OfMain {
    envoy: ConfigPtr,
}

/// In what a worker and the main thread differ.
pub(crate) trait Role: 'static {
    /// [`Host::MAKES_CALLS`]
    const MAKES_CALLS: bool;

    /// Whom metrics can be defined with, where they can be.
    fn envoy(&self) -> Option<ConfigPtr>;
    /// [`Host::start_call`]
    fn start_call(&self, call: &HttpCall) -> Result<u32, NoReply>;
    /// [`Host::want`]
    fn want(&self, call: CallId);
    /// [`Host::enter`]
    fn enter(&self, stream: StreamId) -> Result<Entered, Failed>;
}

/// What an instance counts.
struct Counts {
    known: Arc<Metrics>,
    /// By the numbers that the driver has for them.
    metrics: RefCell<Vec<Arc<Metric>>>,
    /// From its first count on.
    shard: OnceCell<Arc<Shard>>,
}

impl Counts {
    const fn of(known: Arc<Metrics>) -> Self {
        Self {
            known,
            metrics: RefCell::new(Vec::new()),
            shard: OnceCell::new(),
        }
    }

    /// Takes a metric up; the number that the driver has for it.
    fn define(&self, kind: MetricKind, name: &str, envoy: Option<ConfigPtr>) -> Option<MetricId> {
        let metric = self.known.metric(kind, name, envoy)?;
        let mut metrics = self.metrics.try_borrow_mut().ok()?;
        let index = u32::try_from(metrics.len()).ok()?;
        metrics.push(metric);
        Some(MetricId(index))
    }

    fn add(&self, MetricId(index): MetricId, by: u32) -> Result<(), Failed> {
        let shard = self.shard.get_or_init(|| {
            let metrics = self.metrics.try_borrow();
            self.known
                .shard(metrics.map_or(Vec::new(), |metrics| metrics.clone()))
        });
        let index = usize::try_from(index).map_err(|_| Failed)?;
        done(self.known.add(shard, index, by))
    }

    fn set(&self, MetricId(index): MetricId, value: u64) -> Result<(), Failed> {
        let metrics = self.metrics.try_borrow().map_err(|_| Failed)?;
        let index = usize::try_from(index).map_err(|_| Failed)?;
        self.known.set(metrics.get(index).ok_or(Failed)?, value);
        Ok(())
    }
}

impl<R> Surrounded<R> {
    fn of(role: R, known: Arc<Metrics>, zone: &Arc<Zone>) -> Self {
        Self(Rc::new(Inner {
            role,
            counts: Counts::of(known),
            store: Shared(Rc::new(View::of(Arc::clone(zone)))),
        }))
    }
}

impl Worker {
    /// `caller`: which of the main thread's instances makes its calls.
    pub(crate) fn new(common: Arc<Common>, caller: Caller, zone: &Arc<Zone>) -> Self {
        let known = Arc::clone(&common.metrics);
        Self::of(OfWorker { common, caller }, known, zone)
    }
}

impl Main {
    pub(crate) fn new(envoy: ConfigPtr, known: Arc<Metrics>, zone: &Arc<Zone>) -> Self {
        Self::of(OfMain { envoy }, known, zone)
    }
}

impl<R: Role> Host for Surrounded<R> {
    type Store = Shared;
    type Entered = Entered;

    const KEEPS_FORMER_CONFIGURATION: bool = true;
    const SHARES_BEFORE_REQUESTS: bool = true;
    const CALLS_FROM_ANSWERS: bool = true;
    const ABILITIES: Abilities = Abilities::NATIVE;
    const MAKES_CALLS: bool = R::MAKES_CALLS;
    const ADDS_COUNTERS_UP: bool = false;

    fn now(&self) -> Result<Timestamp, ClockUnavailable> {
        surroundings::now().ok_or(ClockUnavailable)
    }

    fn monotonic(&self) -> Result<Timestamp, ClockUnavailable> {
        surroundings::monotonic().ok_or(ClockUnavailable)
    }

    fn fill_random(&self, bytes: &mut [u8]) -> Result<(), EntropyUnavailable> {
        getrandom::fill(bytes).map_err(|_| EntropyUnavailable)
    }

    fn store(&self) -> Shared {
        self.0.store.clone()
    }

    fn define_metric(&self, kind: MetricKind, name: &str) -> Option<MetricId> {
        self.0.counts.define(kind, name, self.0.role.envoy())
    }

    fn add(&self, counter: MetricId, by: u32) -> Result<(), Failed> {
        self.0.counts.add(counter, by)
    }

    fn set(&self, gauge: MetricId, value: u64) -> Result<(), Failed> {
        self.0.counts.set(gauge, value)
    }

    /// Ticks come from the ticker, by way of the main thread.
    fn start_ticking(&self, _: u32) -> Result<(), Failed> {
        Ok(())
    }

    fn start_call(&self, call: &HttpCall) -> Result<u32, NoReply> {
        self.0.role.start_call(call)
    }

    fn want(&self, call: CallId) {
        self.0.role.want(call);
    }

    fn enter(&self, stream: StreamId) -> Result<Entered, Failed> {
        self.0.role.enter(stream)
    }

    /// Calls are the main thread's, which has no streams.
    fn leave_stream(&self) -> Result<(), Failed> {
        Ok(())
    }

    fn resume(&self, stream: StreamId) -> Result<(), Failed> {
        done(self.enter(stream)?.0.go_on())
    }
}

impl Role for OfWorker {
    const MAKES_CALLS: bool = false;

    fn envoy(&self) -> Option<ConfigPtr> {
        None
    }

    fn start_call(&self, _: &HttpCall) -> Result<u32, NoReply> {
        Err(NoReply::Unanswered)
    }

    fn want(&self, call: CallId) {
        self.common.want(self.caller, call);
    }

    fn enter(&self, StreamId(number): StreamId) -> Result<Entered, Failed> {
        // SAFETY: the driver enters only streams that it holds, which are those that were not destroyed.
        let stream = unsafe { FilterPtr::of_number(number) };
        stream.map(Entered).ok_or(Failed)
    }
}

impl Role for OfMain {
    const MAKES_CALLS: bool = true;

    fn envoy(&self) -> Option<ConfigPtr> {
        Some(self.envoy)
    }

    fn start_call(&self, call: &HttpCall) -> Result<u32, NoReply> {
        let mut headers: Vec<(&[u8], &[u8])> = vec![
            (b":method", call.method.as_bytes()),
            (b":scheme", call.scheme.as_bytes()),
            // Envoy asks for it by this name.
            (b"host", call.authority.as_bytes()),
            (b":path", call.path.as_bytes()),
        ];
        let others = call.headers.iter();
        headers.extend(others.map(|(name, value)| (name.as_bytes(), value.as_bytes())));
        let timeout = (call.timeout.as_nanos() / 1_000_000).max(1);
        match self
            .envoy
            .call(&call.upstream, &headers, &call.body, timeout)
        {
            Ok(id) => Ok(call_number(id)),
            Err(NotCalled::NoSuchCluster) => Err(NoReply::NoSuchUpstream),
            Err(NotCalled::NotMade) => Err(NoReply::Unanswered),
        }
    }

    /// It makes the calls itself.
    fn want(&self, _: CallId) {}

    /// It has no requests.
    fn enter(&self, _: StreamId) -> Result<Entered, Failed> {
        Err(Failed)
    }
}

/// A call's number, as the driver has it: Envoy counts from one on, and few are under way at a time.
#[allow(
    clippy::cast_possible_truncation,
    reason = "the lower half tells them apart"
)]
pub(crate) const fn call_number(id: u64) -> u32 {
    id as u32
}

const fn done(done: bool) -> Result<(), Failed> {
    match done {
        true => Ok(()),
        false => Err(Failed),
    }
}
