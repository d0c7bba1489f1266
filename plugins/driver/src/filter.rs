//! A policy in force, and what its streams share.

use std::cell::Cell;
use std::rc::{Rc, Weak};

use portcullis_policy::{
    CallId, CallReply, Clock, ClockUnavailable, Ending, Entropy, EntropyUnavailable, Headers,
    HostFailure, MOST_CALLS, MetricRegistry, NoReply, Policy, Ports, Problem, Span, Timestamp,
    Verdict,
};

use crate::body::Bound;
use crate::calls::UnderWay;
use crate::host::{Exchange, Host, StreamId};
use crate::phase::{Decided, Head, Held, Holding, Passed, Phase, Reading, Step, Waiting};
use crate::telemetry::BatchedTelemetry;

/// A policy in force in one worker.
pub struct Filter<P: Policy, H: Host> {
    pub(crate) policy: P,
    pub(crate) host: H,
    telemetry: BatchedTelemetry<H>,
    /// Whether [`Policy::prepare`] was called.
    prepared: Cell<bool>,
    /// Whether it has calls, and another instance makes them.
    leaves_calls: bool,
    calls: UnderWay,
    pub(crate) holding: Holding<P::Flow>,
    /// Those that wait for their bodies.
    pub(crate) reading: Holding<P::Flow>,
    /// Whether the log has said that a body did not come.
    pub(crate) told_of_no_body: Cell<bool>,
}

/// So many requests are decided on in an event that is none of their own. Each may cost a check of a signature. And what Envoy answers
/// by itself, a refusal or a route without an upstream, comes back into the module before the next one is gone on with: some 300 of them
/// are more than V8's stack holds.
pub(crate) const MOST_AT_ONCE: usize = 32;

/// What a policy made of a request.
pub(crate) enum Ruling<F> {
    Decided(Decided<F>),
    /// Its body decides.
    Read(Reading<F>),
    /// It waits for a call's end.
    Wait(Waiting<F>),
}

