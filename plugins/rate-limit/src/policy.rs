//! The policy: its limits, what they share, and what clients are shown of them.

use std::cell::{Cell, OnceCell};
use std::num::NonZeroU32;

use portcullis_policy::config::{ClaimPath, Claims, ConfigError, Mode};
use portcullis_policy::{
    BodyEnd, CallId, CallReply, ClientAddress, Control, CountedConflicts, Counter, Ending, Failure,
    FailureLines, FailureSettings, Failures, FoundAddress, GrpcStatus, Headers, HostFailure,
    HttpCall, LocalReply, LogLine, Origin, Policy, Ports, Problem, Request, RequestEdits, Response,
    ResponseEdits, Sent, Setup, SlotError, Span, Timestamp, Verdict, colliding,
};

use portcullis_usage::Extra;

use crate::NAME;
use crate::answer::{Answer, Answers, How, Used};
use crate::body::{Places, Reading, Said};
use crate::busiest::Busiest;
use crate::config::{Config, CorsPreflight, HeaderStyle, IncludeUsage, Log, WhenUnserved};
use crate::failure::{ADDRESS, BODY, ENGINE};
use crate::global::Global;
use crate::hash_key::{HASH_KEY_NAME, shared_hash_key};
use crate::headers::{Allowance, Shown, headers, is_of_a_limit};
use crate::include_usage::Forcing;
use crate::key::{EngineKey, HashKey};
use crate::limit::{All, Charge, Limit, Settled};
use crate::max_body::Bounds;
use crate::models::Models;
use crate::range::{Placed, Range, lay_out, slot_names};
use crate::refusal::refusal;
use crate::rewrite::may_change;
use crate::stopped::Stopped;

/// The status of what the gateway can't serve, for no fault of the client's.
pub const UNAVAILABLE: u16 = 503;

/// A client takes too long to send what decides on its request (RFC 9110 section 15.5.9).
const REQUEST_TIMEOUT: Problem = Problem {
    status: 408,
    kind: "request-timeout",
    title: "The request's body has not come in time",
};

/// The `rate_limit` plugin.
pub struct RateLimit {
    pub(crate) limits: Vec<Limit>,
    ranges: Vec<Range>,
    headers: HeaderStyle,
    pub(crate) client_address: ClientAddress,
    pub(crate) claim_headers: Vec<(ClaimPath, String)>,
    cors_preflight: CorsPreflight,
    mode: Mode,
    hash_key: Cell<Option<HashKey>>,
    pub(crate) errors: Failures,
    conflicts: Counter,
    control: Option<Control>,
    reported_busiest: Cell<Timestamp>,
    pub(crate) address_unreadable: Counter,
    places: Places,
    /// How answers are read, where that says what was used.
    pub(crate) answers: Option<Answers>,
    log: Option<Log>,
    bounds: Bounds,
    /// How streams are asked for what they used, where that is wanted.
    pub(crate) forces: Option<Forcing>,
    models: Models,
    /// Who counts limits for several gateways.
    pub(crate) global: Option<Global>,
}

/// What stands beside the limits in one filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// A `jwt_auth`, which tells the claims of callers.
    pub claims: bool,
    /// A control path, at which the limits can be asked.
    pub control: bool,
}

/// Which limits are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Those named in `before_auth`.
    BeforeAuth,
    /// All others.
    AfterAuth,
}

/// What the limits say of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It may go on.
    Admitted,
    /// Its body says what it takes, of which no more than so many bytes are to be read.
    Read {
        /// Bytes.
        most: usize,
    },
    /// An engine is asked whether anything is left for it: it is to be asked again once that has answered.
    Wait {
        /// For how long it waits at most.
        longest: Span,
    },
}

/// What one request was charged, each by its limit's index.
#[derive(Debug, Default)]
pub struct Flow {
    pub(crate) charges: Vec<(usize, Charge)>,
    /// Found once for both stages.
    pub(crate) address: OnceCell<FoundAddress>,
    /// What the response says of the limits.
    shown: Shown,
    /// Whether its client reads a refusal as a gRPC status.
    pub(crate) is_grpc: bool,
    /// The wishes that it is a part of.
    pub(crate) wishes: Vec<u32>,
    /// Whether it waits no longer.
    pub(crate) is_last: bool,
    /// What is known of its bodies; nothing where no limit goes by them.
    pub(crate) bodies: Option<Box<Bodies>>,
}

