//! The policy: one request, one decision.

use std::rc::Rc;

use portcullis_policy::config::{ClaimPath, Claims, ConfigError, Mode, OnError};
use portcullis_policy::{
    Counter, HeaderEdits, HostFailure, LocalReply, LogLine, MetricRegistry, Policy, Ports, Request,
    Setup, Telemetry, Verdict,
};
use serde_json::Value;

use crate::cache::TokenCache;
use crate::claims::Caller;
use crate::config::{Config, CorsPreflight, Realm, TokenForward};
use crate::extractor::Candidate;
use crate::provider::{Provider, Providers};
use crate::refusal::{self, Reason, Refusal};
use crate::rules::{Access, Requirement, Rules};

/// The plugin's rules.
pub struct JwtAuth {
    providers: Providers,
    rules: Rules,
    realm: Realm,
    cors_preflight: CorsPreflight,
    cache: TokenCache,
    mode: Mode,
    on_error: OnError,
    metrics: Metrics,
}

/// Who makes the request at hand.
#[derive(Clone, Default)]
pub struct Flow(Option<Rc<Caller>>);

impl Flow {
    /// The name of the provider that issued the caller's token; `None` when no token was verified.
    #[must_use]
    pub fn provider(&self) -> Option<&str> {
        self.0.as_ref().map(|caller| &*caller.provider_name)
    }
}

impl Claims for Flow {
    fn claim(&self, path: &ClaimPath) -> Option<&Value> {
        path.find(&self.0.as_ref()?.claims)
    }
}

/// How a request passes.
enum Passage<'a> {
    /// Nobody asked who makes it.
    Open,
    /// It is made by a caller whose token stands in that header.
    By(Rc<Caller>, &'a str),
}

impl JwtAuth {
    /// What becomes of decisions.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    fn decide<'a>(
        &'a self,
        request: &'a Request<'a>,
        ports: &Ports<'_>,
    ) -> Result<Passage<'a>, Refusal<'a>> {
        if let Err(ambiguous) = request.path() {
            let refusal = Refusal::from(Reason::AmbiguousPath);
            return Err(refusal.with_detail("fault", ambiguous.reason()));
        }
        if self.providers.identities().came_twice(request.headers()) {
            return Err(Reason::DuplicateIdentity.into());
        }
        if self.cors_preflight == CorsPreflight::Pass && request.is_cors_preflight() {
            return Ok(Passage::Open);
        }
        match self.rules.find(request).ok_or(Reason::NoRule)? {
            Access::Anyone => Ok(Passage::Open),
            Access::Token(requirement) => self.identify(requirement, request, ports),
        }
    }

    fn identify<'a>(
        &'a self,
        requirement: &'a Requirement,
        request: &'a Request<'a>,
        ports: &Ports<'_>,
    ) -> Result<Passage<'a>, Refusal<'a>> {
        let candidate = requirement
            .extractor
            .extract(request.headers())
            .map_err(|_| Reason::SeveralTokens)?
            .ok_or(Reason::NoToken)?;
        let caller = self.verify(&candidate, ports)?;
        match requirement.check(&caller.claims) {
            Ok(()) => {
                self.metrics.count_allowed(&caller, ports.telemetry);
                Ok(Passage::By(caller, candidate.header))
            }
            Err(refusal) => {
                let provider = self.provider(&caller).map_or("", |p| &*p.name);
                Err(refusal.by_provider(provider).of_caller(caller))
            }
        }
    }

    fn verify<'a>(
        &'a self,
        candidate: &Candidate<'_>,
        ports: &Ports<'_>,
    ) -> Result<Rc<Caller>, Refusal<'a>> {
        let now = ports.clock.now().map_err(|_| Reason::ClockUnavailable)?;
        let token = candidate.token;
        if self.cache.is_on() {
            let remembered = self.cache.get(token, now, ports.entropy);
            ports.telemetry.count(match remembered {
                Some(_) => self.metrics.cache_hits,
                None => self.metrics.cache_misses,
            });
            if let Some(caller) = remembered {
                if candidate.providers.contains(&caller.provider) {
                    return Ok(caller);
                }
                // It was verified under a rule that takes other providers.
                let provider = self.provider(&caller).map_or("", |p| &*p.name);
                return Err(Refusal::from(Reason::UnknownIssuer).by_provider(provider));
            }
        }
        let caller = self.providers.verify(token, candidate.providers, now)?;
        let caller = Rc::new(caller);
        if self.cache.is_on() {
            self.cache.put(token, &caller, ports.entropy);
        }
        Ok(caller)
    }

    fn provider(&self, caller: &Caller) -> Option<&Provider> {
        self.providers.entries().get(caller.provider)
    }

    fn pass<'a>(
        &'a self,
        request: &'a Request<'a>,
        caller: Option<&Caller>,
        token: Option<&'a str>,
    ) -> Verdict<'a> {
        let mut edits = HeaderEdits::none();
        let identities = self.providers.identities();
        identities.settle(request.headers(), caller, &mut edits);
        let strips = |provider: &Provider| provider.token_forward == TokenForward::Strip;
        if let (Some(caller), Some(token)) = (caller, token)
            && self.provider(caller).is_none_or(strips)
        {
            edits.clear(token);
        }
        Verdict::Continue(edits)
    }

    fn refuse<'a>(
        &'a self,
        request: &'a Request<'a>,
        refusal: Refusal<'a>,
        ports: &Ports<'_>,
    ) -> (Verdict<'a>, Flow) {
        let event = self.event(refusal.reason);
        self.metrics.count_denied(refusal.reason, ports.telemetry);
        ports
            .telemetry
            .log(refusal.log_line(Self::NAME, event.word(), request));
        if event == Event::Refused {
            let reply = refusal.reply(self.realm.as_str(), request);
            return (Verdict::Refuse(reply), Flow::default());
        }
        // The token stays: whoever stands behind may want to judge it for itself.
        let verdict = self.pass(request, refusal.caller.as_deref(), None);
        (verdict, Flow(refusal.caller))
    }

    fn event(&self, reason: Reason) -> Event {
        match (self.mode, reason.is_own_failure(), self.on_error) {
            (Mode::Shadow | Mode::Off, _, _) => Event::ShadowRefused,
            (Mode::Enforce, true, OnError::Allow) => Event::AllowedOnError,
            (Mode::Enforce, true, OnError::Deny) | (Mode::Enforce, false, _) => Event::Refused,
        }
    }
}

