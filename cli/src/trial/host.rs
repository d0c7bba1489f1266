//! A worker of a gateway that is none.

use std::marker::PhantomData;
use std::rc::Rc;

use portcullis_driver::{Failed, Host, MetricId, StreamId};
use portcullis_policy::{
    Abilities, ClockUnavailable, EntropyUnavailable, Expected, HttpCall, MetricKind, NoReply,
    SharedStore, StoreError, Stored, Timestamp,
};

use super::passing::Entered;
use super::world::World;

/// What a gateway can do.
pub(super) trait Gateway: 'static {
    /// Whether a refused configuration leaves the one before it.
    const IS_ENVOY: bool;
    const ABILITIES: Abilities;
}

macro_rules! gateways {
    ($($(#[$doc:meta])* $name:ident: $is_envoy:literal, $abilities:ident;)*) => {
        $(
            $(#[$doc])*
            pub(super) struct $name;

            impl Gateway for $name {
                const IS_ENVOY: bool = $is_envoy;
                const ABILITIES: Abilities = Abilities::$abilities;
            }
        )*
    };
}

gateways! {
    /// Envoy, with a filter for both gateways.
    Envoy: true, ENVOY;
    /// Envoy, with a filter for it alone.
    EnvoyAlone: true, ENVOY_ALONE;
    /// Envoy, with native code.
    Native: true, NATIVE;
    /// Kong.
    Kong: false, KONG;
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
    const ABILITIES: Abilities = G::ABILITIES;
    const MAKES_CALLS: bool = true;
    const ADDS_COUNTERS_UP: bool = false;

    fn now(&self) -> Result<Timestamp, ClockUnavailable> {
        Ok(self.0.now.get())
    }

    fn monotonic(&self) -> Result<Timestamp, ClockUnavailable> {
        // Nobody sets this clock either.
        Ok(self.0.now.get())
    }

    fn leave_stream(&self) -> Result<(), Failed> {
        Ok(())
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

    fn enter(&self, stream: StreamId) -> Result<Entered, Failed> {
        self.0.entered(stream.0).map(Entered).ok_or(Failed)
    }

    fn resume(&self, _: StreamId) -> Result<(), Failed> {
        Ok(())
    }
}
