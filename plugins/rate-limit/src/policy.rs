//! Asks the limits, all or nothing.

use std::cell::{Cell, OnceCell};

use portcullis_policy::config::{ClaimPath, Claims, ConfigError, Mode, OnError};
use portcullis_policy::{
    ClientAddress, CountedConflicts, Counter, HeaderEdits, HostFailure, LocalReply, LogLine,
    Policy, Ports, Problem, Request, Response, Setup, Span, Verdict,
};

use crate::config::{Config, CorsPreflight, HeaderStyle};
use crate::failure::{Errors, Failure};
use crate::hash_key::shared_hash_key;
use crate::headers::{Standing, headers, is_of_a_limit};
use crate::key::{HashKey, Source};
use crate::limit::{Answer, Charge, Limit};
use crate::table::Table;

pub(crate) const NAME: &str = "rate_limit";

/// The `rate_limit` plugin.
pub struct RateLimit {
    limits: Vec<Limit>,
    table: Table,
    headers: HeaderStyle,
    client_address: ClientAddress,
    claim_headers: Vec<(ClaimPath, String)>,
    cors_preflight: CorsPreflight,
    mode: Mode,
    on_error: OnError,
    hash_key: Cell<Option<HashKey>>,
    errors: Errors,
    conflicts: Counter,
}

/// Which limits are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Those named in `before_auth`.
    BeforeAuth,
    /// All others.
    AfterAuth,
}

/// What one request was charged, each by the place of its limit.
#[derive(Debug, Default)]
pub struct Flow {
    charges: Vec<(usize, Charge)>,
    replied: bool,
}

const QUOTA_EXCEEDED: Problem = Problem {
    status: 429,
    kind: "quota-exceeded",
    title: "Too many requests",
};
const KEY_MISSING: Problem = Problem {
    status: 400,
    kind: "rate-limit-key-missing",
    title: "The request lacks what it is counted by",
};

