//! A policy that tells what it makes of requests: it decides as the one within does, and is asked by the driver in its place.

use std::mem;
use std::rc::Rc;

use portcullis_policy::config::{ConfigError, IfAmbiguous, Match};
use portcullis_policy::{
    BodyEnd, CallId, CallReply, Counter, Ending, Gauge, HostFailure, HttpCall, LocalReply, LogLine,
    MetricKind, Policy, Ports, Request, Response, ResponseEdits, Setup, Span, Telemetry, Verdict,
};
use serde::{Deserialize, Deserializer};

use super::explained::Explained;
use super::heard::Heard;
use super::memory::Before;
use super::world::World;

/// A policy, and whom it tells.
pub(super) struct Watched<P> {
    policy: P,
    rules: Vec<Match>,
    passes_preflights: bool,
    world: Rc<World>,
    counters: Vec<String>,
}

/// What is remembered of a request.
pub(super) struct Flow<F> {
    flow: F,
    keys: Keys,
}

/// The limits that a request matches, each with what the log calls its key there.
type Keys = Vec<(String, String)>;

/// A configuration, and whom its policy is to tell.
pub(super) struct Given<C> {
    pub(super) config: C,
    pub(super) world: Rc<World>,
}

impl<'de, C: Deserialize<'de>> Deserialize<'de> for Given<C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let config = C::deserialize(deserializer)?;
        Ok(Self {
            config,
            world: Rc::default(),
        })
    }
}

/// Tells of metrics and lines; or, of what is asked only to tell of it, does not.
struct Told<'a, P>(&'a Watched<P>);
struct Silent;

impl<P> Telemetry for Told<'_, P> {
    fn add(&self, counter: Counter, by: u32) {
        if let Some(name) = self.0.counters.get(counter.index()) {
            self.0.world.tell(Heard::Counted(name.clone(), by));
        }
    }

    fn set(&self, _: Gauge, _: u64) {}

    fn log(&self, line: LogLine) {
        self.0.world.tell(Heard::Line(line.as_str().to_owned()));
    }
}

impl Telemetry for Silent {
    fn add(&self, _: Counter, _: u32) {}
    fn set(&self, _: Gauge, _: u64) {}
    fn log(&self, _: LogLine) {}
}

impl<P: Explained> Watched<P> {
    /// Asks the policy with ports that tell.
    fn told<'s, R>(&'s self, ports: &Ports<'_>, ask: impl FnOnce(&'s P, &Ports<'_>) -> R) -> R {
        let telemetry = &Told(self);
        ask(
            &self.policy,
            &Ports {
                telemetry,
                ..*ports
            },
        )
    }

    /// Tells what is known before it decides.
    fn begin(&self, request: &Request<'_>, ports: &Ports<'_>) {
        self.world.store.mark();
        let telemetry = &Silent;
        let silent = Ports {
            telemetry,
            ..*ports
        };
        if let Some(breakers) = self.policy.breakers(&silent) {
            self.world.tell(Heard::Breakers(breakers));
        }
        if self.passes_preflights && request.is_cors_preflight() {
            self.world.tell(Heard::Preflight);
        } else if !self.rules.is_empty() {
            let mut rules = self.rules.iter();
            let first = rules.position(|rule| rule.matches(request, IfAmbiguous::Misses));
            self.world.tell(Heard::Rule(first));
        }
    }

    /// Tells where the request stands now that it was decided on, and under which keys.
    fn end<'a>(
        &'a self,
        request: &'a Request<'a>,
        verdict: &Verdict<'_>,
        ports: &Ports<'_>,
    ) -> Keys {
        match verdict {
            Verdict::Continue(_) => {}
            Verdict::Refuse(_) => self.world.tell(Heard::Answered),
            Verdict::Read { .. } | Verdict::Wait { .. } => return Keys::new(),
        }
        let telemetry = &Silent;
        let after = Ports {
            telemetry,
            ..*ports
        };
        let store = &Before(&self.world.store);
        let before = Ports { store, ..after };
        let stands = self.policy.standings(request, &before, &after);
        let keys = stands.iter();
        let keys = keys.map(|(_, after)| (after.limit.clone(), after.caller.clone()));
        let keys = keys.collect();
        if !stands.is_empty() {
            self.world.tell(Heard::Stands(stands));
        }
        keys
    }
}

impl<P: Explained> Policy for Watched<P> {
    const NAME: &'static str = P::NAME;
    type Config = Given<P::Config>;
    type Flow = Flow<P::Flow>;

    fn from_config(config: Self::Config, setup: &mut Setup<'_>) -> Result<Self, ConfigError> {
        let rules = P::rules(&config.config);
        let passes_preflights = P::passes_preflights(&config.config);
        let policy = P::from_config(config.config, setup)?;
        let metrics = setup.metrics.metrics().iter();
        // A gauge has an index, too.
        let counters = metrics.map(|(kind, name)| match kind {
            MetricKind::Counter => name.clone(),
            MetricKind::Gauge => String::new(),
        });
        Ok(Self {
            policy,
            rules,
            passes_preflights,
            counters: counters.collect(),
            world: config.world,
        })
    }

    fn prepare(&self, ports: &Ports<'_>) {
        self.told(ports, P::prepare);
    }

    fn tick_every(&self) -> Span {
        self.policy.tick_every()
    }

