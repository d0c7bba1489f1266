//! One request and its response, phase by phase.

use std::mem;
use std::rc::Rc;

use portcullis_policy::{Ending, LocalReply, LogLine, Origin, Policy, Problem, Sent};

use crate::ending::{Logged, Told};
use crate::filter::{Filter, Ruling};
use crate::host::{Exchange, Host, StreamId};
use crate::phase::{Decided, Head, Held, Phase, Seen, Step};

/// One request and its response. Dropping it ends it, if nothing else has.
pub struct Stream<P: Policy, H: Host> {
    id: StreamId,
    filter: Option<Rc<Filter<P, H>>>,
    phase: Phase<P::Flow>,
}

impl<P: Policy, H: Host> Stream<P, H> {
    pub(crate) const fn new(id: StreamId, filter: Option<Rc<Filter<P, H>>>) -> Self {
        Self {
            id,
            filter,
            phase: Phase::Unseen,
        }
    }

    /// The request's head. `count`: how many headers the host says there are; `ends`: whether it says that there is no body.
    pub fn on_request<X: Exchange>(&mut self, exchange: &X, count: usize, ends: bool) -> Step {
        let Some(filter) = self.filter.clone() else {
            let reply = Problem::UNAVAILABLE.reply_blind();
            return self.answer(exchange, &reply.because(P::NAME, "not_configured"));
        };
        filter.prepare();
        let shown = exchange
            .request_headers(count)
            .and_then(|headers| Ok((headers, exchange.target()?)));
        let mut head = match shown {
            Ok((headers, target)) => Head {
                headers,
                target,
                ends,
            },
            Err(failure) => return self.take(filter.fail(exchange, Phase::Unseen, failure)),
        };
        let longest = match H::ABILITIES.holds_requests {
            true => filter.with_ports(|ports| filter.policy.hold(&head.request(exchange), ports)),
            false => None,
        };
        if let Some(longest) = longest {
            let tick = filter.policy.tick_every();
            match filter.holding.hold(self.id, head, longest, tick) {
                Ok(held) => {
                    filter.hand_over_wants();
                    filter.with_ports(|ports| filter.policy.on_held(ports));
                    self.phase = Phase::Held(held);
                    return Step::Stop;
                }
                Err(unheld) => head = unheld,
            }
        }
        let held = match filter.decide(exchange, &head, false) {
            Ruling::Decided(decided) => return self.take(decided),
            Ruling::Read(reading) => filter.begin_reading(exchange, self.id, head, reading),
            Ruling::Wait(waiting) => filter.begin_waiting(exchange, self.id, head, waiting),
        };
        match held {
            Ok(held) => {
                self.phase = Phase::Held(held);
                Step::Stop
            }
            Err(decided) => self.take(decided),
        }
    }

    /// Whether its request's body may be read before it goes on.
    pub fn reads_request(&self) -> bool {
        let filter = self.filter.as_ref();
        filter.is_some_and(|filter| filter.policy.reads_requests())
    }

    /// Whether it matters how long the parts of its request's body are.
    pub fn measures_request(&self) -> bool {
        match &self.phase {
            Phase::Held(_) => true,
            Phase::Requested(passed) | Phase::Responded(passed, _) => passed.bound.is_set(),
            Phase::Unseen | Phase::Answered(_) => false,
        }
    }

    /// Whether what was kept of its request's body comes with its next part.
    pub const fn keeps_body(&self) -> bool {
        matches!(&self.phase, Phase::Held(_))
    }

    /// Whether it reads the parts of its response's body.
    pub fn reads_response(&self) -> bool {
        match (&self.filter, &self.phase) {
            (Some(filter), Phase::Responded(passed, _)) => {
                filter.policy.reads_response(&passed.flow)
            }
            _ => false,
        }
    }

    /// Whether its request waits, undecided.
    pub fn is_held(&self) -> bool {
        matches!(&self.phase, Phase::Held(held) if !held.is_decided())
    }