/// What is known of a request's body and of its answer's.
#[derive(Debug, Default)]
pub(crate) struct Bodies {
    /// The request's, as far as it has come.
    reading: Option<Reading>,
    /// What that says, once it is known.
    pub(crate) said: Option<Said>,
    answer: Answer,
    /// The limits that it goes elsewhere for, by their indices.
    pub(crate) elsewhere: Vec<usize>,
    /// The request's correlation id, where the log is to name it at the end.
    id: Option<String>,
    /// Which of the models that have names it wants.
    model: Option<usize>,
    /// How many tokens each of its answers may have, where that is fewer than it asks for.
    pub(crate) granted: Option<NonZeroU32>,
    /// Whether its answer is asked for what was used, which its client has not done.
    pub(crate) is_asked_for_usage: bool,
    /// What takes that out of its answer again.
    pub(crate) extra: Option<Box<Extra>>,
}

impl Flow {
    /// What the request's body says, once that is known.
    pub(crate) fn said(&self) -> Option<&Said> {
        self.bodies.as_ref()?.said.as_ref()
    }

    /// This limit has nothing left for it, and it goes elsewhere.
    pub(crate) fn go_elsewhere(&mut self, limit: usize) {
        self.bodies().elsewhere.push(limit);
    }

    /// How many limits it goes elsewhere for.
    pub(crate) fn elsewhere(&self) -> usize {
        self.bodies
            .as_ref()
            .map_or(0, |bodies| bodies.elsewhere.len())
    }

    /// It goes elsewhere for no more than the first of these.
    pub(crate) fn stay_from(&mut self, first: usize) {
        if let Some(bodies) = &mut self.bodies {
            bodies.elsewhere.truncate(first);
        }
    }

    fn bodies(&mut self) -> &mut Bodies {
        self.bodies.get_or_insert_default()
    }
}

impl RateLimit {
    /// A policy whose configuration may name `before_auth` limits and, if there is a `jwt_auth`
    /// beside it, claims: for `edge`, which knows both stages and the verified token.
    ///
    /// # Errors
    /// [`ConfigError`] names field, value and rule.
    pub fn for_edge(
        config: Config,
        beside: Beside,
        setup: &mut Setup<'_>,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        config.check_claims(beside.claims)?;
        let placed = config.placed()?;
        let global = config.global.as_ref();
        let global =
            global.map(|global| Global::new(global, setup).map_err(|error| error.within("global")));
        let global = global.transpose()?;
        let control = config
            .control
            .map(|control| Control::new(control, NAME, setup));
        let control = control.transpose()?;
        let usage = config.usage.unwrap_or_default();
        let mut places = Places::new(usage.bytes_per_token.get());
        let forces =
            (usage.include_usage == IncludeUsage::Force).then(|| Forcing::new(&mut places));
        let models = Models::new(&usage.models);
        if !models.is_empty() {
            places.keep_model();
        }
        let names: Vec<&str> = models.names().collect();
        let all = All {
            mode: config.mode,
            keeps_busiest: beside.control || control.is_some(),
            models: &names,
            lending: global.as_ref().map(Global::lending),
        };
        let mut limits = Vec::new();
        let configured = config.limits.into_vec().into_iter().zip(&placed);
        for (index, (limit, placed)) in configured.enumerate() {
            let before_auth = config.before_auth.0.contains(&limit.name);
            let limit = Limit::new(limit, &all, before_auth, *placed, &mut places, setup);
            limits.push(limit.map_err(|error| error.within(&format!("limits[{index}]")))?);
        }
        places.complete()?;
        if !limits
            .iter()
            .any(|limit| limit.has_tokens() && limit.reads_requests())
        {
            let wanted = [
                ("usage.include_usage", forces.is_some()),
                ("usage.models", !models.is_empty()),
            ];
            if let Some((key, _)) = wanted.iter().find(|(_, is_wanted)| *is_wanted) {
                let rule = "no limit with `cost.tokens` reads requests' bodies; expected `reserve` with `input: estimate` or `output.from`";
                return Err(ConfigError::at(*key, rule));
            }
        }
        let has_tokens = limits.iter().any(Limit::has_tokens);
        let answers = has_tokens.then(|| Answers::new(&usage)).transpose()?;
        let claim_headers = config.claim_headers.into_vec().into_iter();
        let settings = FailureSettings {
            plugin: NAME,
            metric: "rate_limit_errors",
            mode: config.mode,
            on_error: config.on_error,
            lines: FailureLines::RefusedWithStatus,
        };
        let of_bodies = limits.iter().any(Limit::reads_requests).then_some(BODY);
        let others = [Failure::Clock, ADDRESS].into_iter().chain(Failure::SLOT);
        let of_engine = global.is_some().then_some(ENGINE);
        let others = others.chain(of_bodies).chain(of_engine);
        let errors = Failures::announce(settings, others, setup.metrics);
        Ok(Self {
            limits,
            ranges: placed.into_iter().flat_map(Placed::ranges).collect(),
            headers: config.headers,
            client_address: config.client_address.into(),
            claim_headers: claim_headers
                .map(|(claim, header)| (claim, header.as_str().to_owned()))
                .collect(),
            cors_preflight: config.cors_preflight,
            mode: config.mode,
            hash_key: Cell::new(None),
            errors,
            conflicts: setup.metrics.counter("rate_limit_conflicts"),
            control,
            reported_busiest: Cell::default(),
            address_unreadable: setup.metrics.counter("rate_limit_address_unreadable"),
            bounds: Bounds::new(config.max_body, config.mode, setup.metrics),
            places,
            answers,
            log: config.log,
            forces,
            models,
            global,
        })
    }