impl<P: Policy, H: Host> Filter<P, H> {
    pub(crate) fn new(policy: P, host: H, metrics: &MetricRegistry) -> Self {
        let filter = Self {
            leaves_calls: !H::MAKES_CALLS && policy.fetches(),
            policy,
            telemetry: BatchedTelemetry::define(host.clone(), metrics),
            host,
            prepared: Cell::new(false),
            calls: UnderWay::default(),
            holding: Holding::default(),
            reading: Holding::default(),
            told_of_no_body: Cell::new(false),
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
    pub fn tick(&self) {
        // Where shared data may fail before a request comes, a policy that can wait for its first request does.
        if H::SHARES_BEFORE_REQUESTS || self.policy.fetches() {
            self.prepare();
        }
        self.with_ports(|ports| self.policy.on_tick(ports));
        for call in self.calls.given_up() {
            self.end_call(call, &NoReply::Unanswered);
        }
        self.call_next();
        self.time_readings_out(1);
        self.telemetry.flush();
        self.wake(1);
    }

    /// Looks at what others have shared, although no tick is due.
    pub fn look(&self) {
        self.with_ports(|ports| self.policy.on_tick(ports));
        self.wake(0);
    }

    /// Hears that another instance's request lacks what this call would bring.
    pub fn want(&self, call: CallId) {
        self.with_ports(|ports| self.policy.want(call, ports));
        // Any other goes with the next tick, as everywhere.
        if self.policy.is_urgent() {
            self.call_next();
        }
    }

    /// The worker has no request left, and may have no tick for as long.
    pub fn idle(&self) {
        self.with_ports(|ports| self.policy.on_idle(ports));
    }

    /// How often it is to have a tick.
    pub fn tick_every(&self) -> Span {
        self.policy.tick_every()
    }

    /// Whether it keeps something for its next tick that others go by.
    pub fn tells_with_ticks(&self) -> bool {
        self.policy.tells_with_ticks()
    }

    /// Makes the calls that are due. One that can't be made is due again at some later tick.
    fn call_next(&self) {
        if !H::MAKES_CALLS {
            return;
        }
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

    /// Makes the calls that are due, if a request waits for one. What is asked of the host from now on is about no stream.
    pub(crate) fn call_urgent(&self) {
        if H::MAKES_CALLS && self.policy.is_urgent() && self.host.leave_stream().is_ok() {
            self.call_next();
        }
    }

    /// Hands over the answer to the call of this number. Whether it is one of its own; one that was given up is not.
    pub fn on_answer(&self, number: u32, reply: &dyn CallReply) -> bool {
        let call = self.calls.take(number);
        if let Some(call) = call {
            self.end_call(call, reply);
            self.wake(0);
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

    /// Asks the policy, and carries out what it says. `held`: whether the head was read some time ago.
    pub(crate) fn decide<X: Exchange>(
        &self,
        exchange: &X,
        head: &Head,
        held: bool,
    ) -> Ruling<P::Flow> {
        let request = head.request(exchange);
        let body = exchange.body(&request, head.ends, self.policy.observes_ends());
        let request = request.with_sent(body.sent);
        let (verdict, flow) = self.with_ports(|ports| self.policy.on_request(&request, ports));
        self.hand_over_wants();
        let passed = Passed {
            flow,
            body,
            bound: Bound::default(),
        };
        let sent = (!held).then_some(&head.headers);
        match self.carry_out(exchange, passed, sent, None, verdict) {
            Ruling::Read(reading) if !H::ABILITIES.reads_requests => {
                Ruling::Decided(self.unreadable(exchange, reading.passed))
            }
            Ruling::Wait(waiting) if !H::ABILITIES.holds_requests => {
                Ruling::Decided(self.wait_no_longer(exchange, head, waiting))
            }
            ruling => ruling,
        }
    }

    /// Does what the policy says of a request, and is a part of whoever asks it: what a policy remembers is large to hand about. `sent`: its headers as they are, where they were read in this callback; `read`: how long its body is, where that was read whole.
    #[inline(always)]
    pub(crate) fn carry_out<X: Exchange>(
        &self,
        exchange: &X,
        mut passed: Passed<P::Flow>,
        sent: Option<&Headers>,
        read: Option<usize>,
        verdict: Verdict<'_>,
    ) -> Ruling<P::Flow> {
        Ruling::Decided(match verdict {
            Verdict::Read { most } => {
                return Ruling::Read(Reading {
                    passed,
                    most,
                    read: 0,
                });
            }
            Verdict::Wait { longest } => {
                return Ruling::Wait(Waiting {
                    passed,
                    longest,
                    read,
                });
            }
            Verdict::Refuse(reply) => Phase::Requested(passed).answer(exchange, &reply, P::NAME),
            Verdict::Continue(edits) => {
                passed.bound = Bound::of(edits.most_body());
                let phase = Phase::Requested(passed);
                let splices = edits.body();
                if !splices.is_empty()
                    && read.is_none_or(|size| exchange.change_request_body(size, splices).is_err())
                {
                    // Whatever `on_error` says: what of it would go on is not known.
                    let reply = Problem::UNAVAILABLE.reply_blind();
                    let reply = reply.because(P::NAME, "body_not_changed");
                    return Ruling::Decided(phase.answer(exchange, &reply, P::NAME));
                }
                match exchange.change_request(sent, &edits) {
                    Ok(()) => Decided {
                        phase,
                        step: Step::Continue,
                    },
                    Err(_) => self.fail(exchange, phase, HostFailure::Edit),
                }
            }
        })
    }

    /// Refuses a request whose body is longer than what may pass.
    pub(crate) fn too_long<X: Exchange>(
        &self,
        exchange: &X,
        phase: Phase<P::Flow>,
    ) -> Decided<P::Flow> {
        let reply = Problem::CONTENT_TOO_LARGE.reply_blind();
        let reply = reply.because(P::NAME, "body_too_long");
        phase.answer(exchange, &reply, P::NAME)
    }

    /// Refuses a request whose body would have to be read, and can't be.
    pub(crate) fn unreadable<X: Exchange>(
        &self,
        exchange: &X,
        passed: Passed<P::Flow>,
    ) -> Decided<P::Flow> {
        let reply = Problem::UNAVAILABLE.reply_blind();
        let reply = reply.because(P::NAME, "body_unreadable");
        Phase::Requested(passed).answer(exchange, &reply, P::NAME)
    }

    /// Says what requests lack, where another instance makes the calls.
    pub(crate) fn hand_over_wants(&self) {
        if self.leaves_calls {
            for call in self.policy.take_wanted() {
                self.host.want(call);
            }
        }
    }

    /// Does what the policy says of a request that the host did not show, or did not change.
    pub(crate) fn fail<X: Exchange>(
        &self,
        exchange: &X,
        phase: Phase<P::Flow>,
        failure: HostFailure,
    ) -> Decided<P::Flow> {
        match self.with_ports(|ports| self.policy.on_host_failure(failure, ports)) {
            None => Decided {
                phase,
                step: Step::Continue,
            },
            Some(reply) => phase.answer(exchange, &reply, P::NAME),
        }
    }

    /// Asks anew for all requests that are held, and goes on with those that need not be: with so many at a time that others do
    /// not wait for it. The last thing of a callback: what follows would be about one of their streams. `ticks`: how many have
    /// passed.
    pub(crate) fn wake(&self, ticks: u64) {
        if self.holding.is_empty() {
            return;
        }
        let mut waking = Waking {
            filter: self,
            rest: self.holding.take_all().into_iter(),
            at_hand: None,
        };
        let mut decided = 0;
        while let Some((stream, held)) = waking.next() {
            let longer = held.passes(ticks);
            if decided >= MOST_AT_ONCE {
                waking.keep();
                continue;
            }
            let Ok(exchange) = self.host.enter(stream) else {
                waking.keep();
                continue;
            };
            let ruling = match held.take_waiting() {
                Some(waiting) => self.ask_waiting(&exchange, &held.head, waiting, !longer),
                None => {
                    let request = held.head.request(&exchange);
                    if longer
                        && self.with_ports(|ports| self.policy.hold(&request, ports).is_some())
                    {
                        waking.keep();
                        continue;
                    }
                    self.decide(&exchange, &held.head, true)
                }
            };
            let ruling = match ruling {
                Ruling::Wait(waiting) if longer => {
                    held.put_waiting(waiting);
                    waking.keep();
                    continue;
                }
                // It was held for what it needs before it was asked for.
                Ruling::Wait(waiting) => {
                    let decided = self.wait_no_longer(&exchange, &held.head, waiting);
                    Ruling::Decided(decided)
                }
                ruling => ruling,
            };
            decided = decided.saturating_add(1);
            let decided = match ruling {
                Ruling::Decided(mut decided) => {
                    if let (Phase::Requested(passed), true) = (
                        &mut decided.phase,
                        held.body_ended.get() && !held.was_read.get(),
                    ) {
                        self.with_ports(|ports| {
                            self.policy.on_request_sent(&mut passed.flow, ports);
                        });
                    }
                    match decided.admits(held.body_size.get()) {
                        true => Some(decided),
                        false => Some(self.too_long(&exchange, decided.phase)),
                    }
                }
                Ruling::Read(reading) => {
                    self.keep_reading(stream, &held, reading);
                    self.read(&exchange, stream, &held)
                }
                Ruling::Wait(_) => None,
            };
            waking.done();
            if let Some(decided) = decided {
                self.put_decided(stream, &held, decided);
            }
        }
        drop(waking);
        self.call_urgent();
        self.telemetry.flush();
    }

    /// A request is to wait for a call's end: holds it. Where there is no room for one more, it is decided on now.
    pub(crate) fn begin_waiting<X: Exchange>(
        &self,
        exchange: &X,
        stream: StreamId,
        head: Head,
        waiting: Waiting<P::Flow>,
    ) -> Result<Rc<Held<P::Flow>>, Decided<P::Flow>> {
        if !self.holding.has_room(Holding::<P::Flow>::MOST) {
            return Err(self.wait_no_longer(exchange, &head, waiting));
        }
        let held = Rc::new(Held::new(head, 1));
        self.keep_waiting(stream, &held, waiting);
        Ok(held)
    }

    /// Has the request at hand, which is held, wait for a call's end; makes that call if it is due.
    pub(crate) fn keep_waiting(
        &self,
        stream: StreamId,
        held: &Rc<Held<P::Flow>>,
        waiting: Waiting<P::Flow>,
    ) {
        held.was_read.set(waiting.read.is_some());
        held.begin_waiting(waiting, self.policy.tick_every());
        self.holding.keep(stream, Rc::downgrade(held));
        self.call_urgent();
        // What follows in this callback is about this stream again.
        let _ = self.host.enter(stream);
    }

    /// Decides on a request that would have to wait, and can't.
    pub(crate) fn wait_no_longer<X: Exchange>(
        &self,
        exchange: &X,
        head: &Head,
        waiting: Waiting<P::Flow>,
    ) -> Decided<P::Flow> {
        match self.ask_waiting(exchange, head, waiting, true) {
            Ruling::Decided(decided) => decided,
            Ruling::Wait(Waiting { passed, .. }) | Ruling::Read(Reading { passed, .. }) => {
                let reply = Problem::UNAVAILABLE.reply_blind();
                let reply = reply.because(P::NAME, "undecided");
                Phase::Requested(passed).answer(exchange, &reply, P::NAME)
            }
        }
    }

    /// Asks the policy anew about a request that waits.
    fn ask_waiting<X: Exchange>(
        &self,
        exchange: &X,
        head: &Head,
        waiting: Waiting<P::Flow>,
        is_last: bool,
    ) -> Ruling<P::Flow> {
        let Waiting {
            mut passed, read, ..
        } = waiting;
        let request = head.request(exchange).with_sent(passed.body.sent);
        let verdict = self.with_ports(|ports| {
            self.policy
                .on_request_waited(&request, &mut passed.flow, is_last, ports)
        });
        self.hand_over_wants();
        self.carry_out(exchange, passed, None, read, verdict)
    }

    /// A stream has ended.
    pub(crate) fn end(&self, phase: &mut Phase<P::Flow>, ending: &dyn Ending) {
        if let Phase::Requested(Passed { flow, .. })
        | Phase::Responded(Passed { flow, .. }, _)
        | Phase::Answered(Some(flow)) = phase
        {
            self.with_ports(|ports| self.policy.on_end(flow, ending, ports));
        }
    }

    /// Runs `ask` with ports whose clock is read at most once.
    pub(crate) fn with_ports<R>(&self, ask: impl FnOnce(&Ports<'_>) -> R) -> R {
        let clock = CallbackClock {
            host: &self.host,
            read: Cell::new(None),
            read_monotonic: Cell::new(None),
        };
        let result = ask(&Ports {
            clock: &clock,
            entropy: &HostEntropy(&self.host),
            store: &self.host.store(),
            telemetry: &self.telemetry,
        });
        self.telemetry.flush_if_urgent();
        result
    }
}

/// The requests that were held, while it is looked what becomes of each. A panic on one of them leaves no other behind.
struct Waking<'a, P: Policy, H: Host> {
    filter: &'a Filter<P, H>,
    rest: std::vec::IntoIter<(StreamId, Weak<Held<P::Flow>>)>,
    at_hand: Option<(StreamId, Weak<Held<P::Flow>>)>,
}

impl<P: Policy, H: Host> Waking<'_, P, H> {
    /// The next one whose stream is still there.
    fn next(&mut self) -> Option<(StreamId, Rc<Held<P::Flow>>)> {
        loop {
            let (stream, held) = self.rest.next()?;
            if let Some(living) = held.upgrade() {
                self.at_hand = Some((stream, held));
                return Some((stream, living));
            }
        }
    }

    /// It is held for longer.
    fn keep(&mut self) {
        if let Some((stream, held)) = self.at_hand.take() {
            self.filter.holding.keep(stream, held);
        }
    }

    /// It was decided on.
    fn done(&mut self) {
        self.at_hand = None;
    }
}

impl<P: Policy, H: Host> Drop for Waking<'_, P, H> {
    fn drop(&mut self) {
        // What could not be decided on is refused: who sent it may have brought that about.
        if let Some((stream, held)) = self.at_hand.take()
            && let (Some(held), Ok(exchange)) = (held.upgrade(), self.filter.host.enter(stream))
        {
            let reply = Problem::UNAVAILABLE.reply_blind();
            let _ = exchange.reply(&reply.because(P::NAME, "undecided"));
            held.put(Phase::Answered(None));
        }
        for (stream, held) in self.rest.by_ref() {
            self.filter.holding.keep(stream, held);
        }
    }
}

/// Reads the clock once, when it is first asked.
struct CallbackClock<'a, H> {
    host: &'a H,
    read: Cell<Option<Timestamp>>,
    read_monotonic: Cell<Option<Timestamp>>,
}

impl<H: Host> Clock for CallbackClock<'_, H> {
    fn now(&self) -> Result<Timestamp, ClockUnavailable> {
        if let Some(now) = self.read.get() {
            return Ok(now);
        }
        let now = self.host.now()?;
        self.read.set(Some(now));
        Ok(now)
    }

    fn monotonic(&self) -> Result<Timestamp, ClockUnavailable> {
        if let Some(now) = self.read_monotonic.get() {
            return Ok(now);
        }
        let now = self.host.monotonic()?;
        self.read_monotonic.set(Some(now));
        Ok(now)
    }
}

struct HostEntropy<'a, H>(&'a H);

impl<H: Host> Entropy for HostEntropy<'_, H> {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyUnavailable> {
        self.0.fill_random(bytes)
    }
}
