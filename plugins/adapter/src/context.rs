//! The host's callbacks, turned into questions to a policy, and its answers carried out.

use std::rc::Rc;

use portcullis_policy::{
    CallReply, HeaderEdit, Headers, HostFailure, LocalReply, MetricRegistry, Policy, Ports,
    Request, Setup, SharedData, Verdict,
};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

use crate::abi::{self, Map};
use crate::calls::{self, Caller, UnderWay};
use crate::headers::{decode, encode_edited};
use crate::host::{self, Detector, Host};
use crate::ports::{CallbackClock, HostEntropy, HostEnvironment, HostSharedData};
use crate::telemetry::HostTelemetry;
use crate::view::{EndView, ResponseView, Sent};
use crate::{configuration, reply};

/// From so many response headers on, one call that puts all back is cheaper than one for each.
const PUT_BACK_ALL_FROM: usize = 4;

/// A policy and what its streams share.
struct Shared<P> {
    policy: P,
    telemetry: HostTelemetry,
    detector: Rc<Detector>,
    calls: UnderWay,
}

impl<P: Policy> Shared<P> {
    /// Looks after what goes on between requests.
    fn tick(&self) {
        self.with_ports(|ports| self.policy.on_tick(ports));
        if self.calls.is_given_up() {
            calls::end_without_answer(self);
        } else if self.calls.is_none() {
            self.call_next();
        }
        self.telemetry.flush();
    }

    /// Makes the call that is due. One that can't be made waits for the next tick.
    fn call_next(&self) {
        let Some(call) = self.with_ports(|ports| self.policy.next_call(ports)) else {
            return;
        };
        if self
            .calls
            .dispatch(&call, self.policy.tick_every())
            .is_err()
        {
            let no_reply = portcullis_policy::NoReply;
            self.with_ports(|ports| self.policy.on_call_end(&no_reply, ports));
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

    fn on_call_end(&self, reply: &dyn CallReply) {
        self.with_ports(|ports| self.policy.on_call_end(reply, ports));
        self.call_next();
    }
}

/// One configured filter.
pub(crate) struct Root<P> {
    id: u32,
    shared: Option<Rc<Shared<P>>>,
    detector: Rc<Detector>,
    /// Kong takes the worker down when a root's tick period is set a second time.
    ticking: bool,
}

impl<P: Policy + 'static> Root<P> {
    pub(crate) fn new(id: u32) -> Self {
        Self {
            id,
            shared: None,
            detector: Rc::default(),
            ticking: false,
        }
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
            detector: Rc::clone(&self.detector),
            calls: UnderWay::default(),
        };
        shared.with_ports(|ports| shared.policy.prepare(ports));
        let millis = shared.policy.tick_every().as_nanos() / 1_000_000;
        let millis = u32::try_from(millis).unwrap_or(u32::MAX).max(1);
        let shared = Rc::new(shared);
        calls::register(self.id, &shared);
        self.shared = Some(shared);
        if !self.ticking {
            self.ticking = true;
            if abi::set_tick_period(millis).is_err() {
                log::warn!(
                    "{}: no tick: nothing is fetched, and counters go with refusals only",
                    P::NAME
                );
            }
        }
        Ok(())
    }
}

impl<P: Policy + 'static> Context for Root<P> {}