impl RateLimit {
    /// A policy whose configuration may name `before_auth` limits and, if there is a `jwt_auth`
    /// beside it, claims: for `edge`, which knows both stages and the verified token.
    ///
    /// # Errors
    /// [`ConfigError`] names field, value and rule.
    pub fn for_edge(
        config: Config,
        has_claims: bool,
        setup: &mut Setup<'_>,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        config.check_claims(has_claims)?;
        let mut limits = Vec::new();
        for (place, limit) in config.limits.into_vec().into_iter().enumerate() {
            let before_auth = config.before_auth.0.contains(&limit.name);
            let limit = Limit::new(limit, config.mode, before_auth, setup.metrics)
                .map_err(|error| error.within(&format!("limits[{place}]")))?;
            limits.push(limit);
        }
        let claim_headers = config.claim_headers.into_vec().into_iter();
        let longest = limits
            .iter()
            .map(Limit::longest)
            .max()
            .unwrap_or(Span::ZERO);
        Ok(Self {
            limits,
            table: Table::new(config.capacity.get(), longest),
            headers: config.headers,
            client_address: config.client_address.into(),
            claim_headers: claim_headers
                .map(|(claim, header)| (claim, header.as_str().to_owned()))
                .collect(),
            cors_preflight: config.cors_preflight,
            mode: config.mode,
            on_error: config.on_error,
            hash_key: Cell::new(None),
            errors: Errors::announce(setup.metrics),
            conflicts: setup.metrics.counter("rate_limit_conflicts"),
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
        let answer = self.ask_limits(stage, request, claims, flow, &counted);
        for _ in 0..store.count() {
            ports.telemetry.count(self.conflicts);
        }
        answer
    }

    fn ask_limits(
        &self,
        stage: Stage,
        request: &Request<'_>,
        claims: Option<&dyn Claims>,
        flow: &mut Flow,
        ports: &Ports<'_>,
    ) -> Result<(), LocalReply> {
        let source = Source {
            request,
            client_address: &self.client_address,
            claims,
            claim_headers: &self.claim_headers,
            address: OnceCell::new(),
        };
        let before = flow.charges.len();
        for (place, limit) in self.limits.iter().enumerate() {
            if limit.before_auth != (stage == Stage::BeforeAuth) || !limit.counts(request) {
                continue;
            }
            let answer = self
                .hash_key(ports)
                .and_then(|key| limit.ask(&source, &self.table, &key, ports));
            let refusal = match answer {
                Ok(Answer::Skipped) => None,
                Ok(Answer::Admitted(charge)) => {
                    flow.charges.push((place, charge));
                    None
                }
                Ok(Answer::Exhausted(charge, retry_after)) => {
                    limit.tell_refusal("quota_exceeded", QUOTA_EXCEEDED, request, ports);
                    (limit.mode == Mode::Enforce)
                        .then(|| self.exhausted(limit, &charge, retry_after, request, flow))
                }
                Ok(Answer::KeyMissing) => {
                    limit.tell_refusal("key_missing", KEY_MISSING, request, ports);
                    (limit.mode == Mode::Enforce)
                        .then(|| KEY_MISSING.reply(request).because(NAME, "key_missing"))
                }
                Err(failure) => self
                    .failed(failure, limit.mode, ports)
                    .map(|problem| problem.reply(request).because(NAME, failure.reason())),
            };
            if let Some(reply) = refusal {
                self.give_back(flow, ports);
                flow.replied = true;
                return Err(reply);
            }
        }
        for (place, _) in flow.charges.iter().skip(before) {
            if let Some(limit) = self.limits.get(*place) {
                limit.count_allowed(ports);
            }
        }
        Ok(())
    }

    /// The keys of shared data that this policy uses.
    pub fn slot_names(&self) -> impl Iterator<Item = String> {
        self.table.slot_names()
    }

    /// Adds to another plugin's refusal where the client stands with the limits that counted it.
    #[must_use]
    pub fn show(&self, flow: &mut Flow, reply: LocalReply) -> LocalReply {
        flow.replied = true;
        self.shown(reply, &self.standings(flow))
    }

    fn shown(&self, reply: LocalReply, standings: &[Standing<'_>]) -> LocalReply {
        headers(self.headers, standings)
            .into_iter()
            .fold(reply, |reply, (name, value)| reply.with(name, value))
    }

    fn exhausted(
        &self,
        limit: &Limit,
        charge: &Charge,
        retry_after: Span,
        request: &Request<'_>,
        flow: &Flow,
    ) -> LocalReply {
        // What the others were charged is given back before the client hears of it.
        let others = flow
            .charges
            .iter()
            .filter_map(|(place, charge)| self.limits.get(*place)?.standing_without(charge));
        let standings: Vec<_> = others.chain(limit.standing(charge)).collect();
        let retry_after = retry_after.as_secs_ceil().max(1).to_string();
        let reply = QUOTA_EXCEEDED
            .reply(request)
            .because(NAME, &limit.name)
            .with("retry-after", retry_after);
        self.shown(reply, &standings)
    }

    /// `mode`: of whatever it failed at.
    fn failed(&self, failure: Failure, mode: Mode, ports: &Ports<'_>) -> Option<Problem> {
        self.errors.count(failure, ports);
        let allowed = self.on_error == OnError::Allow && failure.is_our_own();
        if allowed || mode != Mode::Enforce {
            return None;
        }
        let problem = failure.problem();
        let line = LogLine::new(NAME, "refused")
            .with("reason", failure.reason())
            .with("status", problem.status.to_string());
        ports.telemetry.log(line);
        Some(problem)
    }

    fn give_back(&self, flow: &mut Flow, ports: &Ports<'_>) {
        for (place, charge) in flow.charges.drain(..).rev() {
            let Some(limit) = self.limits.get(place) else {
                continue;
            };
            if let Err(error) = limit.give_back(&charge, &self.table, ports) {
                // Nothing more can be done: the client stays charged for a request that was refused.
                self.errors.count(Failure::Slot(error), ports);
            }
        }
    }

    fn hash_key(&self, ports: &Ports<'_>) -> Result<HashKey, Failure> {
        if let Some(key) = self.hash_key.get() {
            return Ok(key);
        }
        let now = ports.clock.now().map_err(|_| Failure::Clock)?;
        let key = shared_hash_key(ports.store, ports.entropy, now).map_err(Failure::Slot)?;
        self.hash_key.set(Some(key));
        Ok(key)
    }

    fn standings(&self, flow: &Flow) -> Vec<Standing<'_>> {
        let standing =
            |(place, charge): &(usize, Charge)| self.limits.get(*place)?.standing(charge);
        flow.charges.iter().filter_map(standing).collect()
    }
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
        Self::for_edge(config, false, setup)
    }

    fn prepare(&self, ports: &Ports<'_>) {
        if self.mode != Mode::Off {
            // A failure shows again, and is counted, with the first request.
            let _ = self.hash_key(ports);
            let _ = self.table.lay_out(ports.store);
        }
    }

    fn on_request<'a>(
        &'a self,
        request: &'a Request<'a>,
        ports: &Ports<'_>,
    ) -> (Verdict<'a>, Flow) {
        let mut flow = Flow::default();
        let verdict = match self.ask(Stage::AfterAuth, request, None, &mut flow, ports) {
            Ok(()) => Verdict::Continue(HeaderEdits::none()),
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
        _ports: &Ports<'_>,
    ) -> HeaderEdits<'a> {
        let mut edits = HeaderEdits::none();
        if flow.replied {
            return edits;
        }
        let ours = headers(self.headers, &self.standings(flow));
        if let (Some(theirs), false) = (response.headers(), ours.is_empty()) {
            // What the upstream says of limits of its own would be read as a part of ours.
            for (name, _) in theirs.iter() {
                if let Ok(name) = std::str::from_utf8(name)
                    && is_of_a_limit(name)
                    && !ours
                        .iter()
                        .any(|(known, _)| name.eq_ignore_ascii_case(known))
                {
                    edits.clear(name.to_owned());
                }
            }
        }
        for (name, value) in ours {
            edits.set(name, value.into_bytes());
        }
        edits
    }

    fn on_host_failure(&self, failure: HostFailure, ports: &Ports<'_>) -> Option<LocalReply> {
        if self.mode == Mode::Off {
            return None;
        }
        let failure = Failure::Host(failure);
        let problem = self.failed(failure, self.mode, ports)?;
        Some(problem.reply_blind().because(NAME, failure.reason()))
    }
}