    /// How many bytes of a request's body may pass, where that is limited.
    ///
    /// # Errors
    /// The refusal of a request that says that it is longer.
    pub fn bound(
        &self,
        request: &Request<'_>,
        ports: &Ports<'_>,
    ) -> Result<Option<u64>, LocalReply> {
        self.bounds.of(request, ports)
    }

    /// Lets no client say that its request is to go elsewhere: before anybody says so.
    pub fn guard<'a>(&'a self, request: &Request<'_>, edits: &mut RequestEdits<'a>) {
        for limit in &self.limits {
            if let (Mode::Enforce, Some(fallback)) = (limit.mode, &limit.on_exceeded) {
                fallback.guard(request.headers(), edits);
            }
        }
    }

    /// Asks the limits of one stage. On a refusal all that was charged to `flow` is given back.
    ///
    /// # Errors
    /// The refusal.
    pub fn ask(
        &self,
        stage: Stage,
        request: &Request<'_>,
        claims: Option<&dyn Claims>,
        flow: &mut Flow,
        ports: &Ports<'_>,
    ) -> Result<Asked, LocalReply> {
        // One whose body was read is none.
        if flow.said().is_none()
            && self.cors_preflight == CorsPreflight::Pass
            && request.is_cors_preflight()
        {
            return Ok(Asked::Admitted);
        }
        let store = CountedConflicts::of(ports.store);
        let counted = Ports {
            store: &store,
            ..*ports
        };
        flow.is_grpc = request.is_grpc();
        let reading = match (flow.said(), self.reads(stage, request)) {
            (None, Some(is_enforced)) => self.places.begin(is_enforced),
            (Some(_), _) | (None, None) => None,
        };
        if let Some(reading) = reading {
            // Who has nothing left, whatever the body says, is not waited for.
            self.look_ahead(stage, request, claims, flow, &counted)?;
            flow.bodies().reading = Some(reading);
            return Ok(Asked::Read {
                most: self.bounds.most_read(request),
            });
        }
        let answer = self.ask_limits(stage, request, claims, flow, &counted);
        for _ in 0..store.count() {
            ports.telemetry.count(self.conflicts);
        }
        if self.log == Some(Log::Usage) {
            flow.bodies().id = request.id().map(str::to_owned);
        }
        match answer {
            Ok(()) => Ok(Asked::Admitted),
            Err(Stopped::Refused(reply)) => Err(reply),
            Err(Stopped::Waits) => {
                let longest = self.global.as_ref().map(Global::longest_wait);
                Ok(Asked::Wait {
                    longest: longest.unwrap_or_default(),
                })
            }
        }
    }

    /// Whether this is a call of the limits', beside those of other policies.
    #[must_use]
    pub const fn made(call: CallId) -> bool {
        Global::made(call)
    }

    /// A request that was to wait is asked about anew. `is_last`: it waits no longer.
    pub fn end_waiting(flow: &mut Flow, is_last: bool) {
        flow.is_last = is_last;
    }

    /// Whether the body of a request says what it takes: whether of a limit that refuses anybody.
    fn reads(&self, stage: Stage, request: &Request<'_>) -> Option<bool> {
        if request.sent() == Sent::Whole {
            return None;
        }
        let asked = self
            .limits
            .iter()
            .filter(|limit| limit.before_auth == (stage == Stage::BeforeAuth));
        let reading = asked.filter(|limit| limit.reads_request(request));
        let modes = reading.map(|limit| limit.mode == Mode::Enforce);
        modes.reduce(|one, other| one || other)
    }

    /// Takes the next bytes of a request's body that is read.
    pub fn take_bytes(&self, flow: &mut Flow, bytes: &[u8]) {
        if let Some(reading) = flow
            .bodies
            .as_mut()
            .and_then(|bodies| bodies.reading.as_mut())
        {
            self.places.feed(reading, bytes);
        }
    }

    /// The reading of a request's body has ended: it can be asked for once more what it takes.
    ///
    /// # Errors
    /// The refusal of a request whose body has not come as it should.
    pub fn end_reading(
        &self,
        flow: &mut Flow,
        end: BodyEnd,
        request: &Request<'_>,
        ports: &Ports<'_>,
    ) -> Result<(), LocalReply> {
        let bodies = flow.bodies();
        let Some(reading) = bodies.reading.take() else {
            bodies.said = Some(Said::Nothing);
            return Ok(());
        };
        let is_enforced = reading.is_enforced;
        let problem = match end {
            BodyEnd::Whole => {
                let headers = request.headers();
                let said = match is_plain_text(headers) {
                    true => self.places.end(reading, may_change(headers)),
                    false => reading.unread(),
                };
                if let Said::This { document, .. } = &said {
                    bodies.model = self.models.of(document);
                }
                bodies.said = Some(said);
                return Ok(());
            }
            BodyEnd::TooLong => Some(("body_too_long", Problem::CONTENT_TOO_LARGE)),
            BodyEnd::TimedOut => Some(("body_timed_out", REQUEST_TIMEOUT)),
            BodyEnd::Failed => None,
        };
        bodies.said = Some(match end {
            BodyEnd::Failed => Said::Lost,
            _ => Said::Unreadable {
                bytes: u64::try_from(self.bounds.most_read(request)).unwrap_or(u64::MAX),
            },
        });
        let mode = match is_enforced {
            true => Mode::Enforce,
            false => Mode::Shadow,
        };
        let refusal = match problem {
            Some((reason, problem)) => {
                let line = refusal(mode, reason, None, problem, request);
                ports.telemetry.log(line);
                is_enforced.then(|| problem.reply(request).because(NAME, reason))
            }
            None => self
                .errors
                .is_refused(BODY, mode, ports)
                .then(|| self.errors.refuse(BODY, request, ports)),
        };
        // What it was charged before it stays charged: a client could send bodies for nothing that never end.
        refusal.map_or(Ok(()), Err)
    }

    /// A request was refused by another plugin, behind the limits: it has used nothing.
    pub fn unsent(&self, flow: &mut Flow, ports: &Ports<'_>) {
        self.settle_used(flow, &Used::Unserved, ports);
    }

    /// Whether the rest of a request's answer says what it used.
    #[must_use]
    pub fn reads_answer(flow: &Flow) -> bool {
        let bodies = flow.bodies.as_ref();
        bodies.is_some_and(|bodies| matches!(bodies.answer, Answer::Read(_)))
    }

    /// Takes the next bytes of an answer; `None`: some were not shown.
    pub fn take_answer(&self, flow: &mut Flow, bytes: Option<&[u8]>) {
        if let (Some(answers), Some(known)) = (&self.answers, &mut flow.bodies) {
            answers.feed(&mut known.answer, bytes);
        }
    }

    /// Whether something may be taken out of a request's answer.
    #[must_use]
    pub fn trims_answer(flow: &Flow) -> bool {
        let bodies = flow.bodies.as_ref();
        bodies.is_some_and(|bodies| bodies.extra.is_some())
    }

    /// Adds what passes on of an answer in place of these bytes. Whether that is something else.
    pub fn trim_answer(flow: &mut Flow, bytes: &[u8], ends: bool, passing: &mut Vec<u8>) -> bool {
        let bodies = flow.bodies.as_mut();
        let extra = bodies.and_then(|bodies| bodies.extra.as_mut());
        extra.is_some_and(|extra| extra.take(bytes, ends, passing))
    }

    /// An answer has begun.
    fn begin_answer(&self, flow: &mut Flow, response: &dyn Response, ports: &Ports<'_>) {
        /// From here on statuses say that a request was not served (RFC 9110 section 15.5).
        const CLIENT_ERROR: u16 = 400;
        let Some(answers) = &self.answers else {
            return;
        };
        if !flow.charges.iter().any(|(_, charge)| charge.is_reserved()) {
            return;
        }
        let status = response.status();
        if let Some(..CLIENT_ERROR) = status {
            let bodies = flow.bodies();
            bodies.answer = answers.begin(response);
            if bodies.is_asked_for_usage && bodies.answer.is_stream() {
                bodies.extra = Extra::new().ok().map(Box::new);
            }
            return;
        }
        match (status, response.origin()) {
            (Some(_), Origin::Upstream) => self.settle_used(flow, &Used::Nothing, ports),
            (_, Origin::ConnectionFailed) => self.settle_used(flow, &Used::Unserved, ports),
            (_, Origin::Gateway) if !response.reached_upstream() => {
                self.settle_used(flow, &Used::Unserved, ports);
            }
            // What the gateway answers in the place of an upstream that has the request, when it has taken too long, say, is
            // no answer of which it could be told what the upstream has done.
            _ => {}
        }
    }

    /// Settles what a request was charged by what it used, where that is not known before. Once, however often this is called.
    fn settle_used(&self, flow: &mut Flow, used: &Used, ports: &Ports<'_>) {
        let bodies = flow.bodies.as_ref();
        let id = bodies.and_then(|bodies| bodies.id.as_deref());
        let model = bodies.and_then(|bodies| bodies.model);
        for (index, charge) in &mut flow.charges {
            let Some(limit) = self.limits.get(*index) else {
                continue;
            };
            match limit.settle(charge, used, model, ports) {
                Ok(None) => {}
                Ok(Some(settled)) => {
                    // What was used beyond what was held is owed to the engine, whether another request comes or not.
                    if settled.charged > settled.reserved {
                        self.wish_for_more(limit, charge.engine_key(), ports);
                    }
                    self.log_used(limit, &settled, id, ports);
                }
                Err(error) => self.errors.count(error, ports),
            }
        }
    }

    fn log_used(&self, limit: &Limit, settled: &Settled, id: Option<&str>, ports: &Ports<'_>) {
        if self.log != Some(Log::Usage) {
            return;
        }
        let mut line = LogLine::new(NAME, "usage")
            .with("limit", &limit.name)
            .with("caller", settled.key.caller());
        if let Some((counts, _)) = &settled.used {
            line = line
                .with("input", counts.input.unwrap_or(0).to_string())
                .with("cached_input", counts.cached.to_string())
                .with("output", counts.output.unwrap_or(0).to_string())
                .with("reasoning", counts.reasoning.to_string());
        }
        line = line
            .with(
                "known",
                settled
                    .used
                    .map_or("unreadable", |(_, how)| How::as_str(how)),
            )
            .with("reserved", settled.reserved.to_string())
            .with("charged", settled.charged.to_string());
        ports.telemetry.log(match id {
            Some(id) => line.with("request_id", id),
            None => line,
        });
    }

    /// The keys of shared data that this policy uses.
    pub fn slot_names(&self) -> impl Iterator<Item = String> {
        let busiest = self.busiest().map(|busiest| busiest.slot_name().to_owned());
        let wishes = self
            .global
            .iter()
            .map(|global| global.slot_name().to_owned());
        slot_names(&self.ranges)
            .chain([HASH_KEY_NAME.to_owned()])
            .chain(busiest)
            .chain(wishes)
    }

    /// The busiest keys of each limit, where there is somebody who can ask for them.
    fn busiest(&self) -> impl Iterator<Item = &Busiest> {
        self.limits
            .iter()
            .filter_map(|limit| limit.busiest.as_ref())
    }

    /// Gives back what a request was charged that the gateway did not serve, for no fault of its
    /// client's: an open breaker refused it, say. Only what `when_unserved` does not keep.
    pub fn return_unserved(&self, flow: &mut Flow, ports: &Ports<'_>) {
        self.settle(flow, ports, |limit, charge| {
            limit.return_unserved(charge, ports)
        });
    }

    /// A request is answered with this status, and this one of gRPC, by whomever: what that does not cost is given back.
    pub fn answered(&self, flow: &mut Flow, status: u16, grpc: Option<u8>, ports: &Ports<'_>) {
        self.settle(flow, ports, |limit, charge| {
            limit.answered(charge, status, grpc, ports)
        });
    }

    /// A request has ended: what it held of limits on requests at a time others may have, and what it was charged is settled by
    /// what it used. Once, however often this is called.
    pub fn end(&self, flow: &mut Flow, ending: &dyn Ending, ports: &Ports<'_>) {
        if let Some(answers) = &self.answers
            && flow.charges.iter().any(|(_, charge)| charge.is_reserved())
        {
            let bodies = flow.bodies.as_mut();
            let answer = bodies.map_or(Answer::None, |bodies| std::mem::take(&mut bodies.answer));
            let used = answers.end(answer, || ending.origin());
            self.settle_used(flow, &used, ports);
        }
        self.settle(flow, ports, |limit, charge| limit.end(charge, ports));
    }

    /// Settles what a request was charged, with each limit. Where that fails it stays charged; a permit is void after a while.
    fn settle(
        &self,
        flow: &mut Flow,
        ports: &Ports<'_>,
        settle: impl Fn(&Limit, &mut Charge) -> Result<(), SlotError>,
    ) {
        for (index, charge) in &mut flow.charges {
            if let Some(limit) = self.limits.get(*index)
                && let Err(error) = settle(limit, charge)
            {
                self.errors.count(error, ports);
            }
        }
    }

    /// Whether the gateway says that it could not serve this request, in the upstream's stead.
    fn is_unserved(&self, flow: &Flow, response: &dyn Response) -> bool {
        let returns = |(index, _): &(usize, Charge)| {
            let limit = self.limits.get(*index);
            limit.is_some_and(|limit| limit.when_unserved == WhenUnserved::GiveBack)
        };
        flow.charges.iter().any(returns)
            && match flow.is_grpc {
                false => response.status() == Some(UNAVAILABLE),
                true => response.grpc_status() == Some(GrpcStatus::Unavailable.code()),
            }
            && response.origin() == Origin::Gateway
            && !response.reached_upstream()
    }

    /// Adds to another plugin's refusal where the client stands with the limits that counted it.
    #[must_use]
    pub fn show(&self, flow: &mut Flow, reply: LocalReply) -> LocalReply {
        self.shown(reply, &self.allowances(flow))
    }

    pub(crate) fn shown(&self, reply: LocalReply, allowances: &[Allowance<'_>]) -> LocalReply {
        let shown = headers(self.headers, allowances);
        shown
            .iter()
            .fold(reply, |reply, (name, value)| reply.with(name, value))
    }

    /// Gives back all that a request was charged.
    pub(crate) fn give_back(&self, flow: &mut Flow, ports: &Ports<'_>) {
        self.give_back_from(0, flow, ports);
    }

    /// Gives back what a request was charged but for the first of it.
    pub(crate) fn give_back_from(&self, first: usize, flow: &mut Flow, ports: &Ports<'_>) {
        for (index, mut charge) in flow.charges.drain(first..).rev() {
            let Some(limit) = self.limits.get(index) else {
                continue;
            };
            if let Err(error) = limit.give_back(&mut charge, ports) {
                // Nothing more can be done: the client stays charged for a request that was refused.
                self.errors.count(error, ports);
            }
        }
    }

    pub(crate) fn hash_key(&self, ports: &Ports<'_>) -> Result<HashKey, Failure> {
        if let Some(key) = self.hash_key.get() {
            return Ok(key);
        }
        let now = ports.clock.now()?;
        let key = shared_hash_key(ports.store, ports.entropy, now)?;
        self.hash_key.set(Some(key));
        Ok(key)
    }

    /// Little is left of a lease, or something is owed.
    pub(crate) fn wish_for_more(&self, limit: &Limit, key: Option<EngineKey>, ports: &Ports<'_>) {
        if let (Some(global), Some(name), Some(key)) = (&self.global, limit.leased_as(), key)
            && let Err(error) = global.wish(name, key, 0, &[], ports)
        {
            self.errors.count(error, ports);
        }
    }

    fn allowances(&self, flow: &Flow) -> Vec<Allowance<'_>> {
        let allowance =
            |(index, charge): &(usize, Charge)| self.limits.get(*index)?.allowance(charge);
        flow.charges.iter().filter_map(allowance).collect()
    }
}

