//! The policy: one request, one decision.

use std::collections::BTreeSet;
use std::rc::Rc;

use portcullis_policy::config::{ClaimPath, Claims, ConfigError, Mode};
use portcullis_policy::{
    CallId, CallReply, CallerNames, Control, Failure, FailureLines, FailureSettings, Failures,
    Fate, HostFailure, HttpCall, LocalReply, Policy, Ports, Request, RequestEdits, Setup, Span,
    Verdict, colliding,
};
use serde_json::Value;

use crate::NAME;
use crate::background::Background;
use crate::budget::VerifyBudget;
use crate::cache::TokenCache;
use crate::caller::Caller;
use crate::config::{Config, CorsPreflight, IfInvalid, Realm, TokenForward};
use crate::extractor::{self, Candidate, Location, SeveralTokens};
use crate::metrics::{DENIED, Metrics};
use crate::naming::{self, Naming};
use crate::provider::{Provider, Providers};
use crate::ready;
use crate::refusal::{KEYS_STALE, KEYS_UNAVAILABLE, Reason, Refusal};
use crate::rejected::RejectedTokens;
use crate::rules::{Access, Requirement, Rules};
use crate::verifier::{Occasion, Verifier};

/// The plugin's rules.
pub struct JwtAuth {
    pub(crate) providers: Providers,
    rules: Rules,
    realm: Realm,
    cors_preflight: CorsPreflight,
    pub(crate) verifier: Verifier,
    pub(crate) cache: TokenCache,
    /// In bytes.
    longest_token: usize,
    pub(crate) background: Background,
    mode: Mode,
    errors: Failures,
    ready_path: Option<String>,
    /// Whether requests may wait for keys.
    holds: bool,
    /// Whether the gateway is told who calls.
    identity_metadata: bool,
    control: Option<Control>,
    pub(crate) naming: Naming,
    pub(crate) metrics: Metrics,
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
    /// Nobody asked who makes it, or nobody said.
    Open,
    /// A token came that does not hold, where none is needed. It goes no further.
    Anonymous(Vec<Location<'a>>),
    /// It is made by this caller.
    By(Verified<'a>, Vec<Verified<'a>>),
}

/// A caller, and where the token stands that says so.
struct Verified<'a> {
    caller: Rc<Caller>,
    location: Location<'a>,
}

impl JwtAuth {
    /// What becomes of decisions.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// The path at which it says whether it is ready.
    #[must_use]
    pub fn ready_path(&self) -> Option<&str> {
        self.ready_path.as_deref()
    }

