//! `circuit_breaker` as a [`Policy`].

use std::cell::OnceCell;

use portcullis_policy::config::{ConfigError, Mode};
use portcullis_policy::{
    Control, Ending, Failure, FailureLines, FailureSettings, Failures, HostFailure, LocalReply,
    Origin, Policy, Ports, Problem, Request, RequestEdits, Response, ResponseEdits, Sent, Setup,
    Span, Timestamp, Verdict, colliding,
};
use portcullis_usage::Vendors;

use crate::NAME;
use crate::admitted::{Admitted, Progress};
use crate::breaker::Refusal;
use crate::circuit::Circuit;
use crate::classify::{Cause, Classifier, Outcome, Pace};
use crate::config::Config;
use crate::deadline::{self, Client};
use crate::flow::{Flow, Protocol};
use crate::status;
use crate::watch::{Watch, Watched, Watching};

/// Breakers, each known to all workers under its name.
///
/// A request that several breakers guard is asked of them in their order; the first that refuses
/// answers, and the others get their permits back. A breaker in shadow goes through all its states
/// by the requests that it would admit, just as one that is enforced; those that it would refuse
/// pass without being observed. So it opens and closes when the enforced one would have, and what
/// it logs is what would have been refused.
#[derive(Debug)]
pub struct CircuitBreaker {
    mode: Mode,
    status_path: Option<String>,
    control: Option<Control>,
    pub(crate) circuits: Vec<Circuit>,
    pub(crate) errors: Failures,
    /// Where answers' text stands, if a breaker waits for it.
    vendors: Option<Vendors>,
    watch: Watch,
}

/// Switching Protocols.
const UPGRADED: u16 = 101;

const OPEN: Problem = Problem {
    status: 503,
    kind: "circuit-open",
    title: "Service temporarily unavailable",
};

impl Policy for CircuitBreaker {
    const NAME: &'static str = NAME;
    type Config = Config;
    type Flow = Flow;

    fn from_config(config: Config, setup: &mut Setup<'_>) -> Result<Self, ConfigError> {
        config.check()?;
        let control = config
            .control
            .map(|control| Control::new(control, NAME, setup));
        let control = control.transpose()?;
        let status_path = config.status.map(|status| status.path.as_str().to_owned());
        if let (Some(control), Some(path)) = (&control, &status_path) {
            control.check_apart("status", path)?;
        }
        for (index, breaker) in config.breakers.as_slice().iter().enumerate() {
            if let Some(key) = breaker.reads_responses() {
                let shown = setup.check_reads_responses();
                shown.map_err(|error| error.within(&format!("breakers[{index}].{key}")))?;
            }
        }
        let circuits: Vec<Circuit> = config
            .breakers
            .into_vec()
            .into_iter()
            .enumerate()
            .map(|(index, breaker)| {
                let circuit = Circuit::new(breaker, config.mode, setup);
                circuit.map_err(|error| error.within(&format!("breakers[{index}]")))
            })
            .collect::<Result<_, _>>()?;
        if let Some((one, other)) = colliding(circuits.iter().map(|circuit| circuit.key.name())) {
            return Err(ConfigError::at(
                "breakers",
                format!("Kong takes {one:?} and {other:?} for one (equal CRC32); rename a breaker"),
            ));
        }
        let settings = FailureSettings {
            plugin: NAME,
            metric: "circuit_breaker_errors",
            mode: config.mode,
            on_error: config.on_error,
            lines: FailureLines::Refused,
        };
        let others = Failure::SLOT.into_iter().chain([Failure::Clock]);
        let errors = Failures::announce(settings, others, setup.metrics);
        Ok(Self {
            mode: config.mode,
            status_path,
            control,
            vendors: match circuits.iter().any(|circuit| circuit.waits_for_text) {
                true => Vendors::known().ok(),
                false => None,
            },
            watch: Watch::default(),
            circuits,
            errors,
        })
    }

    fn prepare(&self, ports: &Ports<'_>) {
        for circuit in &self.circuits {
            circuit.show(ports);
        }
    }

    /// What workers have not reported to each other yet is at most this old, and what the event loop is
    /// late: half of the 100 ms that are promised.
    fn tick_every(&self) -> Span {
        Span::from_millis(50)
    }

    fn on_tick(&self, ports: &Ports<'_>) {
        for circuit in &self.circuits {
            if let Err(failure) = circuit.merge(ports) {
                self.errors.count(failure, ports);
            }
        }
        self.look_for_silence(ports);
    }

    fn tells_with_ticks(&self) -> bool {
        !self.circuits.is_empty()
    }