impl RateLimit {
    fn decide<'a>(
        &'a self,
        request: &'a Request<'a>,
        flow: &mut Flow,
        ports: &Ports<'_>,
    ) -> Result<Verdict<'a>, LocalReply> {
        let bound = self.bound(request, ports)?;
        Ok(
            match self.ask(Stage::AfterAuth, request, None, flow, ports)? {
                Asked::Admitted => {
                    let taken = self.edits(request, flow, bound);
                    if self.limits.iter().all(|limit| limit.on_exceeded.is_none()) {
                        return Ok(Verdict::Continue(taken));
                    }
                    let mut edits = RequestEdits::none();
                    self.guard(request, &mut edits);
                    edits.extend(taken);
                    Verdict::Continue(edits)
                }
                Asked::Read { most } => Verdict::Read { most },
                Asked::Wait { longest } => Verdict::Wait { longest },
            },
        )
    }
}

/// Whether a body is what it looks like: not compressed, and of no other character set than JSON is (RFC 8259 section 8.1). Some backends
/// go by what its headers say, UTF-7 among it.
fn is_plain_text(headers: &Headers) -> bool {
    let is_one_of = |text: &[u8], known: &[&str]| {
        let text = text.trim_ascii();
        known
            .iter()
            .any(|known| text.eq_ignore_ascii_case(known.as_bytes()))
    };
    let is_encoded = headers
        .values("content-encoding")
        .any(|encoding| !is_one_of(encoding, &["", "identity"]));
    let mut types = headers.values("content-type");
    let media = types.next().unwrap_or_default();
    let names_another = media.split(|byte| *byte == b';').skip(1).any(|parameter| {
        let mut parts = parameter.splitn(2, |byte| *byte == b'=');
        let name = parts.next().unwrap_or_default();
        let value = parts.next().unwrap_or_default().trim_ascii();
        let value = value.strip_prefix(b"\"").unwrap_or(value);
        let value = value.strip_suffix(b"\"").unwrap_or(value);
        is_one_of(name, &["charset"]) && !is_one_of(value, &["utf-8", "utf8", "us-ascii"])
    });
    !is_encoded && !names_another && types.next().is_none()
}