    /// Whether it holds any request until keys have come.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.holds && self.mode == Mode::Enforce
    }

    /// All keys in shared data that it uses.
    pub fn slot_names(&self) -> impl Iterator<Item = &str> {
        let remote = self.providers.remote_keys();
        remote.flat_map(|(_, keys)| keys.slot_names())
    }

    /// The names of callers in the log are those of a control path that is not this plugin's own.
    pub fn name_callers(&mut self, names: &CallerNames) {
        self.naming.names = Some(names.clone());
    }

    fn decide<'a>(
        &'a self,
        request: &'a Request<'a>,
        ports: &Ports<'_>,
    ) -> Result<Passage<'a>, Refusal<'a>> {
        if let Err(ambiguous) = request.path() {
            let refusal = Refusal::from(Reason::AmbiguousPath);
            return Err(refusal.with_detail("fault", ambiguous.as_str()));
        }
        let no_host = match request.host() {
            Ok(None) if self.rules.name_hosts() => Some("no_host"),
            Ok(Some(_) | None) => None,
            Err(ambiguous) => Some(ambiguous.as_str()),
        };
        if let Some(fault) = no_host {
            return Err(Refusal::from(Reason::AmbiguousHost).with_detail("fault", fault));
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

    /// The answer to a request for the path that says whether this gateway can judge every token;
    /// `None` for any other.
    #[must_use]
    pub fn answer_ready(&self, request: &Request<'_>, ports: &Ports<'_>) -> Option<LocalReply> {
        let asked = ready::is_for(self.ready_path.as_deref()?, request);
        asked.then(|| self.ready(ports))
    }

    /// Whether this gateway can judge every token, as an answer. Without a clock no key can be
    /// believed; a plugin that is off needs none.
    #[must_use]
    pub fn ready(&self, ports: &Ports<'_>) -> LocalReply {
        let now = ports.clock.now().ok();
        let lacks_keys = |provider: &&Provider| {
            self.mode != Mode::Off && !now.is_some_and(|now| provider.is_ready(now))
        };
        let providers = self.providers.entries().iter();
        ready::answer(providers.filter(lacks_keys).map(|provider| &*provider.name))
    }

    fn identify<'a>(
        &'a self,
        requirement: &'a Requirement,
        request: &'a Request<'a>,
        ports: &Ports<'_>,
    ) -> Result<Passage<'a>, Refusal<'a>> {
        let mut extractors = requirement.tokens.iter();
        let mut next = || match extractors.next() {
            Some(extractor) => extractor
                .extract(request)
                .map(Some)
                .map_err(|SeveralTokens| Refusal::from(Reason::SeveralTokens)),
            None => Ok(None),
        };
        let mut candidates = Vec::new();
        while let Some(candidate) = next()? {
            candidates.push(candidate);
        }
        if requirement.optional.is_some() && candidates.iter().all(Option::is_none) {
            return Ok(Passage::Open);
        }
        let verified = candidates.iter().map(|candidate| {
            let candidate = candidate.as_ref().ok_or(Reason::NoToken)?;
            let verified = self.verify(candidate, request, ports);
            verified.map_err(|refusal| refusal.of_token(naming::mark(candidate.token)))
        });
        let mut verified = match verified.collect::<Result<Vec<_>, _>>() {
            Ok(verified) => verified.into_iter(),
            Err(refusal)
                if requirement.optional == Some(IfInvalid::Anonymous)
                    && refusal.reason.is_invalid_token() =>
            {
                self.note(&refusal, ANONYMOUS, request, ports);
                let tokens = candidates.iter().flatten();
                return Ok(Passage::Anonymous(
                    tokens.map(|candidate| candidate.location).collect(),
                ));
            }
            Err(refusal) => return Err(refusal),
        };
        let first = verified.next().ok_or(Reason::NoToken)?;
        let others: Vec<_> = verified.collect();
        match requirement.check(&first.caller.claims) {
            Ok(()) => {
                for verified in std::iter::once(&first).chain(&others) {
                    self.metrics
                        .count_allowed(&verified.caller, ports.telemetry);
                }
                Ok(Passage::By(first, others))
            }
            Err(refusal) => {
                let provider = self.provider(&first.caller).map_or("", |p| &*p.name);
                let mark = candidates.iter().flatten().next();
                let mark = mark.and_then(|candidate| naming::mark(candidate.token));
                let refusal = refusal.by_provider(provider).of_token(mark);
                Err(refusal.of_caller(first.caller))
            }
        }
    }

    /// For how long at most a request is worth holding for the keys of its tokens.
    fn wait<'a>(&'a self, request: &'a Request<'a>, ports: &Ports<'_>) -> Option<Span> {
        if self.cors_preflight == CorsPreflight::Pass && request.is_cors_preflight() {
            return None;
        }
        let Some(Access::Token(requirement)) = self.rules.find(request) else {
            return None;
        };
        let now = ports.clock.now().ok()?;
        let tokens = requirement.tokens.iter().filter_map(|extractor| {
            let candidate = extractor.extract(request).ok().flatten()?;
            let is_known = || {
                self.cache.is_on()
                    && self
                        .cache
                        .get(candidate.token, now, ports.entropy)
                        .is_some()
            };
            let is_one = candidate.token.len() <= self.longest_token && !is_known();
            is_one.then_some(candidate)
        });
        let providers = &self.providers;
        tokens
            .filter_map(|candidate| providers.wait(candidate.token, candidate.providers, now))
            .max()
    }

    fn verify<'a>(
        &'a self,
        candidate: &Candidate<'a>,
        request: &Request<'_>,
        ports: &Ports<'_>,
    ) -> Result<Verified<'a>, Refusal<'a>> {
        let now = ports.clock.now().map_err(Reason::from)?;
        let (token, location) = (candidate.token, candidate.location);
        // Before anything is done with it whose price depends on its length.
        if token.len() > self.longest_token {
            return Err(Reason::TooLarge.into());
        }
        if self.cache.is_on() {
            let remembered = self.cache.get(token, now, ports.entropy);
            ports.telemetry.count(match remembered {
                Some(_) => self.metrics.cache_hits,
                None => self.metrics.cache_misses,
            });
            if let Some(caller) = remembered {
                if candidate.providers.contains(&caller.provider) {
                    return Ok(Verified { caller, location });
                }
                // It was verified under a rule that takes other providers.
                let provider = self.provider(&caller).map_or("", |p| &*p.name);
                return Err(Refusal::from(Reason::UnknownIssuer).by_provider(provider));
            }
        }
        let occasion = Occasion {
            request,
            now,
            entropy: ports.entropy,
        };
        let accepted = candidate.providers;
        let caller = self
            .providers
            .verify(token, accepted, &self.verifier, &occasion)?;
        let caller = Rc::new(caller);
        if self.cache.is_on() {
            self.cache.put(token, &caller, ports.entropy);
        }
        Ok(Verified { caller, location })
    }

    fn provider(&self, caller: &Caller) -> Option<&Provider> {
        self.providers.entries().get(caller.provider)
    }

    /// Writes what is known of the callers, and takes their tokens out.
    fn pass<'a>(
        &'a self,
        request: &'a Request<'a>,
        callers: &[&Caller],
        stripped: &[Location<'a>],
    ) -> Verdict<'a> {
        let mut edits = RequestEdits::none();
        let identities = self.providers.identities();
        identities.settle(request.headers(), callers, &mut edits);
        if self.identity_metadata {
            identities.tell(callers, &mut edits);
        }
        extractor::strip(request, stripped, &mut edits);
        Verdict::Continue(edits)
    }

    /// Whether a caller's token goes no further.
    fn strips(&self, caller: &Caller) -> bool {
        let strips = |provider: &Provider| provider.token_forward == TokenForward::Strip;
        self.provider(caller).is_none_or(strips)
    }

    fn refuse<'a>(
        &'a self,
        request: &'a Request<'a>,
        refusal: Refusal<'a>,
        ports: &Ports<'_>,
    ) -> (Verdict<'a>, Flow) {
        let fate = self.fate(refusal.reason);
        self.note(&refusal, fate.as_str(), request, ports);
        if fate == Fate::Refused {
            let reply = refusal.reply(self.realm.as_str(), request);
            return (Verdict::Refuse(reply), Flow::default());
        }
        // The token stays: whoever stands behind may want to judge it for itself.
        let callers: Vec<_> = refusal.caller.as_deref().into_iter().collect();
        let verdict = self.pass(request, &callers, &[]);
        (verdict, Flow(refusal.caller))
    }

    /// Counts and logs why a request is refused, or would be.
    fn note(&self, refusal: &Refusal<'_>, event: &str, request: &Request<'_>, ports: &Ports<'_>) {
        match refusal.reason {
            Reason::Failed(failure) => self.errors.count(failure, ports),
            reason => self.metrics.count_denied(reason, ports.telemetry),
        }
        let line = refusal.log_line(Self::NAME, event, &self.naming, request);
        ports.telemetry.log(line);
    }

    fn fate(&self, reason: Reason) -> Fate {
        match (reason, self.mode) {
            (Reason::Failed(failure), mode) => self.errors.fate(failure, mode),
            (_, Mode::Enforce) => Fate::Refused,
            (_, Mode::Shadow | Mode::Off) => Fate::ShadowRefused,
        }
    }
}

