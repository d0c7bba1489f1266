//! Asks the limits, all or nothing.

use std::cell::{Cell, OnceCell};

use portcullis_policy::config::{Claims, ConfigError, IfAmbiguous, Match, Mode, OnError};
use portcullis_policy::{
    ClientAddress, Counter, HeaderEdits, HostFailure, LocalReply, LogLine, Policy, Ports, Problem,
    Request, Response, Setup, SlotError, Span, Verdict,
};

use crate::config::{Config, CorsPreflight, HeaderStyle, WhenKeyMissing};
use crate::headers::{Header, Standing, headers};
use crate::key::{Fingerprint, HashKey, KeyPart, NoKey, Source};
use crate::quota::Quota;
use crate::table::{Table, shared_hash_key};

/// The `rate_limit` plugin.
pub struct RateLimit {
    limits: Vec<Limit>,
    table: Table,
    headers: HeaderStyle,
    client_address: ClientAddress,
    cors_preflight: CorsPreflight,
    mode: Mode,
    on_error: OnError,
    hash_key: Cell<Option<HashKey>>,
    errors: Errors,
}

struct Limit {
    name: String,
    matches: Match,
    key: Vec<KeyPart>,
    quota: Quota,
    window_secs: u64,
    when_key_missing: WhenKeyMissing,
    mode: Mode,
    before_auth: bool,
    allowed: Counter,
    limited: Counter,
    shadow_limited: Counter,
    evictions: Counter,
}

/// Which limits are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Those named in `before_auth`.
    BeforeAuth,
    /// All others.
    AfterAuth,
}

/// What one request was charged.
#[derive(Debug, Default)]
pub struct Flow {
    charges: Vec<Charge>,
    replied: bool,
}

#[derive(Debug)]
struct Charge {
    limit: usize,
    fingerprint: Fingerprint,
    window: u64,
    remaining: u32,
    reset: Span,
    shown: bool,
}

/// Why the limiter itself failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    Clock,
    Address,
    Slot(SlotError),
    Host(HostFailure),
}

impl Failure {
    const ALL: [Self; 7] = [
        Self::Clock,
        Self::Address,
        Self::Slot(SlotError::Unavailable),
        Self::Slot(SlotError::Contended),
        Self::Slot(SlotError::Foreign),
        Self::Host(HostFailure::Headers),
        Self::Host(HostFailure::Edit),
    ];

    const fn reason(self) -> &'static str {
        match self {
            Self::Clock => "clock_unavailable",
            Self::Address => "client_address_unknown",
            Self::Slot(error) => error.reason(),
            Self::Host(failure) => failure.reason(),
        }
    }
}

struct Errors(Vec<(Failure, Counter)>);

