//! The host's callbacks, turned into questions to a policy, and its answers carried out.

use std::cell::Cell;
use std::rc::Rc;

use portcullis_policy::{
    CallId, CallReply, HeaderEdit, HostFailure, LocalReply, LogLine, MOST_CALLS, MetricRegistry,
    NoReply, Policy, Ports, Problem, Request, Sent, Setup, SharedData, Verdict, is_folded,
};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

use crate::abi::{self, Map};
use crate::calls::{self, Caller, UnderWay};
use crate::head::{SentWithHead, are_too_many, is_cut};
use crate::headers::{decode, encode_edited};
use crate::host::{self, Host};
use crate::ports::{CallbackClock, HostEntropy, HostEnvironment, HostSharedData};
use crate::telemetry::HostTelemetry;
use crate::view::{EndView, ResponseView};
use crate::{configuration, reply};

/// From so many response headers on, one call that puts all back is cheaper than one for each.
const PUT_BACK_ALL_FROM: usize = 4;

/// A policy and what its streams share.
struct Shared<P> {
    policy: P,
    telemetry: HostTelemetry,
    host: Host,
    /// Whether [`Policy::prepare`] was called.
    prepared: Cell<bool>,
    calls: UnderWay,
}

impl<P: Policy> Shared<P> {
    /// Lays out what workers share, once. On Kong not while it is configured: without a zone of shared memory reading it
    /// traps, and a trap there leaves the gateway open, while one within a request answers it with 500.
    fn prepare(&self) {
        if !self.prepared.replace(true) {
            self.with_ports(|ports| self.policy.prepare(ports));
        }
    }

    /// Looks after what goes on between requests.
    fn tick(&self) {
        // Without a zone of shared memory each tick on Kong would trap, start the filter anew and with it one more timer: so
        // a policy that can wait for its first request does.
        if self.host == Host::Envoy || self.policy.fetches() {
            self.prepare();
        }
        self.with_ports(|ports| self.policy.on_tick(ports));
        for call in self.calls.given_up() {
            self.on_call_end(call, &NoReply::Unanswered);
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
            let tick = self.policy.tick_every();
            if let Err(no_reply) = self.calls.dispatch(id, &call, tick) {
                self.with_ports(|ports| self.policy.on_call_end(id, &no_reply, ports));
            }
        }
    }

    /// Runs `ask` with ports whose clock is read at most once.
    fn with_ports<R>(&self, ask: impl FnOnce(&Ports<'_>) -> R) -> R {
        let result = ask(&Ports {
            clock: &CallbackClock::default(),
            entropy: &HostEntropy,
            store: &SharedData(HostSharedData),
            telemetry: &self.telemetry,
        });
        self.telemetry.flush_if_urgent();
        result
    }
}

impl<P: Policy> Caller for Shared<P> {
    fn calls(&self) -> &UnderWay {
        &self.calls
    }

    fn on_call_end(&self, call: CallId, reply: &dyn CallReply) {
        self.with_ports(|ports| self.policy.on_call_end(call, reply, ports));
        match self.host {
            Host::Envoy => self.call_next(),
            // With the next tick: Kong's worker dies of a call that is made while it hands over the answer to another.
            Host::Kong => {}
        }
    }
}

/// One configured filter.
pub(crate) struct Root<P> {
    id: u32,
    host: Host,
    /// `None` where its configuration was refused: it lets nothing pass.
    shared: Option<Rc<Shared<P>>>,
    refused: Option<Refused>,
    /// Kong takes the worker down when a root's tick period is set a second time.
    ticking: bool,
}

/// Why a filter lets nothing pass.
struct Refused {
    error: String,
    /// Since it was last said.
    ticks: u32,
}

impl Refused {
    /// Of a filter whose configuration was refused.
    const TICK_MILLIS: u32 = 1000;
    /// It is said again after so many.
    const SILENT_TICKS: u32 = 60;
}

impl<P: Policy + 'static> Root<P> {
    pub(crate) fn new(id: u32) -> Self {
        Self {
            id,
            host: Host::at_hand(),
            shared: None,
            refused: None,
            ticking: false,
        }
    }

    /// Sets the tick, once: another period can't be had on Kong.
    fn start_ticking(&mut self, millis: u32) {
        if self.ticking {
            return;
        }
        self.ticking = true;
        if abi::set_tick_period(millis).is_err() {
            log::warn!(
                "{}: no tick: nothing is fetched, and counters go with refusals only",
                P::NAME
            );
        }
    }