impl Policy for JwtAuth {
    const NAME: &'static str = NAME;
    type Config = Config;
    type Flow = Flow;

    fn from_config(config: Config, setup: &mut Setup<'_>) -> Result<Self, ConfigError> {
        let providers = Providers::from_config(config.providers, setup.environment)?;
        let rules = Rules::from_config(config.rules.into_vec(), providers.entries())?;
        let names = providers
            .remote_keys()
            .flat_map(|(_, keys)| keys.slot_names());
        let names: BTreeSet<_> = names.collect();
        if let Some((one, other)) = colliding(names) {
            let rule = format!("Kong can't tell the slots {one:?} and {other:?} of two key sets");
            return Err(ConfigError::at("providers", rule));
        }
        let holding = providers.remote_keys().find(|(_, keys)| keys.has_wait());
        let holding = holding.and_then(|(index, _)| providers.entries().get(index));
        let holds = holding.is_some();
        if let (Some(provider), false) = (holding, setup.abilities.holds_requests) {
            let at = format!("providers.{}.keys", provider.name);
            let rule = "`wait`: this gateway can't hold a request until keys have come; Envoy can";
            return Err(ConfigError::at(at, rule));
        }
        if config.identity_metadata && !setup.abilities.takes_metadata {
            let rule = "this gateway takes no metadata of a filter; Envoy does, of one that is native code";
            return Err(ConfigError::at("identity_metadata", rule));
        }
        let control = config
            .control
            .map(|control| Control::new(control, NAME, setup));
        let control = control.transpose()?;
        let ready_path = config.ready.map(|ready| ready.path.as_str().to_owned());
        if let (Some(control), Some(path)) = (&control, &ready_path) {
            control.check_apart("ready", path)?;
        }
        let settings = FailureSettings {
            plugin: NAME,
            metric: DENIED,
            mode: config.mode,
            on_error: config.on_error,
            lines: FailureLines::All,
        };
        let others = [KEYS_UNAVAILABLE, KEYS_STALE, Failure::Clock];
        let errors = Failures::announce(settings, others, setup.metrics);
        Ok(Self {
            naming: Naming {
                in_clear: config.log_subject,
                names: control.as_ref().map(|control| control.names().clone()),
            },
            control,
            metrics: Metrics::announce(&providers, setup.metrics),
            verifier: Verifier {
                rejected: RejectedTokens::default(),
                budget: VerifyBudget::from(&config.verify_budget),
                client_address: config.client_address.into(),
            },
            background: Background::default(),
            providers,
            rules,
            realm: config.realm,
            cors_preflight: config.cors_preflight,
            cache: TokenCache::new(config.cache.tokens.get()),
            longest_token: usize::try_from(config.max_token_bytes.get()).unwrap_or(usize::MAX),
            mode: config.mode,
            errors,
            ready_path,
            holds,
            identity_metadata: config.identity_metadata,
        })
    }

