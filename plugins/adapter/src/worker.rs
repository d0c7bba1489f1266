//! A worker of either host, whose calls outside of requests are the same.

use portcullis_driver::{Exchange, Failed, Host, MetricId, StreamId};
use portcullis_policy::{
    Abilities, ClockUnavailable, EntropyUnavailable, HttpCall, MetricKind, NoReply, SharedData,
    Timestamp,
};

use crate::abi::{self, MetricType, Status};
use crate::headers::encode;
use crate::store::HostSharedData;

/// What hosts bear outside of requests, each in its own way.
pub(crate) trait Nature: Exchange + Copy + 'static {
    /// [`Host::KEEPS_FORMER_CONFIGURATION`]
    const KEEPS_FORMER_CONFIGURATION: bool;
    /// [`Host::SHARES_BEFORE_REQUESTS`]
    const SHARES_BEFORE_REQUESTS: bool;
    /// [`Host::CALLS_FROM_ANSWERS`]
    const CALLS_FROM_ANSWERS: bool;
    /// [`Host::ABILITIES`]
    const ABILITIES: Abilities;

    /// [`Host::abilities`]
    fn abilities() -> Abilities {
        Self::ABILITIES
    }
}

/// The worker, and whatever stream is at hand in it.
#[derive(Clone, Copy)]
pub(crate) struct Worker<X> {
    pub(crate) exchange: X,
    /// What the host calls the filter.
    pub(crate) root: u32,
}

impl<X: Nature> Host for Worker<X> {
    type Store = SharedData<HostSharedData>;
    type Entered = X;

    const KEEPS_FORMER_CONFIGURATION: bool = X::KEEPS_FORMER_CONFIGURATION;
    const SHARES_BEFORE_REQUESTS: bool = X::SHARES_BEFORE_REQUESTS;
    const CALLS_FROM_ANSWERS: bool = X::CALLS_FROM_ANSWERS;
    const ABILITIES: Abilities = X::ABILITIES;
    const MAKES_CALLS: bool = true;
    const ADDS_COUNTERS_UP: bool = true;

    fn now(&self) -> Result<Timestamp, ClockUnavailable> {
        abi::time_nanos()
            .map(Timestamp::from_unix_nanos)
            .map_err(|_| ClockUnavailable)
    }

    fn monotonic(&self) -> Result<Timestamp, ClockUnavailable> {
        let nanos = abi::monotonic_nanos().ok_or(ClockUnavailable)?;
        Ok(Timestamp::from_unix_nanos(nanos))
    }

    fn fill_random(&self, bytes: &mut [u8]) -> Result<(), EntropyUnavailable> {
        match abi::random(bytes) {
            true => Ok(()),
            false => Err(EntropyUnavailable),
        }
    }

    fn abilities(&self) -> Abilities {
        X::abilities()
    }

    fn store(&self) -> Self::Store {
        SharedData(HostSharedData)
    }

    fn define_metric(&self, kind: MetricKind, name: &str) -> Option<MetricId> {
        let kind = match kind {
            MetricKind::Counter => MetricType::Counter,
            MetricKind::Gauge => MetricType::Gauge,
        };
        abi::define_metric(kind, name).ok().map(MetricId)
    }

    fn add(&self, counter: MetricId, by: u32) -> Result<(), Failed> {
        Ok(abi::increment_metric(counter.0, by)?)
    }

    fn set(&self, gauge: MetricId, value: u64) -> Result<(), Failed> {
        Ok(abi::record_metric(gauge.0, value)?)
    }

    fn start_ticking(&self, millis: u32) -> Result<(), Failed> {
        Ok(abi::set_tick_period(millis)?)
    }

    fn enter(&self, stream: StreamId) -> Result<X, Failed> {
        abi::set_effective_context(u32::try_from(stream.0).map_err(|_| Failed)?)?;
        Ok(self.exchange)
    }

    fn leave_stream(&self) -> Result<(), Failed> {
        Ok(abi::set_effective_context(self.root)?)
    }

    fn resume(&self, _: StreamId) -> Result<(), Failed> {
        Ok(abi::continue_request()?)
    }

    fn start_call(&self, call: &HttpCall) -> Result<u32, NoReply> {
        let mut headers: Vec<(&[u8], &[u8])> = vec![
            (b":method", call.method.as_bytes()),
            (b":scheme", call.scheme.as_bytes()),
            (b":authority", call.authority.as_bytes()),
            (b":path", call.path.as_bytes()),
        ];
        let others = call.headers.iter();
        headers.extend(others.map(|(name, value)| (name.as_bytes(), value.as_bytes())));
        let headers = encode(&headers).ok_or(NoReply::Unanswered)?;
        let timeout = call.timeout.as_nanos() / 1_000_000;
        let timeout = u32::try_from(timeout).unwrap_or(u32::MAX).max(1);
        abi::http_call(&call.upstream, &headers, &call.body, timeout).map_err(|status| {
            // The request is whole: what Envoy says so of is the cluster.
            if status == Status::BAD_ARGUMENT {
                NoReply::NoSuchUpstream
            } else {
                NoReply::Unanswered
            }
        })
    }
}

impl From<Status> for Failed {
    fn from(_: Status) -> Self {
        Self
    }
}