    fn take(&mut self, decided: Decided<P::Flow>) -> Step {
        self.phase = decided.phase;
        decided.step
    }

    /// Takes over what has become of a request that was held.
    fn catch_up(&mut self) {
        if let Phase::Held(held) = &self.phase
            && let Some(phase) = held.take()
        {
            self.phase = phase;
        }
    }

    /// A part of the request's body. `size`: bytes of it, with those that were kept since the request is held. `ends`: whether it
    /// is the last.
    pub fn on_request_body<X: Exchange>(&mut self, exchange: &X, size: usize, ends: bool) -> Step {
        self.catch_up();
        if let Phase::Held(held) = &self.phase {
            let held = Rc::clone(held);
            held.body_size.set(size);
            held.body_ended.set(ends);
            return self.read(exchange, &held);
        }
        let (Some(filter), Phase::Requested(passed) | Phase::Responded(passed, _)) =
            (self.filter.clone(), &mut self.phase)
        else {
            return Step::Continue;
        };
        passed.body.sent_at_deletion = Sent::Whole;
        if passed.body.is_denied && size > 0 {
            const REASON: &str = "preflight_with_body";
            let line = LogLine::new(P::NAME, "refused").with("reason", REASON);
            filter.with_ports(|ports| ports.telemetry.log(line));
            let reply = Problem::LENGTH_REQUIRED.reply_blind();
            return self.answer(exchange, &reply.because(P::NAME, REASON));
        }
        if !passed.bound.admits(size) {
            const REASON: &str = "body_too_long";
            let line = LogLine::new(P::NAME, "refused").with("reason", REASON);
            filter.with_ports(|ports| ports.telemetry.log(line));
            let reply = Problem::CONTENT_TOO_LARGE.reply_blind();
            return self.answer(exchange, &reply.because(P::NAME, REASON));
        }
        if ends {
            self.on_request_whole();
        }
        Step::Continue
    }

    /// Reads what has come of the body of a request that waits for it, if it does.
    fn read<X: Exchange>(&mut self, exchange: &X, held: &Rc<Held<P::Flow>>) -> Step {
        let filter = self.filter.clone();
        match filter.and_then(|filter| filter.read(exchange, self.id, held)) {
            Some(decided) => self.take(decided),
            None => Step::Stop,
        }
    }

    /// The request's trailers.
    pub fn on_request_trailers<X: Exchange>(&mut self, exchange: &X) -> Step {
        self.catch_up();
        match &self.phase {
            Phase::Held(held) => {
                let held = Rc::clone(held);
                held.body_ended.set(true);
                self.read(exchange, &held)
            }
            Phase::Unseen | Phase::Answered(_) => Step::Continue,
            Phase::Requested(_) | Phase::Responded(..) => {
                self.on_request_whole();
                Step::Continue
            }
        }
    }

    fn on_request_whole(&mut self) {
        if let (Some(filter), Phase::Requested(passed) | Phase::Responded(passed, _)) =
            (&self.filter, &mut self.phase)
        {
            passed.body.sent_at_deletion = Sent::Whole;
            filter.with_ports(|ports| filter.policy.on_request_sent(&mut passed.flow, ports));
        }
    }

    /// The response's head. `ends`: whether it is the whole of it.
    pub fn on_response<X: Exchange>(&mut self, exchange: &X, ends: bool) {
        self.catch_up();
        if let Phase::Held(held) = &self.phase {
            // The gateway has answered it meanwhile: it is not to be decided on any more.
            let seen = held.take_seen();
            self.phase = Phase::Answered(seen.map(|passed| passed.flow));
        }
        let (Some(filter), Phase::Requested(_)) = (self.filter.clone(), &self.phase) else {
            return;
        };
        let Phase::Requested(mut passed) = mem::replace(&mut self.phase, Phase::Unseen) else {
            return;
        };
        let observed = filter.policy.observes_ends();
        // A head that says who made it spares the question at the end.
        let all = filter.policy.writes_response_headers() || observed;
        let head = exchange.response(all);
        let changed = filter.with_ports(|ports| {
            let edits = filter.policy.on_response(&mut passed.flow, &head, ports);
            exchange.change_response(&head, &edits)
        });
        if changed.is_err() {
            // The answer is worth more than what was to be added to it.
            log::warn!(
                "{}: the gateway did not take changes to a response",
                P::NAME
            );
        }
        if ends {
            filter.policy.on_response_whole(&mut passed.flow);
        }
        let seen = Seen {
            is_from_upstream: observed && exchange.is_from_upstream(&head),
            is_whole: ends,
        };
        self.phase = Phase::Responded(passed, seen);
    }