impl Policy for JwtAuth {
    const NAME: &'static str = "jwt_auth";
    type Config = Config;
    type Flow = Flow;

    fn from_config(config: Config, setup: &mut Setup<'_>) -> Result<Self, ConfigError> {
        let providers = Providers::from_config(config.providers, setup.environment)?;
        let rules = Rules::from_config(config.rules.into_vec(), providers.entries())?;
        Ok(Self {
            metrics: Metrics::announce(providers.entries(), setup.metrics),
            providers,
            rules,
            realm: config.realm,
            cors_preflight: config.cors_preflight,
            cache: TokenCache::new(config.cache.tokens.get()),
            mode: config.mode,
            on_error: config.on_error,
        })
    }

    fn on_request<'a>(
        &'a self,
        request: &'a Request<'a>,
        ports: &Ports<'_>,
    ) -> (Verdict<'a>, Flow) {
        if self.mode == Mode::Off {
            return (Verdict::Continue(HeaderEdits::none()), Flow::default());
        }
        match self.decide(request, ports) {
            Ok(Passage::Open) => (self.pass(request, None, None), Flow::default()),
            Ok(Passage::By(caller, token)) => {
                let verdict = self.pass(request, Some(&caller), Some(token));
                (verdict, Flow(Some(caller)))
            }
            Err(refusal) => self.refuse(request, refusal, ports),
        }
    }

    fn on_host_failure(&self, failure: HostFailure, ports: &Ports<'_>) -> Option<LocalReply> {
        if self.mode == Mode::Off {
            return None;
        }
        let reason = Reason::from(failure);
        let event = self.event(reason);
        self.metrics.count_denied(reason, ports.telemetry);
        let line = LogLine::new(Self::NAME, event.word()).with("reason", reason.word());
        ports.telemetry.log(line);
        (event == Event::Refused).then(|| refusal::reply_blind(reason))
    }
}

/// What became of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Refused,
    ShadowRefused,
    AllowedOnError,
}

impl Event {
    const fn word(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::ShadowRefused => "shadow_refused",
            Self::AllowedOnError => "allowed_on_error",
        }
    }
}

struct Metrics {
    /// By the provider's place.
    allowed: Vec<Counter>,
    /// By the reason's place in [`Reason::ALL`].
    denied: Vec<Counter>,
    cache_hits: Counter,
    cache_misses: Counter,
}

impl Metrics {
    fn announce(providers: &[Provider], registry: &mut MetricRegistry) -> Self {
        let allowed = providers.iter().map(|provider| &*provider.name);
        let denied = Reason::ALL.iter().map(|reason| reason.word());
        Self {
            allowed: allowed
                .map(|name| registry.counter(format!("jwt_auth_allowed.provider.{name}")))
                .collect(),
            denied: denied
                .map(|word| registry.counter(format!("jwt_auth_denied.reason.{word}")))
                .collect(),
            cache_hits: registry.counter("jwt_auth_cache_hits"),
            cache_misses: registry.counter("jwt_auth_cache_misses"),
        }
    }

    fn count_allowed(&self, caller: &Caller, telemetry: &dyn Telemetry) {
        if let Some(counter) = self.allowed.get(caller.provider) {
            telemetry.count(*counter);
        }
    }

    fn count_denied(&self, reason: Reason, telemetry: &dyn Telemetry) {
        if let Some(counter) = self.denied.get(reason as usize) {
            telemetry.count(*counter);
        }
    }
}
