//! A policy in force, and what its streams share.

use std::cell::Cell;

use portcullis_policy::{
    CallId, CallReply, Clock, ClockUnavailable, Entropy, EntropyUnavailable, MOST_CALLS,
    MetricRegistry, NoReply, Policy, Ports, Timestamp,
};

use crate::calls::UnderWay;
use crate::host::Host;
use crate::telemetry::BatchedTelemetry;

/// A policy in force in one worker.
pub struct Filter<P, H: Host> {
    pub(crate) policy: P,
    host: H,
    telemetry: BatchedTelemetry<H>,
    /// Whether [`Policy::prepare`] was called.
    prepared: Cell<bool>,
    calls: UnderWay,
}

impl<P: Policy, H: Host> Filter<P, H> {
    pub(crate) fn new(policy: P, host: H, metrics: &MetricRegistry) -> Self {
        let filter = Self {
            policy,
            telemetry: BatchedTelemetry::define(host, metrics),
            host,
            prepared: Cell::new(false),
            calls: UnderWay::default(),
        };
        if H::SHARES_BEFORE_REQUESTS {
            filter.prepare();
        }
        filter
    }

    /// Lays out what workers share, once.
    pub(crate) fn prepare(&self) {
        if !self.prepared.replace(true) {
            self.with_ports(|ports| self.policy.prepare(ports));
        }
    }

    /// Looks after what goes on between requests.
    pub(crate) fn tick(&self) {
        // Where shared data may fail before a request comes, a policy that can wait for its first request does.
        if H::SHARES_BEFORE_REQUESTS || self.policy.fetches() {
            self.prepare();
        }
        self.with_ports(|ports| self.policy.on_tick(ports));
        for call in self.calls.given_up() {
            self.end_call(call, &NoReply::Unanswered);
        }
        self.call_next();
        self.telemetry.flush();
    }

    /// Makes the calls that are due. One that can't be made is due again at some later tick.
    fn call_next(&self) {
        for _ in 0..MOST_CALLS {
            if self.calls.is_full() {
                return;
            }
            let Some((id, call)) = self.with_ports(|ports| self.policy.next_call(ports)) else {
                return;
            };
            match self.host.start_call(&call) {
                Ok(number) => self.calls.add(number, id, &call, self.policy.tick_every()),
                Err(no_reply) => {
                    self.with_ports(|ports| self.policy.on_call_end(id, &no_reply, ports));
                }
            }
        }
    }

    /// Hands over the answer to the call of this number. Whether it is one of its own; one that was given up is not.
    pub fn on_answer(&self, number: u32, reply: &dyn CallReply) -> bool {
        let call = self.calls.take(number);
        if let Some(call) = call {
            self.end_call(call, reply);
        }
        call.is_some()
    }

    fn end_call(&self, call: CallId, reply: &dyn CallReply) {
        self.with_ports(|ports| self.policy.on_call_end(call, reply, ports));
        // Elsewhere the next call goes with the next tick.
        if H::CALLS_FROM_ANSWERS {
            self.call_next();
        }
    }

    /// Runs `ask` with ports whose clock is read at most once.
    pub(crate) fn with_ports<R>(&self, ask: impl FnOnce(&Ports<'_>) -> R) -> R {
        let clock = CallbackClock {
            host: self.host,
            read: Cell::new(None),
        };
        let result = ask(&Ports {
            clock: &clock,
            entropy: &HostEntropy(self.host),
            store: &self.host.store(),
            telemetry: &self.telemetry,
        });
        self.telemetry.flush_if_urgent();
        result
    }
}

/// Reads the clock once, when it is first asked.
struct CallbackClock<H> {
    host: H,
    read: Cell<Option<Timestamp>>,
}

impl<H: Host> Clock for CallbackClock<H> {
    fn now(&self) -> Result<Timestamp, ClockUnavailable> {
        if let Some(now) = self.read.get() {
            return Ok(now);
        }
        let now = self.host.now()?;
        self.read.set(Some(now));
        Ok(now)
    }
}

struct HostEntropy<H>(H);

impl<H: Host> Entropy for HostEntropy<H> {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyUnavailable> {
        self.0.fill_random(bytes)
    }
}