impl<P: Policy + 'static> RootContext for Root<P> {
    fn on_configure(&mut self, size: usize) -> bool {
        match self.configure(size) {
            Ok(()) => true,
            Err(error) => {
                log::error!("{}: {error}", P::NAME);
                false
            }
        }
    }

    fn on_tick(&mut self) {
        if let Some(shared) = self.shared.clone() {
            shared.tick();
        }
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream {
            shared: self.shared.clone(),
            flow: None,
            answered: false,
            response_seen: false,
            sent: Sent::All,
        }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

/// One request and its response.
struct Stream<P: Policy> {
    shared: Option<Rc<Shared<P>>>,
    /// `None` where this filter saw no request: a neighbour answered it.
    flow: Option<P::Flow>,
    /// Answered here: what follows is not the upstream's.
    answered: bool,
    response_seen: bool,
    sent: Sent,
}

impl<P: Policy> Stream<P> {
    fn failed(&mut self, shared: &Shared<P>, failure: HostFailure) -> Action {
        match shared.with_ports(|ports| shared.policy.on_host_failure(failure, ports)) {
            None => Action::Continue,
            Some(reply) => self.answer(shared, &reply),
        }
    }

    fn answer(&mut self, shared: &Shared<P>, reply: &LocalReply) -> Action {
        self.answered = true;
        if reply::send(reply, shared.detector.host()).is_err() {
            log::error!(
                "{}: the gateway did not send the answer; the request is held",
                P::NAME
            );
        }
        // Also where it was not sent: a request that is refused does not go on.
        Action::Pause
    }
}

/// Whether the host shows fewer headers than there are. Kong shows 100 at most, pseudo-headers
/// first: a client that sends more could hide one that it forged.
fn is_cut(headers: &Headers, count: usize, detector: &Detector) -> bool {
    const MOST_SHOWN_BY_KONG: usize = 100;
    if headers.len() < MOST_SHOWN_BY_KONG {
        return headers.len() < count;
    }
    // Kong counts without pseudo-headers, Envoy with them.
    let real = headers
        .iter()
        .filter(|(name, _)| !name.starts_with(b":"))
        .count();
    real < count && detector.host() != Some(Host::Envoy)
}

/// Carries out all changes, also those behind one that fails: if the request passes all the same,
/// nothing that was to be taken away passes with it.
fn apply(edits: &[HeaderEdit<'_>], map: Map, detector: &Detector) -> Result<(), abi::Status> {
    let mut outcome = Ok(());
    for edit in edits {
        let applied = match edit {
            // Kong has settled by now which path the upstream gets, and ends the request where a
            // query is to be set.
            HeaderEdit::Target(target) => match detector.host() {
                Some(Host::Envoy) => abi::replace_header(map, ":path", target),
                Some(Host::Kong) | None => Err(abi::Status::NOT_FOUND),
            },
            HeaderEdit::Set { name, value } => abi::replace_header(map, name, value),
            HeaderEdit::Clear { name } => match detector.host() {
                Some(Host::Envoy) => abi::remove_header(map, name),
                // On Kong a header that is removed still reaches the upstream. Emptied it does so
                // too, and a backend that takes `_` for `-` would join it with the one that is ours.
                Some(Host::Kong) | None => {
                    let folds = name.contains('_');
                    let emptied = abi::replace_header(map, name, b"");
                    emptied.and(if folds {
                        Err(abi::Status::NOT_FOUND)
                    } else {
                        Ok(())
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
            return Action::Continue;
        };
        let headers = abi::header_pairs(Map::Request).ok().and_then(decode);
        let Some(headers) = headers else {
            return self.failed(&shared, HostFailure::Headers);
        };
        if is_cut(&headers, count, &shared.detector) {
            return self.failed(&shared, HostFailure::HeadersCut);
        }
        let Ok(target) = host::original_target(shared.detector.host()) else {
            return self.failed(&shared, HostFailure::Headers);
        };
        let request = Request::new(&headers, &*shared.detector);
        let request = match &target {
            Some(target) => request.with_target(target),
            None => request,
        };
        // Only Envoy tells with the head whether the stream ends with it.
        let known = match (shared.detector.host(), ends) {
            (Some(Host::Envoy), false) => portcullis_policy::Sent::HeadOnly,
            (Some(Host::Envoy), true) | (Some(Host::Kong) | None, _) => {
                Sent::with(&headers).known()
            }
        };
        let request = request.with_sent(known);
        let (verdict, flow) = shared.with_ports(|ports| shared.policy.on_request(&request, ports));
        self.flow = Some(flow);
        self.sent = match shared.detector.host() {
            // Its log tells how a stream has ended.
            Some(Host::Envoy) => Sent::All,
            Some(Host::Kong) | None => Sent::with(&headers),
        };
        match verdict {
            Verdict::Refuse(reply) => self.answer(&shared, &reply),
            Verdict::Continue(edits) => {
                match apply(edits.as_slice(), Map::Request, &shared.detector) {
                    Ok(()) => Action::Continue,
                    Err(_) => self.failed(&shared, HostFailure::Edit),
                }
            }
        }
    }

    fn on_http_request_body(&mut self, _: usize, ends: bool) -> Action {
        self.sent = Sent::All;
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
        let view = ResponseView::new(&shared.detector, shared.policy.writes_response_headers());
        let edits = shared.with_ports(|ports| shared.policy.on_response(flow, &view, ports));
        let edits = edits.as_slice();
        let together = (edits.len() >= PUT_BACK_ALL_FROM)
            .then(|| view.headers())
            .flatten()
            .and_then(|headers| encode_edited(headers, edits));
        let applied = match together {
            Some(pairs) => abi::set_header_pairs(Map::Response, &pairs),
            None => apply(edits, Map::Response, &shared.detector),
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
        if let Some(shared) = self.shared.clone() {
            let response_seen = self.response_seen;
            self.end(&EndView::Logged {
                detector: &shared.detector,
                response_seen,
            });
        }
    }
}

impl<P: Policy> Stream<P> {
    fn end(&mut self, ending: &EndView<'_>) {
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