/// Whether another filter of this gateway has refused the request and says by which limit: a client wants to hear of that one.
fn is_of_another_limiter(response: &dyn Response) -> bool {
    let says = |headers: &Headers| {
        let mut names = headers
            .iter()
            .filter_map(|(name, _)| std::str::from_utf8(name).ok());
        names.any(is_of_a_limit)
    };
    let refuses = || match response.status() {
        Some(429) => true,
        Some(200) => response.grpc_status() == Some(GrpcStatus::ResourceExhausted.code()),
        _ => false,
    };
    response.headers().is_some_and(says) && refuses() && response.origin() == Origin::Gateway
}

impl Policy for RateLimit {
    const NAME: &'static str = NAME;
    type Config = Config;
    type Flow = Flow;

    fn from_config(config: Config, setup: &mut Setup<'_>) -> Result<Self, ConfigError> {
        if !config.before_auth.0.is_empty() {
            let rule = "unknown field; it belongs into the filter `edge`";
            return Err(ConfigError::at("before_auth", rule));
        }
        let limits = Self::for_edge(config, Beside::default(), setup)?;
        if limits.control.is_some() {
            let names: Vec<String> = limits.slot_names().collect();
            if let Some((one, other)) = colliding(names.iter().map(String::as_str)) {
                let rule =
                    format!("Kong can't tell the slots {one:?} and {other:?}; rename a limit");
                return Err(ConfigError::at("limits", rule));
            }
        }
        Ok(limits)
    }