    fn tell_refused(error: &str) {
        log::error!(
            "{}: {error}; every request gets 503 until this is mended",
            P::NAME
        );
    }

    fn configure(&mut self, size: usize) -> Result<(), String> {
        let bytes = abi::plugin_configuration(size)
            .map_err(|_| "configuration: the gateway did not hand it over".to_owned())?;
        let config = configuration::parse(&bytes).map_err(|error| error.to_string())?;
        let mut metrics = MetricRegistry::default();
        let mut setup = Setup {
            environment: &HostEnvironment,
            metrics: &mut metrics,
        };
        let policy = P::from_config(config, &mut setup).map_err(|error| error.to_string())?;
        let shared = Shared {
            policy,
            telemetry: HostTelemetry::define(&metrics),
            host: self.host,
            prepared: Cell::new(false),
            calls: UnderWay::default(),
        };
        match self.host {
            Host::Envoy => shared.prepare(),
            // With the first tick or request.
            Host::Kong => {}
        }
        let millis = shared.policy.tick_every().as_nanos() / 1_000_000;
        let millis = u32::try_from(millis).unwrap_or(u32::MAX).max(1);
        let shared = Rc::new(shared);
        calls::register(self.id, &shared);
        self.shared = Some(shared);
        self.refused = None;
        self.start_ticking(millis);
        Ok(())
    }
}

impl<P: Policy + 'static> Context for Root<P> {}

