//! A worker of a gateway that is none.

use std::marker::PhantomData;
use std::rc::Rc;

use portcullis_driver::{Failed, Host, MetricId, StreamId};
use portcullis_policy::{
    ClockUnavailable, EntropyUnavailable, Expected, HttpCall, MetricKind, NoReply, SharedStore,
    StoreError, Stored, Timestamp,
};

use super::passing::Entered;
use super::world::World;

/// What a gateway can do.
pub(super) trait Gateway: 'static {
    /// Whether a request can be held, read, and be sent elsewhere, and whether a refused configuration leaves the one before it.
    const IS_ENVOY: bool;
    /// Whether it takes what filters tell of callers.
    const TAKES_METADATA: bool;
    /// Whether it shows answers' bodies.
    const SHOWS_ANSWERS: bool;
}

macro_rules! gateways {
    ($($(#[$doc:meta])* $name:ident: $is_envoy:literal, $metadata:literal, $answers:literal;)*) => {
        $(
            $(#[$doc])*
            pub(super) struct $name;

            impl Gateway for $name {
                const IS_ENVOY: bool = $is_envoy;
                const TAKES_METADATA: bool = $metadata;
                const SHOWS_ANSWERS: bool = $answers;
            }
        )*
    };
}

gateways! {
    /// Envoy, with a filter for both gateways.
    Envoy: true, false, true;
    /// Envoy, with a filter for it alone.
    EnvoyAlone: true, false, false;
    /// Envoy, with native code.
    Native: true, true, true;
    /// Kong.
    Kong: false, false, false;
}

/// A worker.
pub(super) struct Worker<G>(Rc<World>, PhantomData<G>);

impl<G> Worker<G> {
    pub(super) fn new(world: &Rc<World>) -> Self {
        Self(Rc::clone(world), PhantomData)
    }
}

impl<G> Clone for Worker<G> {
    fn clone(&self) -> Self {
        Self::new(&self.0)
    }
}

/// What its workers share.
pub(super) struct Shared(Rc<World>);

impl SharedStore for Shared {
    fn get(&self, key: &str) -> Result<Option<Stored>, StoreError> {
        self.0.store.get(key)
    }

    fn set(&self, key: &str, value: &[u8], expected: Expected) -> Result<(), StoreError> {
        self.0.store.set(key, value, expected)
    }
}

impl<G: Gateway> Host for Worker<G> {
    type Store = Shared;
    type Entered = Entered;

    const KEEPS_FORMER_CONFIGURATION: bool = G::IS_ENVOY;
    const SHARES_BEFORE_REQUESTS: bool = G::IS_ENVOY;
    const CALLS_FROM_ANSWERS: bool = G::IS_ENVOY;
    const HOLDS_REQUESTS: bool = G::IS_ENVOY;
    const READS_REQUESTS: bool = G::IS_ENVOY;
    const CHOOSES_ROUTES_ANEW: bool = G::IS_ENVOY;
    const TAKES_METADATA: bool = G::TAKES_METADATA;
    const MAKES_CALLS: bool = true;
    const ADDS_COUNTERS_UP: bool = false;

    fn now(&self) -> Result<Timestamp, ClockUnavailable> {
        Ok(self.0.now.get())
    }

    fn fill_random(&self, bytes: &mut [u8]) -> Result<(), EntropyUnavailable> {
        for part in bytes.chunks_mut(8) {
            for (byte, drawn) in part.iter_mut().zip(self.0.draw()) {
                *byte = drawn;
            }
        }
        Ok(())
    }

    fn store(&self) -> Shared {
        Shared(Rc::clone(&self.0))
    }

    // Who watches the policy hears of its metrics, and by their names.
    fn define_metric(&self, _: MetricKind, _: &str) -> Option<MetricId> {
        Some(MetricId(0))
    }

    fn add(&self, _: MetricId, _: u32) -> Result<(), Failed> {
        Ok(())
    }

    fn set(&self, _: MetricId, _: u64) -> Result<(), Failed> {
        Ok(())
    }

    fn start_ticking(&self, _: u32) -> Result<(), Failed> {
        Ok(())
    }

    fn start_call(&self, call: &HttpCall) -> Result<u32, NoReply> {
        self.0.call(call).ok_or(NoReply::Unanswered)
    }

    fn reads_responses(&self) -> bool {
        G::SHOWS_ANSWERS
    }

    fn enter(&self, stream: StreamId) -> Result<Entered, Failed> {
        self.0.entered(stream.0).map(Entered).ok_or(Failed)
    }

    fn resume(&self, _: StreamId) -> Result<(), Failed> {
        Ok(())
    }
}