    fn prepare(&self, ports: &Ports<'_>) {
        if self.mode != Mode::Off {
            // A failure shows again, and is counted, with the first request.
            let _ = self.hash_key(ports);
            let _ = lay_out(ports.store, &self.ranges);
            for busiest in self.busiest() {
                let _ = busiest.lay_out(ports.store);
            }
            if let Some(global) = &self.global {
                let _ = global.lay_out(ports);
            }
        }
    }

    /// Where an engine counts, it is asked with ticks.
    fn tick_every(&self) -> Span {
        match &self.global {
            Some(_) => Span::from_millis(50),
            None => Span::from_secs(1),
        }
    }

    fn fetches(&self) -> bool {
        self.global.is_some()
    }

    fn next_call(&self, ports: &Ports<'_>) -> Option<(CallId, HttpCall)> {
        let global = self.global.as_ref()?;
        let hash_key = self.hash_key(ports).ok()?;
        global.next_call(&self.limits, &hash_key, ports)
    }

    fn is_urgent(&self) -> bool {
        self.global.as_ref().is_some_and(Global::is_urgent)
    }

    fn take_wanted(&self) -> Vec<CallId> {
        let global = self.global.as_ref();
        global.map_or(Vec::new(), Global::take_wanted)
    }

    fn want(&self, call: CallId, _: &Ports<'_>) {
        if let Some(global) = &self.global {
            global.want(call);
        }
    }

