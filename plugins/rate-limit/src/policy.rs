//! The policy: its limits, what they share, and what clients are shown of them.

use std::cell::{Cell, OnceCell};

use portcullis_policy::config::{ClaimPath, Claims, ConfigError, Mode};
use portcullis_policy::{
    ClientAddress, Control, CountedConflicts, Counter, Ending, Failure, FailureLines,
    FailureSettings, Failures, FoundAddress, GrpcStatus, Headers, HostFailure, LocalReply, Origin,
    Policy, Ports, Request, RequestEdits, Response, ResponseEdits, Setup, SlotError, Span,
    Timestamp, Verdict, colliding,
};

use crate::NAME;
use crate::busiest::Busiest;
use crate::config::{Config, CorsPreflight, HeaderStyle, WhenUnserved};
use crate::failure::ADDRESS;
use crate::hash_key::{HASH_KEY_NAME, shared_hash_key};
use crate::headers::{Allowance, Shown, headers, is_of_a_limit};
use crate::key::HashKey;
use crate::limit::{Charge, Limit};
use crate::range::{Range, lay_out, slot_names};

/// The status of what the gateway can't serve, for no fault of the client's.
pub const UNAVAILABLE: u16 = 503;

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
        let ranges = config.ranges()?;
        let control = config
            .control
            .map(|control| Control::new(control, NAME, setup));
        let control = control.transpose()?;
        let is_controlled = beside.control || control.is_some();
        let mut limits = Vec::new();
        let placed = config.limits.into_vec().into_iter().zip(&ranges);
        for (index, (limit, range)) in placed.enumerate() {
            let before_auth = config.before_auth.0.contains(&limit.name);
            let limit = Limit::new(
                limit,
                config.mode,
                before_auth,
                *range,
                is_controlled,
                setup.metrics,
            );
            limits.push(limit.map_err(|error| error.within(&format!("limits[{index}]")))?);
        }
        let claim_headers = config.claim_headers.into_vec().into_iter();
        let settings = FailureSettings {
            plugin: NAME,
            metric: "rate_limit_errors",
            mode: config.mode,
            on_error: config.on_error,
            lines: FailureLines::RefusedWithStatus,
        };
        let others = [Failure::Clock, ADDRESS].into_iter().chain(Failure::SLOT);
        let errors = Failures::announce(settings, others, setup.metrics);
        Ok(Self {
            limits,
            ranges,
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
        })
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
    ) -> Result<(), LocalReply> {
        if self.cors_preflight == CorsPreflight::Pass && request.is_cors_preflight() {
            return Ok(());
        }
        let store = CountedConflicts::of(ports.store);
        let counted = Ports {
            store: &store,
            ..*ports
        };
        flow.is_grpc = request.is_grpc();
        let answer = self.ask_limits(stage, request, claims, flow, &counted);
        for _ in 0..store.count() {
            ports.telemetry.count(self.conflicts);
        }
        answer
    }

    /// The keys of shared data that this policy uses.
    pub fn slot_names(&self) -> impl Iterator<Item = String> {
        let busiest = self.busiest().map(|busiest| busiest.slot_name().to_owned());
        slot_names(&self.ranges)
            .chain([HASH_KEY_NAME.to_owned()])
            .chain(busiest)
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

    /// A request has ended: what it held of limits on requests at a time others may have. Once, however often this is called.
    pub fn end(&self, flow: &mut Flow, ports: &Ports<'_>) {
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
        for (index, mut charge) in flow.charges.drain(..).rev() {
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

    fn allowances(&self, flow: &Flow) -> Vec<Allowance<'_>> {
        let allowance =
            |(index, charge): &(usize, Charge)| self.limits.get(*index)?.allowance(charge);
        flow.charges.iter().filter_map(allowance).collect()
    }
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
        }
    }

    /// Renews what requests hold, and reports to other workers which keys are the busiest, once a second.
    fn on_tick(&self, ports: &Ports<'_>) {
        for limit in &self.limits {
            if let Err(error) = limit.renew(ports) {
                self.errors.count(error, ports);
            }
        }
        // Without a control path there are none, and a tick asks the host for nothing.
        if self.busiest().next().is_none() {
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
        self.limits.iter().any(Limit::counts_at_a_time)
    }

    fn on_end(&self, flow: &mut Flow, _: &dyn Ending, ports: &Ports<'_>) {
        self.end(flow, ports);
    }

    fn on_idle(&self, ports: &Ports<'_>) {
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
        let verdict = match self.ask(Stage::AfterAuth, request, None, &mut flow, ports) {
            Ok(()) => Verdict::Continue(RequestEdits::none()),
            Err(reply) => Verdict::Refuse(reply),
        };
        (verdict, flow)
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
        if self.limits.iter().any(Limit::charges_by_answer)
            && let Some(status) = response.status()
        {
            let grpc = response.grpc_status().filter(|_| status == 200);
            self.answered(flow, status, grpc, ports);
        }
        if !self.writes_response_headers() || is_of_another_limiter(response) {
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

    fn on_host_failure(&self, failure: HostFailure, ports: &Ports<'_>) -> Option<LocalReply> {
        self.errors.on_host_failure(failure, ports)
    }
}