    /// A part of the response's body, so many bytes of it. `ends`: whether it is the last of the response.
    pub fn on_response_body<X: Exchange>(&mut self, exchange: &X, size: usize, ends: bool) {
        let reads = self.reads_response();
        let (Some(filter), Phase::Responded(passed, seen)) = (&self.filter, &mut self.phase) else {
            return;
        };
        seen.is_whole = seen.is_whole || ends;
        let flow = &mut passed.flow;
        if !reads {
            if ends {
                filter.policy.on_response_whole(flow);
            }
            return;
        }
        filter.with_ports(|ports| {
            let policy = &filter.policy;
            let trims = policy.trims_response(flow);
            let mut part = Vec::new();
            let mut shown = Ok(());
            if size > 0 {
                shown = exchange.response_body(size, &mut |bytes| {
                    policy.on_response_bytes(flow, Some(bytes), ports);
                    if trims {
                        part.extend_from_slice(bytes);
                    }
                });
            }
            if shown.is_err() {
                policy.on_response_bytes(flow, None, ports);
            } else if trims {
                let mut passing = Vec::new();
                if policy.trim_response(flow, &part, ends, &mut passing)
                    && exchange.change_response_body(size, &passing).is_err()
                {
                    log::error!(
                        "{}: the gateway did not take a change of a response's body",
                        P::NAME
                    );
                }
            }
            if ends {
                policy.on_response_whole(flow);
            }
        });
    }

    /// The stream has ended, and the host can be asked how.
    pub fn on_log<X: Exchange>(&mut self, exchange: &X) {
        self.catch_up();
        match &self.phase {
            Phase::Unseen => {}
            Phase::Held(_) => self.end_held(),
            Phase::Answered(_) => self.end(&Told(Origin::Gateway)),
            Phase::Requested(_) => self.end(&Logged {
                exchange,
                seen: None,
            }),
            Phase::Responded(_, seen) => self.end(&Logged {
                exchange,
                seen: Some(*seen),
            }),
        }
    }

    /// It has ended before it was decided on: of one whose body was waited for, something is known.
    fn end_held(&mut self) {
        if let Phase::Held(held) = &self.phase
            && let Some(passed) = held.take_seen()
        {
            self.phase = Phase::Requested(passed);
            self.end(&Told(Origin::ClientGone));
        }
    }

    fn end(&mut self, ending: &dyn Ending) {
        if let Some(filter) = &self.filter {
            filter.end(&mut self.phase, ending);
        }
    }

    fn answer<X: Exchange>(&mut self, exchange: &X, reply: &LocalReply) -> Step {
        let phase = mem::replace(&mut self.phase, Phase::Unseen);
        self.take(phase.answer(exchange, reply, P::NAME))
    }
}

impl<P: Policy, H: Host> Drop for Stream<P, H> {
    fn drop(&mut self) {
        self.catch_up();
        let origin = match &self.phase {
            Phase::Unseen => return,
            Phase::Held(_) => return self.end_held(),
            Phase::Answered(_) => Origin::Gateway,
            Phase::Requested(passed) | Phase::Responded(passed, _) => {
                match passed.body.sent_at_deletion {
                    // Nothing has gone on to the upstream: the client left, or what it sent was refused.
                    Sent::HeadOnly => Origin::ClientGone,
                    Sent::Whole => Origin::Lost,
                }
            }
        };
        self.end(&Told(origin));
    }
}