    fn on_call_end(&self, call: CallId, reply: &dyn CallReply, ports: &Ports<'_>) {
        let (Some(global), Ok(hash_key)) = (&self.global, self.hash_key(ports)) else {
            return;
        };
        let ended = global.on_call_end(call, reply, &self.limits, &hash_key, ports);
        if let Err(error) = ended {
            self.errors.count(error, ports);
        }
    }

    /// Renews what requests hold, gives back what is not spent, and reports to other workers which keys are the busiest, once a
    /// second.
    fn on_tick(&self, ports: &Ports<'_>) {
        if let (Some(global), Ok(hash_key)) = (&self.global, self.hash_key(ports))
            && let Err(error) = global.on_tick(&self.limits, &hash_key, ports)
        {
            self.errors.count(error, ports);
        }
        for limit in &self.limits {
            if let Err(error) = limit.renew(ports) {
                self.errors.count(error, ports);
            }
        }
        // Without a control path and an engine a tick asks the host for nothing.
        if self.busiest().next().is_none() && self.global.is_none() {
            return;
        }
        let Ok(now) = ports.clock.now() else {
            return;
        };
        if now.since(self.reported_busiest.get()) < Span::from_secs(1) {
            return;
        }
        self.reported_busiest.set(now);
        self.on_idle(ports);
    }

    fn tells_with_ticks(&self) -> bool {
        self.observes_ends() || self.busiest().next().is_some()
    }

    fn observes_ends(&self) -> bool {
        self.answers.is_some() || self.limits.iter().any(Limit::counts_at_a_time)
    }