impl<P: Policy + 'static> RootContext for Root<P> {
    fn on_configure(&mut self, size: usize) -> bool {
        let Err(error) = self.configure(size) else {
            return true;
        };
        self.shared = None;
        match self.host {
            // The listener is refused, and the one before it stays.
            Host::Envoy => {
                log::error!("{}: {error}", P::NAME);
                false
            }
            // Kong would go on without any filter, for all of its services.
            Host::Kong => {
                Self::tell_refused(&error);
                self.refused = Some(Refused { error, ticks: 0 });
                self.start_ticking(Refused::TICK_MILLIS);
                true
            }
        }
    }

    fn on_tick(&mut self) {
        if let Some(shared) = self.shared.clone() {
            shared.tick();
        }
        if let Some(refused) = &mut self.refused {
            refused.ticks = refused.ticks.saturating_add(1);
            if refused.ticks >= Refused::SILENT_TICKS {
                refused.ticks = 0;
                Self::tell_refused(&refused.error);
            }
        }
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream {
            host: self.host,
            shared: self.shared.clone(),
            flow: None,
            answered: false,
            response_seen: false,
            sent: Sent::Whole,
            no_body_expected: false,
        }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

/// One request and its response.
struct Stream<P: Policy> {
    host: Host,
    shared: Option<Rc<Shared<P>>>,
    /// `None` where this filter saw no request: a neighbour answered it.
    flow: Option<P::Flow>,
    /// Answered here: what follows is not the upstream's.
    answered: bool,
    response_seen: bool,
    sent: Sent,
    /// Of what passed as a preflight, which has none: on Kong its head does not tell.
    no_body_expected: bool,
}

impl<P: Policy> Stream<P> {
    fn failed(&mut self, shared: &Shared<P>, failure: HostFailure) -> Action {
        match shared.with_ports(|ports| shared.policy.on_host_failure(failure, ports)) {
            None => Action::Continue,
            Some(reply) => self.answer(&reply),
        }
    }

    fn answer(&mut self, reply: &LocalReply) -> Action {
        self.answered = true;
        if reply::send(reply, self.host).is_err() {
            log::error!(
                "{}: the gateway did not send the answer; the request is held",
                P::NAME
            );
        }
        // Also where it was not sent: a request that is refused does not go on.
        Action::Pause
    }
}

/// Carries out all changes, also those behind one that fails: if the request passes all the same,
/// nothing that was to be taken away passes with it.
fn apply(edits: &[HeaderEdit<'_>], map: Map, host: Host) -> Result<(), abi::Status> {
    let mut outcome = Ok(());
    for edit in edits {
        let applied = match edit {
            // Kong has settled by now which path the upstream gets, and ends the request where a
            // query is to be set.
            HeaderEdit::Target(target) => match host {
                Host::Envoy => abi::replace_header(map, ":path", target),
                Host::Kong => Err(abi::Status::NOT_FOUND),
            },
            HeaderEdit::Set { name, value } => abi::replace_header(map, name, value),
            HeaderEdit::Clear { name } => match host {
                Host::Envoy => abi::remove_header(map, name),
                // On Kong a header that is removed still reaches the upstream. Emptied it does so
                // too, and a backend that folds its name would join it with the one that is ours.
                Host::Kong => {
                    let emptied = abi::replace_header(map, name, b"");
                    emptied.and(match is_folded(name) {
                        true => Err(abi::Status::NOT_FOUND),
                        false => Ok(()),
                    })
                }
            },
        };
        outcome = outcome.and(applied);
    }
    outcome
}

impl<P: Policy> Context for Stream<P> {}

impl<P: Policy> HttpContext for Stream<P> {
    fn on_http_request_headers(&mut self, count: usize, ends: bool) -> Action {
        let Some(shared) = self.shared.clone() else {
            let reply = Problem::UNAVAILABLE.reply_blind();
            return self.answer(&reply.because(P::NAME, "not_configured"));
        };
        shared.prepare();
        if are_too_many(count, self.host) {
            return self.failed(&shared, HostFailure::HeadersCut);
        }
        let headers = abi::header_pairs(Map::Request).ok().and_then(decode);
        let Some(headers) = headers else {
            return self.failed(&shared, HostFailure::Headers);
        };
        if is_cut(&headers, count, self.host) {
            return self.failed(&shared, HostFailure::HeadersCut);
        }
        let Ok(target) = host::original_target(self.host) else {
            return self.failed(&shared, HostFailure::Headers);
        };
        let request = Request::new(&headers, &shared.host);
        let request = match &target {
            Some(target) => request.with_target(target),
            None => request,
        };
        let sent = SentWithHead::of(&request, ends, self.host, shared.policy.observes_ends());
        let request = request.with_sent(sent.told);
        let (verdict, flow) = shared.with_ports(|ports| shared.policy.on_request(&request, ports));
        self.flow = Some(flow);
        self.sent = sent.at_deletion;
        self.no_body_expected = sent.no_body_expected;
        match verdict {
            Verdict::Refuse(reply) => self.answer(&reply),
            Verdict::Continue(edits) => match apply(edits.as_slice(), Map::Request, self.host) {
                Ok(()) => Action::Continue,
                Err(_) => self.failed(&shared, HostFailure::Edit),
            },
        }
    }

    fn on_http_request_body(&mut self, size: usize, ends: bool) -> Action {
        self.sent = Sent::Whole;
        if let (Some(shared), true) = (
            &self.shared,
            self.no_body_expected && size > 0 && !self.answered,
        ) {
            const REASON: &str = "preflight_with_body";
            let line = LogLine::new(P::NAME, "refused").with("reason", REASON);
            shared.with_ports(|ports| ports.telemetry.log(line));
            let reply = Problem::LENGTH_REQUIRED.reply_blind();
            return self.answer(&reply.because(P::NAME, REASON));
        }
        if let (Some(shared), Some(flow), true, false) =
            (self.shared.clone(), &mut self.flow, ends, self.answered)
        {
            shared.with_ports(|ports| shared.policy.on_request_sent(flow, ports));
        }
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        let (Some(shared), Some(flow), false) =
            (self.shared.clone(), &mut self.flow, self.answered)
        else {
            return Action::Continue;
        };
        self.response_seen = true;
        let view = ResponseView::new(self.host, shared.policy.writes_response_headers());
        let edits = shared.with_ports(|ports| shared.policy.on_response(flow, &view, ports));
        let edits = edits.as_slice();
        let together = (edits.len() >= PUT_BACK_ALL_FROM)
            .then(|| view.headers())
            .flatten()
            .and_then(|headers| encode_edited(headers, edits));
        let applied = match together {
            Some(pairs) => abi::set_header_pairs(Map::Response, &pairs),
            None => apply(edits, Map::Response, self.host),
        };
        if applied.is_err() {
            // The answer is worth more than what was to be added to it.
            log::warn!(
                "{}: the gateway did not take changes to a response",
                P::NAME
            );
        }
        Action::Continue
    }

    fn on_log(&mut self) {
        self.end(&EndView::Logged {
            host: self.host,
            response_seen: self.response_seen,
        });
    }
}

impl<P: Policy> Stream<P> {
    fn end(&mut self, ending: &EndView) {
        let (Some(shared), Some(flow)) = (self.shared.clone(), &mut self.flow) else {
            return;
        };
        let ending = if self.answered {
            &EndView::Answered
        } else {
            ending
        };
        shared.with_ports(|ports| shared.policy.on_end(flow, ending, ports));
    }
}

impl<P: Policy> Drop for Stream<P> {
    fn drop(&mut self) {
        let sent = self.sent;
        self.end(&EndView::Dropped { sent });
    }
}