    fn on_request<'a>(
        &'a self,
        request: &'a Request<'a>,
        ports: &Ports<'_>,
    ) -> (Verdict<'a>, Flow) {
        // Also where it is off: a token that is meant for this path goes nowhere else.
        if let Some(control) = &self.control
            && let Some(reply) = control.answer(request, self, ports)
        {
            return (Verdict::Refuse(reply), Flow::default());
        }
        if self
            .circuits
            .iter()
            .all(|circuit| circuit.on_open.is_none())
        {
            return self.ask(request, ports);
        }
        let mut edits = RequestEdits::none();
        self.guard(request, &mut edits);
        let (verdict, flow) = self.ask(request, ports);
        let verdict = match verdict {
            Verdict::Continue(more) => {
                edits.extend(more);
                Verdict::Continue(edits)
            }
            other => other,
        };
        (verdict, flow)
    }

    /// A client that sends slowly does not make the upstream slow, and holds no permit until now.
    fn on_request_sent(&self, flow: &mut Flow, ports: &Ports<'_>) {
        flow.sent = Sent::Whole;
        for admitted in &mut flow.admitted {
            let Some(circuit) = self.circuits.get(admitted.circuit) else {
                continue;
            };
            if admitted.started.is_some() {
                admitted.started = circuit.started(ports);
            }
            if admitted.progress != Progress::Waiting {
                continue;
            }
            if let Err(failure) = circuit.confirm(&mut admitted.ticket, ports) {
                self.errors.count(failure, ports);
            }
        }
    }

    fn on_response<'a>(
        &'a self,
        flow: &'a mut Flow,
        response: &dyn Response,
        ports: &Ports<'_>,
    ) -> ResponseEdits<'a> {
        if flow.admitted.is_empty() {
            return ResponseEdits::none();
        }
        let status = response.status();
        let grpc = match flow.protocol {
            Protocol::Http => None,
            Protocol::Grpc => response.grpc_status(),
        };
        let origin = OnceCell::new();
        let client = &flow.client(ports.clock);
        let sent = flow.sent;
        let watched = &mut flow.watched;
        for admitted in &mut flow.admitted {
            let Some(circuit) = self.circuits.get(admitted.circuit) else {
                continue;
            };
            if admitted.progress != Progress::Waiting {
                continue;
            }
            let pace = circuit.pace(admitted.started, ports);
            let Some(status) = status else {
                admitted.progress = Progress::Unread(pace);
                continue;
            };
            // Asking who made a response costs a host call, and for nearly all it does not matter.
            let matters = circuit.classifier.suspects(status)
                || grpc.is_some_and(|code| code != 0)
                || circuit.ends_something(&admitted.ticket)
                || (circuit.has_ratio() && !response.origin_is_told_later());
            let outcome = if matters {
                let origin = *origin.get_or_init(|| response.origin());
                circuit.classifier.head(status, grpc, origin, client)
            } else {
                Outcome::Success
            };
            if outcome == Outcome::Success
                && status != UPGRADED
                && circuit.watches()
                // Else it may be the upstream that waits.
                && sent == Sent::Whole
                && let Ok(now) = ports.clock.now()
            {
                let watching = watched.get_or_insert_with(|| {
                    let for_text = self.vendors.is_some();
                    Box::new(Watching::begin(response, for_text))
                });
                let begun = Admitted {
                    progress: Progress::Begun(pace),
                    ..*admitted
                };
                watching.parts.push(self.watch.begin(begun, now));
                // It is somebody else's from now on.
                admitted.progress = Progress::Settled;
                continue;
            }
            if outcome == Outcome::Success
                && let Err(failure) = circuit.succeeded(&mut admitted.ticket, ports)
            {
                self.errors.count(failure, ports);
            }
            // A probe's head is enough: its permit must not be held for as long as a stream lasts. So
            // is that of an upgrade: Envoy says of one that the upstream ends that it broke off, in
            // whatever order it was ended.
            if outcome == Outcome::Success && !admitted.ticket.is_probe() && status != UPGRADED {
                admitted.progress = Progress::HeadFine(pace);
            } else {
                self.settle(admitted, outcome, pace, ports);
            }
        }
        ResponseEdits::none()
    }

    fn reads_response(&self, flow: &Flow) -> bool {
        flow.watched.is_some()
    }

    fn on_response_bytes(&self, flow: &mut Flow, bytes: Option<&[u8]>, ports: &Ports<'_>) {
        let Some(watching) = &mut flow.watched else {
            return;
        };
        if watching.take(self.vendors.as_ref(), bytes) {
            for part in &watching.parts {
                self.say(part, ports);
            }
        }
    }

    fn on_response_whole(&self, flow: &mut Flow) {
        if let Some(watching) = &flow.watched {
            watching.stop();
        }
    }

    fn observes_ends(&self) -> bool {
        self.mode != Mode::Off
    }

    fn on_end(&self, flow: &mut Flow, ending: &dyn Ending, ports: &Ports<'_>) {
        // A host call, made once for all breakers.
        let origin = OnceCell::new();
        let origin = || *origin.get_or_init(|| ending.origin());
        let protocol = flow.protocol;
        let grpc = || match protocol {
            Protocol::Http => None,
            Protocol::Grpc => ending.grpc_status(),
        };
        let client = &flow.client(ports.clock);
        let parts = flow.watched.as_ref().map(|watching| &watching.parts);
        for part in parts.into_iter().flatten() {
            if let Ok(mut admitted) = part.admitted.try_borrow_mut() {
                self.end_one(&mut admitted, origin, grpc, client, ports);
            }
        }
        for admitted in &mut flow.admitted {
            self.end_one(admitted, origin, grpc, client, ports);
        }
    }

    fn on_host_failure(&self, failure: HostFailure, ports: &Ports<'_>) -> Option<LocalReply> {
        self.errors.on_host_failure(failure, ports)
    }
}