    fn on_end(&self, flow: &mut Flow, ending: &dyn Ending, ports: &Ports<'_>) {
        self.end(flow, ending, ports);
    }

    fn on_idle(&self, ports: &Ports<'_>) {
        if let Some(global) = &self.global
            && let Err(error) = global.show_health(ports)
        {
            self.errors.count(error, ports);
        }
        for busiest in self.busiest() {
            if let Err(error) = busiest.report(ports) {
                self.errors.count(error, ports);
            }
        }
    }

    fn on_request<'a>(
        &'a self,
        request: &'a Request<'a>,
        ports: &Ports<'_>,
    ) -> (Verdict<'a>, Flow) {
        let mut flow = Flow::default();
        if let Some(control) = &self.control
            && let Some(reply) = control.answer(request, self, ports)
        {
            return (Verdict::Refuse(reply), flow);
        }
        let verdict = self.decide(request, &mut flow, ports);
        (verdict.unwrap_or_else(Verdict::Refuse), flow)
    }

    fn reads_requests(&self) -> bool {
        self.limits.iter().any(Limit::reads_requests)
    }

    fn on_request_bytes(&self, flow: &mut Flow, bytes: &[u8]) {
        self.take_bytes(flow, bytes);
    }

    fn on_request_read<'a>(
        &'a self,
        request: &'a Request<'a>,
        flow: &mut Flow,
        end: BodyEnd,
        ports: &Ports<'_>,
    ) -> Verdict<'a> {
        let ended = self.end_reading(flow, end, request, ports);
        let verdict = ended.and_then(|()| self.decide(request, flow, ports));
        verdict.unwrap_or_else(Verdict::Refuse)
    }

    fn on_request_waited<'a>(
        &'a self,
        request: &'a Request<'a>,
        flow: &mut Flow,
        is_last: bool,
        ports: &Ports<'_>,
    ) -> Verdict<'a> {
        Self::end_waiting(flow, is_last);
        let verdict = self.decide(request, flow, ports);
        verdict.unwrap_or_else(Verdict::Refuse)
    }

    fn reads_response(&self, flow: &Flow) -> bool {
        Self::reads_answer(flow)
    }

    fn on_response_bytes(&self, flow: &mut Flow, bytes: Option<&[u8]>, _: &Ports<'_>) {
        self.take_answer(flow, bytes);
    }

    fn trims_response(&self, flow: &Flow) -> bool {
        Self::trims_answer(flow)
    }

    fn trim_response(
        &self,
        flow: &mut Flow,
        bytes: &[u8],
        ends: bool,
        passing: &mut Vec<u8>,
    ) -> bool {
        Self::trim_answer(flow, bytes, ends, passing)
    }

    fn writes_response_headers(&self) -> bool {
        self.headers != HeaderStyle::None && self.mode == Mode::Enforce
    }

    fn on_response<'a>(
        &'a self,
        flow: &'a mut Flow,
        response: &dyn Response,
        ports: &Ports<'_>,
    ) -> ResponseEdits<'a> {
        if self.is_unserved(flow, response) {
            self.return_unserved(flow, ports);
        }
        self.begin_answer(flow, response, ports);
        if self.limits.iter().any(Limit::charges_by_answer)
            && let Some(status) = response.status()
        {
            let grpc = response.grpc_status().filter(|_| status == 200);
            self.answered(flow, status, grpc, ports);
        }
        if is_of_another_limiter(response) {
            return ResponseEdits::none();
        }
        let changes = self.response_changes(flow, response);
        let mut edits = self.show_limits(flow, response);
        edits.extend(changes);
        edits
    }

    fn on_host_failure(&self, failure: HostFailure, ports: &Ports<'_>) -> Option<LocalReply> {
        self.errors.on_host_failure(failure, ports)
    }
}

impl RateLimit {
    /// Says where the client stands.
    fn show_limits<'a>(&self, flow: &'a mut Flow, response: &dyn Response) -> ResponseEdits<'a> {
        if !self.writes_response_headers() {
            return ResponseEdits::none();
        }
        flow.shown = headers(self.headers, &self.allowances(flow));
        let ours = &flow.shown;
        let mut edits = ResponseEdits::with_capacity(ours.names().count());
        if ours.is_empty() {
            return edits;
        }
        if let Some(theirs) = response.headers() {
            // What the upstream says of limits of its own would be read as a part of ours.
            for (name, _) in theirs.iter() {
                if let Ok(name) = std::str::from_utf8(name)
                    && is_of_a_limit(name)
                    && !ours.names().any(|known| name.eq_ignore_ascii_case(known))
                {
                    edits.clear(name.to_owned());
                }
            }
        }
        for (name, value) in ours.iter() {
            edits.set(name, value.as_bytes());
        }
        edits
    }
}