    fn prepare(&self, ports: &Ports<'_>) {
        self.tell_skipped(ports);
        self.on_tick(ports);
    }

    fn tick_every(&self) -> Span {
        let fetches = self.providers.remote_keys().next().is_some();
        // So often it is looked whether another worker has brought keys.
        Span::from_millis(if fetches { 100 } else { 1000 })
    }

    fn on_tick(&self, ports: &Ports<'_>) {
        if self.mode != Mode::Off {
            self.sync(ports);
        }
    }

    fn fetches(&self) -> bool {
        self.mode != Mode::Off && self.providers.remote_keys().next().is_some()
    }

    fn next_call(&self, ports: &Ports<'_>) -> Option<(CallId, HttpCall)> {
        if self.mode == Mode::Off {
            return None;
        }
        self.background.next_call(&self.providers, ports)
    }

    fn take_wanted(&self) -> Vec<CallId> {
        self.wanted()
    }

    fn want(&self, call: CallId, ports: &Ports<'_>) {
        Self::want(self, call, ports);
    }

    fn on_call_end(&self, call: CallId, reply: &dyn CallReply, ports: &Ports<'_>) {
        self.learn(call, reply, ports);
    }

    fn hold<'a>(&'a self, request: &'a Request<'a>, ports: &Ports<'_>) -> Option<Span> {
        let is_own = || {
            let ready = self.ready_path.as_deref();
            ready.is_some_and(|path| ready::is_for(path, request))
                || self
                    .control
                    .as_ref()
                    .is_some_and(|control| control.is_for(request))
        };
        match self.holds() && request.path().is_ok() && !is_own() {
            true => self.wait(request, ports),
            false => None,
        }
    }

    fn on_held(&self, ports: &Ports<'_>) {
        ports.telemetry.count(self.metrics.held);
    }

    fn on_request<'a>(
        &'a self,
        request: &'a Request<'a>,
        ports: &Ports<'_>,
    ) -> (Verdict<'a>, Flow) {
        if let Some(reply) = self.answer_ready(request, ports) {
            return (Verdict::Refuse(reply), Flow::default());
        }
        if let Some(control) = &self.control
            && let Some(reply) = control.answer(request, self, ports)
        {
            return (Verdict::Refuse(reply), Flow::default());
        }
        if self.mode == Mode::Off {
            return (Verdict::Continue(RequestEdits::none()), Flow::default());
        }
        match self.decide(request, ports) {
            Ok(Passage::Open) => (self.pass(request, &[], &[]), Flow::default()),
            Ok(Passage::By(first, others)) => {
                let all = || std::iter::once(&first).chain(&others);
                let callers: Vec<&Caller> = all().map(|verified| &*verified.caller).collect();
                let stripped = all().filter(|verified| self.strips(&verified.caller));
                let stripped: Vec<_> = stripped.map(|verified| verified.location).collect();
                let verdict = self.pass(request, &callers, &stripped);
                (verdict, Flow(Some(first.caller)))
            }
            Ok(Passage::Anonymous(tokens)) => {
                // In shadow nothing is taken away but what a client must not write.
                let stripped = match self.mode {
                    Mode::Enforce => tokens.as_slice(),
                    Mode::Shadow | Mode::Off => &[],
                };
                (self.pass(request, &[], stripped), Flow::default())
            }
            Err(refusal) => self.refuse(request, refusal, ports),
        }
    }

    fn on_host_failure(&self, failure: HostFailure, ports: &Ports<'_>) -> Option<LocalReply> {
        self.errors.on_host_failure(failure, ports)
    }
}

/// The event of a request that passes as nobody's.
const ANONYMOUS: &str = "anonymous";