impl CircuitBreaker {
    /// Closes the books on one breaker's part in a stream that has ended.
    fn end_one(
        &self,
        admitted: &mut Admitted,
        origin: impl Fn() -> Origin,
        grpc: impl FnOnce() -> Option<u8>,
        client: &Client<'_>,
        ports: &Ports<'_>,
    ) {
        let Some(circuit) = self.circuits.get(admitted.circuit) else {
            return;
        };
        let (outcome, pace) = match admitted.progress {
            Progress::Waiting => (
                circuit.classifier.nothing(origin(), client),
                circuit.pace(admitted.started, ports),
            ),
            Progress::Unread(pace) => (circuit.classifier.unread(origin(), client), pace),
            Progress::Begun(_) => {
                let outcome = circuit.classifier.unsaid(origin(), grpc, client);
                if outcome == Outcome::Success
                    && let Err(failure) = circuit.succeeded(&mut admitted.ticket, ports)
                {
                    self.errors.count(failure, ports);
                }
                (outcome, circuit.pace(admitted.started, ports))
            }
            Progress::HeadFine(pace) => {
                if let Some(cause) = Classifier::breaks_off(origin(), client) {
                    circuit.tell_broken_off(cause, ports);
                }
                (circuit.classifier.rest(origin(), grpc, client), pace)
            }
            Progress::Settled => return,
        };
        self.settle(admitted, outcome, pace, ports);
    }

    /// The first content of an answer has come: now it is what a head is elsewhere.
    fn say(&self, part: &Watched, ports: &Ports<'_>) {
        let Ok(mut admitted) = part.admitted.try_borrow_mut() else {
            return;
        };
        let Some(circuit) = self.circuits.get(admitted.circuit) else {
            return;
        };
        circuit.tell_first(admitted.started, ports);
        let Progress::Begun(pace) = admitted.progress else {
            return;
        };
        let pace = match circuit.waits_for_text {
            true => circuit.pace(admitted.started, ports),
            false => pace,
        };
        if let Err(failure) = circuit.succeeded(&mut admitted.ticket, ports) {
            self.errors.count(failure, ports);
        }
        admitted.progress = Progress::HeadFine(pace);
        if admitted.ticket.is_probe() {
            self.settle(&mut admitted, Outcome::Success, pace, ports);
        }
    }

    /// Streams in which nothing has come for too long have failed now, and not when a timeout far later ends them.
    fn look_for_silence(&self, ports: &Ports<'_>) {
        let living = self.watch.living();
        if living.is_empty() {
            return;
        }
        let Ok(now) = ports.clock.now() else {
            return;
        };
        for part in living {
            let Some(silence) = part.looked_at(now) else {
                continue;
            };
            let Ok(mut admitted) = part.admitted.try_borrow_mut() else {
                continue;
            };
            let Some(circuit) = self.circuits.get(admitted.circuit) else {
                continue;
            };
            let Some((outcome, pace)) = circuit.hears_nothing(&admitted, silence, now) else {
                continue;
            };
            if outcome == Outcome::Failure(Cause::Stall) {
                circuit.tell_stalled(ports);
            }
            self.settle(&mut admitted, outcome, pace, ports);
        }
    }
}

impl CircuitBreaker {
    /// Closes the books on a request that another policy refuses after this one has admitted it: it
    /// says nothing about the upstream, and a permit that it holds is free again.
    pub fn give_back(&self, flow: &mut Flow, ports: &Ports<'_>) {
        for admitted in &mut flow.admitted {
            if admitted.progress != Progress::Settled {
                self.settle(admitted, Outcome::Ignored, Pace::Quick, ports);
            }
        }
    }