    fn on_tick(&self, ports: &Ports<'_>) {
        self.told(ports, P::on_tick);
    }

    fn tells_with_ticks(&self) -> bool {
        self.policy.tells_with_ticks()
    }

    fn on_idle(&self, ports: &Ports<'_>) {
        self.told(ports, P::on_idle);
    }

    fn next_call(&self, ports: &Ports<'_>) -> Option<(CallId, HttpCall)> {
        self.told(ports, P::next_call)
    }

    fn take_wanted(&self) -> Vec<CallId> {
        self.policy.take_wanted()
    }

    fn want(&self, call: CallId, ports: &Ports<'_>) {
        self.told(ports, |policy, ports| policy.want(call, ports));
    }

    fn is_urgent(&self) -> bool {
        self.policy.is_urgent()
    }

    fn on_call_end(&self, call: CallId, reply: &dyn CallReply, ports: &Ports<'_>) {
        self.told(ports, |policy, ports| {
            policy.on_call_end(call, reply, ports)
        });
    }

    fn hold<'a>(&'a self, request: &'a Request<'a>, ports: &Ports<'_>) -> Option<Span> {
        self.policy.hold(request, ports)
    }

    fn on_held(&self, ports: &Ports<'_>) {
        self.told(ports, P::on_held);
    }

    fn on_request<'a>(
        &'a self,
        request: &'a Request<'a>,
        ports: &Ports<'_>,
    ) -> (Verdict<'a>, Self::Flow) {
        self.begin(request, ports);
        let (verdict, flow) = self.told(ports, |policy, ports| policy.on_request(request, ports));
        let keys = self.end(request, &verdict, ports);
        (verdict, Flow { flow, keys })
    }

    fn on_request_waited<'a>(
        &'a self,
        request: &'a Request<'a>,
        flow: &mut Self::Flow,
        is_last: bool,
        ports: &Ports<'_>,
    ) -> Verdict<'a> {
        let verdict = self.told(ports, |policy, ports| {
            policy.on_request_waited(request, &mut flow.flow, is_last, ports)
        });
        flow.keys = self.end(request, &verdict, ports);
        verdict
    }

    fn reads_requests(&self) -> bool {
        self.policy.reads_requests()
    }

    fn on_request_bytes(&self, flow: &mut Self::Flow, bytes: &[u8]) {
        self.policy.on_request_bytes(&mut flow.flow, bytes);
    }

    fn on_request_read<'a>(
        &'a self,
        request: &'a Request<'a>,
        flow: &mut Self::Flow,
        end: BodyEnd,
        ports: &Ports<'_>,
    ) -> Verdict<'a> {
        let verdict = self.told(ports, |policy, ports| {
            policy.on_request_read(request, &mut flow.flow, end, ports)
        });
        flow.keys = self.end(request, &verdict, ports);
        verdict
    }

    fn on_request_sent(&self, flow: &mut Self::Flow, ports: &Ports<'_>) {
        self.told(ports, |policy, ports| {
            policy.on_request_sent(&mut flow.flow, ports)
        });
    }

    fn writes_response_headers(&self) -> bool {
        self.policy.writes_response_headers()
    }

    fn on_response<'a>(
        &'a self,
        flow: &'a mut Self::Flow,
        response: &dyn Response,
        ports: &Ports<'_>,
    ) -> ResponseEdits<'a> {
        let flow = &mut flow.flow;
        self.told(ports, |policy, ports| {
            policy.on_response(flow, response, ports)
        })
    }

    fn reads_response(&self, flow: &Self::Flow) -> bool {
        self.policy.reads_response(&flow.flow)
    }

    fn on_response_bytes(&self, flow: &mut Self::Flow, bytes: Option<&[u8]>, ports: &Ports<'_>) {
        self.told(ports, |policy, ports| {
            policy.on_response_bytes(&mut flow.flow, bytes, ports);
        });
    }

    fn trims_response(&self, flow: &Self::Flow) -> bool {
        self.policy.trims_response(&flow.flow)
    }

    fn trim_response(
        &self,
        flow: &mut Self::Flow,
        bytes: &[u8],
        ends: bool,
        passing: &mut Vec<u8>,
    ) -> bool {
        self.policy
            .trim_response(&mut flow.flow, bytes, ends, passing)
    }

    fn on_response_whole(&self, flow: &mut Self::Flow) {
        self.policy.on_response_whole(&mut flow.flow);
    }

    fn fetches(&self) -> bool {
        self.policy.fetches()
    }

    fn observes_ends(&self) -> bool {
        self.policy.observes_ends()
    }

    fn on_end(&self, flow: &mut Self::Flow, ending: &dyn Ending, ports: &Ports<'_>) {
        self.told(ports, |policy, ports| {
            policy.on_end(&mut flow.flow, ending, ports);
        });
        let telemetry = &Silent;
        let silent = Ports {
            telemetry,
            ..*ports
        };
        for (limit, caller) in mem::take(&mut flow.keys) {
            if let Some(remaining) = self.policy.remaining(&limit, caller, &silent) {
                self.world.tell(Heard::Left(limit, remaining));
            }
        }
    }

    fn on_host_failure(&self, failure: HostFailure, ports: &Ports<'_>) -> Option<LocalReply> {
        self.told(ports, |policy, ports| {
            policy.on_host_failure(failure, ports)
        })
    }
}