/// How one limit answered.
enum Asked {
    Admitted(Charge),
    Skipped,
    Exhausted(Charge, Span),
    KeyMissing,
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
const UNAVAILABLE: Problem = Problem {
    status: 503,
    kind: "unavailable",
    title: "Service unavailable",
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
        if !has_claims {
            config.refuse_claims()?;
        }
        let before_auth = &config.before_auth.0;
        let limits = config
            .limits
            .into_vec()
            .into_iter()
            .enumerate()
            .map(|(place, limit)| {
                let name = limit.name.as_str().to_owned();
                let key = limit.key.into_vec();
                let before_auth = before_auth.contains(&limit.name);
                if before_auth && key.iter().any(|part| matches!(part, KeyPart::Claim(_))) {
                    let path = format!("limits[{place}].key");
                    return Err(ConfigError::at(path, "a claim is not known before_auth"));
                }
                let metrics = &mut *setup.metrics;
                Ok(Limit {
                    allowed: metrics.counter(format!("rate_limit_allowed.limit.{name}")),
                    limited: metrics.counter(format!("rate_limit_limited.limit.{name}")),
                    shadow_limited: metrics
                        .counter(format!("rate_limit_shadow_limited.limit.{name}")),
                    evictions: metrics.counter(format!("rate_limit_evictions.limit.{name}")),
                    name,
                    matches: limit.matches,
                    key,
                    quota: Quota {
                        algorithm: limit.algorithm,
                        quota: limit.quota.get(),
                        window: limit.window.span(),
                    },
                    window_secs: limit.window.span().as_secs_ceil(),
                    when_key_missing: limit.when_key_missing,
                    mode: limit.mode,
                    before_auth,
                })
            });
        let limits = limits.collect::<Result<Vec<_>, _>>()?;
        let errors = Failure::ALL.map(|failure| {
            let name = format!("rate_limit_errors.reason.{}", failure.reason());
            (failure, setup.metrics.counter(name))
        });
        Ok(Self {
            limits,
            table: Table::with_capacity(config.capacity.get()),
            headers: config.headers,
            client_address: config.client_address.into(),
            cors_preflight: config.cors_preflight,
            mode: config.mode,
            on_error: config.on_error,
            hash_key: Cell::new(None),
            errors: Errors(errors.to_vec()),
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
        let skipped = self.mode == Mode::Off
            || (self.cors_preflight == CorsPreflight::Pass && request.is_cors_preflight());
        if skipped {
            return Ok(());
        }
        let source = Source {
            request,
            client_address: &self.client_address,
            claims,
            address: OnceCell::new(),
        };
        let before = flow.charges.len();
        for (place, limit) in self.limits.iter().enumerate() {
            if limit.before_auth != (stage == Stage::BeforeAuth) {
                continue;
            }
            let result = match self.ask_limit(place, limit, &source, ports) {
                Ok(Asked::Skipped) => Ok(()),
                Ok(Asked::Admitted(charge)) => {
                    flow.charges.push(charge);
                    Ok(())
                }
                Ok(Asked::Exhausted(charge, retry_after)) => {
                    self.exhausted(limit, charge, retry_after, request, flow, ports)
                }
                Ok(Asked::KeyMissing) => self.key_missing(limit, request, ports),
                Err(failure) => self
                    .failed(failure, Some(request), ports)
                    .map_or(Ok(()), Err),
            };
            if let Err(reply) = result {
                self.give_back(flow, ports);
                flow.replied = true;
                return Err(reply);
            }
        }
        for charge in flow.charges.iter().skip(before) {
            if let Some(limit) = self.limits.get(charge.limit) {
                ports.telemetry.count(limit.allowed);
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
        let standings = self.standings(flow);
        headers(self.headers, &standings)
            .into_iter()
            .fold(reply, |reply, (name, value)| reply.with(name, value))
    }

    fn ask_limit(
        &self,
        place: usize,
        limit: &Limit,
        source: &Source<'_, '_>,
        ports: &Ports<'_>,
    ) -> Result<Asked, Failure> {
        if limit.mode == Mode::Off || !limit.matches.matches(source.request, IfAmbiguous::Matches) {
            return Ok(Asked::Skipped);
        }
        let now = ports.clock.now().map_err(|_| Failure::Clock)?;
        let hash_key = self.hash_key(ports)?;
        let share = limit.when_key_missing == WhenKeyMissing::Share;
        let fingerprint = match Fingerprint::of(&limit.name, &limit.key, source, &hash_key, share) {
            Ok(fingerprint) => fingerprint,
            Err(NoKey::AddressUnknown) => return Err(Failure::Address),
            Err(NoKey::Missing) if limit.when_key_missing == WhenKeyMissing::Deny => {
                return Ok(Asked::KeyMissing);
            }
            Err(NoKey::Missing) => return Ok(Asked::Skipped),
        };
        let charged = self
            .table
            .charge(ports.store, fingerprint, &limit.quota, now)
            .map_err(Failure::Slot)?;
        if charged.evicted {
            ports.telemetry.count(limit.evictions);
        }
        let decision = charged.decision;
        let charge = Charge {
            limit: place,
            fingerprint,
            window: decision.charged.unwrap_or(0),
            remaining: decision.remaining,
            reset: decision.reset,
            shown: self.enforces(limit),
        };
        Ok(match decision.charged {
            Some(_) => Asked::Admitted(charge),
            None => Asked::Exhausted(charge, decision.retry_after),
        })
    }

    fn exhausted(
        &self,
        limit: &Limit,
        charge: Charge,
        retry_after: Span,
        request: &Request<'_>,
        flow: &Flow,
        ports: &Ports<'_>,
    ) -> Result<(), LocalReply> {
        if !self.enforces(limit) {
            ports.telemetry.count(limit.shadow_limited);
            self.log(
                "shadow_refused",
                limit,
                "quota_exceeded",
                QUOTA_EXCEEDED,
                request,
                ports,
            );
            return Ok(());
        }
        ports.telemetry.count(limit.limited);
        self.log(
            "refused",
            limit,
            "quota_exceeded",
            QUOTA_EXCEEDED,
            request,
            ports,
        );
        let mut standings = self.standings(flow);
        standings.extend(self.standing(&charge));
        let reply = QUOTA_EXCEEDED
            .reply(request)
            .with("retry-after", retry_after.as_secs_ceil().max(1).to_string());
        let shown: Vec<Header> = headers(self.headers, &standings);
        Err(shown
            .into_iter()
            .fold(reply, |reply, (name, value)| reply.with(name, value)))
    }

    fn key_missing(
        &self,
        limit: &Limit,
        request: &Request<'_>,
        ports: &Ports<'_>,
    ) -> Result<(), LocalReply> {
        if !self.enforces(limit) {
            ports.telemetry.count(limit.shadow_limited);
            self.log(
                "shadow_refused",
                limit,
                "key_missing",
                KEY_MISSING,
                request,
                ports,
            );
            return Ok(());
        }
        ports.telemetry.count(limit.limited);
        self.log("refused", limit, "key_missing", KEY_MISSING, request, ports);
        Err(KEY_MISSING.reply(request))
    }

    fn failed(
        &self,
        failure: Failure,
        request: Option<&Request<'_>>,
        ports: &Ports<'_>,
    ) -> Option<LocalReply> {
        self.count(failure, ports);
        if self.on_error == OnError::Allow || self.mode != Mode::Enforce {
            return None;
        }
        let line = LogLine::new(Self::NAME, "refused")
            .with("reason", failure.reason())
            .with("status", UNAVAILABLE.status.to_string());
        ports.telemetry.log(line);
        Some(request.map_or_else(
            || UNAVAILABLE.reply_blind(),
            |request| UNAVAILABLE.reply(request),
        ))
    }

    fn give_back(&self, flow: &mut Flow, ports: &Ports<'_>) {
        for charge in flow.charges.drain(..).rev() {
            if let Err(error) = self
                .table
                .give_back(ports.store, charge.fingerprint, charge.window)
            {
                // Nothing more can be done: the client is charged for a request that was refused.
                self.count(Failure::Slot(error), ports);
            }
        }
    }

    fn count(&self, failure: Failure, ports: &Ports<'_>) {
        for (known, counter) in &self.errors.0 {
            if *known == failure {
                ports.telemetry.count(*counter);
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

    fn enforces(&self, limit: &Limit) -> bool {
        self.mode == Mode::Enforce && limit.mode == Mode::Enforce
    }

    fn standings(&self, flow: &Flow) -> Vec<Standing<'_>> {
        flow.charges
            .iter()
            .filter_map(|charge| self.standing(charge))
            .collect()
    }

    fn standing(&self, charge: &Charge) -> Option<Standing<'_>> {
        let limit = self.limits.get(charge.limit).filter(|_| charge.shown)?;
        Some(Standing {
            name: &limit.name,
            quota: limit.quota.quota,
            window: limit.window_secs,
            remaining: charge.remaining,
            reset: charge.reset.as_secs_ceil(),
        })
    }

    fn log(
        &self,
        event: &str,
        limit: &Limit,
        reason: &str,
        problem: Problem,
        request: &Request<'_>,
        ports: &Ports<'_>,
    ) {
        let line = LogLine::new(Self::NAME, event)
            .with("reason", reason)
            .with("limit", &limit.name)
            .with("status", problem.status.to_string())
            .with("method", request.method())
            .with("path", request.target_without_query());
        let line = match request.id() {
            Some(id) => line.with("request_id", id),
            None => line,
        };
        ports.telemetry.log(line);
    }
}

impl Policy for RateLimit {
    const NAME: &'static str = "rate_limit";
    type Config = Config;
    type Flow = Flow;

    fn from_config(config: Config, setup: &mut Setup<'_>) -> Result<Self, ConfigError> {
        if !config.before_auth.0.is_empty() {
            return Err(ConfigError::at(
                "before_auth",
                "unknown field; it belongs into the filter `edge`",
            ));
        }
        Self::for_edge(config, false, setup)
    }

    fn prepare(&self, ports: &Ports<'_>) {
        if self.mode != Mode::Off {
            // A failure shows again, and is counted, with the first request.
            let _ = self.hash_key(ports);
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
        self.headers != HeaderStyle::None && self.mode != Mode::Off
    }

    fn on_response<'a>(
        &'a self,
        flow: &'a mut Flow,
        _response: &dyn Response,
        _ports: &Ports<'_>,
    ) -> HeaderEdits<'a> {
        let mut edits = HeaderEdits::none();
        if !flow.replied {
            for (name, value) in headers(self.headers, &self.standings(flow)) {
                edits.set(name, value.into_bytes());
            }
        }
        edits
    }

    fn on_host_failure(&self, failure: HostFailure, ports: &Ports<'_>) -> Option<LocalReply> {
        if self.mode == Mode::Off {
            return None;
        }
        self.failed(Failure::Host(failure), None, ports)
    }
}