    /// Lets no client say that its request is to go elsewhere: for `edge`, before anybody says so.
    pub fn guard<'a>(&'a self, request: &Request<'_>, edits: &mut RequestEdits<'a>) {
        for circuit in &self.circuits {
            if let (Mode::Enforce, Some(on_open)) = (circuit.mode, &circuit.on_open) {
                on_open.guard(request.headers(), edits);
            }
        }
    }

    /// Asks the breakers: for `edge`, once [guarded](Self::guard).
    pub fn ask<'a>(&'a self, request: &Request<'_>, ports: &Ports<'_>) -> (Verdict<'a>, Flow) {
        let mut flow = Flow::default();
        if self.mode == Mode::Off {
            return (Verdict::Continue(RequestEdits::none()), flow);
        }
        if self.is_for_status(request) {
            return (Verdict::Refuse(self.status(request, ports)), flow);
        }
        match self.admit(request, &mut flow, ports) {
            Ok(edits) => (Verdict::Continue(edits), flow),
            Err(reply) => {
                self.give_back(&mut flow, ports);
                (Verdict::Refuse(reply), flow)
            }
        }
    }

    /// The path at which it shows its states.
    #[must_use]
    pub fn status_path(&self) -> Option<&str> {
        self.status_path.as_deref()
    }

    /// The keys that it has in shared data, for whoever keeps other things there too: all of them
    /// together must be free of [`colliding`] names.
    pub fn slot_names(&self) -> impl Iterator<Item = &str> {
        self.circuits.iter().map(|circuit| circuit.key.name())
    }

    fn admit(
        &self,
        request: &Request<'_>,
        flow: &mut Flow,
        ports: &Ports<'_>,
    ) -> Result<RequestEdits<'_>, LocalReply> {
        let mut edits = RequestEdits::none();
        for (index, circuit) in self.circuits.iter().enumerate() {
            if !circuit.guards(request) {
                continue;
            }
            match circuit.admit(request.sent(), ports) {
                Ok(Ok(ticket)) => flow.admitted.push(Admitted {
                    circuit: index,
                    ticket,
                    started: circuit.started(ports),
                    progress: Progress::Waiting,
                }),
                Ok(Err(_)) if circuit.mode == Mode::Enforce && circuit.on_open.is_some() => {
                    circuit.count_elsewhere(ports);
                    if let Some(on_open) = &circuit.on_open {
                        on_open.take(&mut edits);
                    }
                }
                Ok(Err(refusal)) => {
                    circuit.tell_refusal(refusal, request, ports);
                    if circuit.mode == Mode::Enforce {
                        return Err(refused(refusal, &circuit.name, request));
                    }
                }
                Err(failure) => {
                    if self.errors.is_refused(failure, circuit.mode, ports) {
                        return Err(self.errors.refuse(failure, request, ports));
                    }
                }
            }
        }
        if flow.admitted.is_empty() {
            return Ok(edits);
        }
        if request.is_grpc() {
            flow.protocol = Protocol::Grpc;
        }
        flow.sent = request.sent();
        // Without a clock it is over from the start: what can't be measured counts for nothing.
        flow.deadline = deadline::named_by(request).map(|span| {
            let now = ports.clock.now();
            now.map_or(Timestamp::default(), |now| now.after(span))
        });
        Ok(edits)
    }

    /// What fails here is not tried again: half of it may have been done, and to settle a request
    /// twice is worse than not at all. A permit that is lost so comes back with its lease.
    fn settle(&self, admitted: &mut Admitted, outcome: Outcome, pace: Pace, ports: &Ports<'_>) {
        admitted.progress = Progress::Settled;
        let Some(circuit) = self.circuits.get(admitted.circuit) else {
            return;
        };
        if let Err(failure) = circuit.settle(&admitted.ticket, outcome, pace, ports) {
            self.errors.count(failure, ports);
        }
    }

    fn is_for_status(&self, request: &Request<'_>) -> bool {
        self.status_path.as_deref().is_some_and(|ours| {
            matches!(request.method(), "GET" | "HEAD")
                && request.path().is_ok_and(|path| path.as_str() == ours)
        })
    }

    /// Without a state that can be read the answer is 503, whatever `on_error` says.
    fn status(&self, request: &Request<'_>, ports: &Ports<'_>) -> LocalReply {
        status::answer(&self.circuits, request, ports).unwrap_or_else(|failure| {
            self.errors.count(failure, ports);
            Problem::UNAVAILABLE
                .reply(request)
                .because(NAME, failure.as_str())
        })
    }
}

fn refused(refusal: Refusal, breaker: &str, request: &Request<'_>) -> LocalReply {
    OPEN.reply(request)
        .because(NAME, breaker)
        .with("retry-after", refusal.retry_after_secs().to_string())
}
