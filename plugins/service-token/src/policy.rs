//! `service_token` as a [`Policy`].

use portcullis_policy::config::{
    ClaimPath, Claims, ConfigError, IfAmbiguous, Match, Mode, NonEmpty,
};
use portcullis_policy::{
    Counter, Failure, FailureLines, FailureSettings, Failures, HostFailure, LocalReply, LogLine,
    Policy, Ports, Request, RequestEdits, Setup, Verdict,
};

use crate::config::{Config, InjectConfig, Kind};
use crate::credential::{Credential, Presented, Purpose};
use crate::failure::{BAD_REQUEST, UNSIGNABLE};
use crate::token::Caller;

/// Injects the credential, and lets none of a client's pass.
///
/// A client that sends one of our own secrets is a gateway in front of this one: it is overwritten
/// like any other, and not counted as spoofed. In shadow nothing is injected, cleared or refused.
#[derive(Debug)]
pub struct ServiceToken {
    credential: Credential,
    /// `None`: every request.
    inject: Option<Vec<Rule>>,
    /// Where another filter tells who calls.
    caller_header: Option<String>,
    /// The claims that say who calls, and by whom it is called that.
    sub: ClaimPath,
    iss: ClaimPath,
    mode: Mode,
    errors: Failures,
    metrics: Metrics,
}

/// Requests that the credential is sent with.
#[derive(Debug)]
struct Rule {
    matches: Match,
    audience: Option<String>,
}

#[derive(Debug)]
struct Metrics {
    injected: Counter,
    shadow_injected: Counter,
    spoofed: Counter,
}

impl Policy for ServiceToken {
    const NAME: &'static str = "service_token";
    type Config = Config;
    type Flow = ();

    fn from_config(config: Config, setup: &mut Setup<'_>) -> Result<Self, ConfigError> {
        let mut credential = config.credential.0;
        let kind = credential.kind;
        let caller_header = credential.caller_header.take();
        if caller_header.is_some() && kind != Kind::Jwt {
            let rule = format!("not a key of kind {}", kind.as_str());
            return Err(ConfigError::at("credential.caller_header", rule));
        }
        let credential = Credential::new(credential, setup.environment)
            .map_err(|error| error.within("credential"))?;
        let caller_header = caller_header.map(|name| name.as_str().to_owned());
        if caller_header.is_some() && caller_header.as_deref() == credential.header() {
            let rule = "the header of the credential itself; a client could name any caller there";
            return Err(ConfigError::at("credential.caller_header", rule));
        }
        let inject = match config.inject {
            None => None,
            Some(rules) => Some(Rule::all(rules, kind)?),
        };
        let metrics = &mut *setup.metrics;
        let settings = FailureSettings {
            plugin: Self::NAME,
            metric: "service_token_errors",
            mode: config.mode,
            on_error: config.on_error,
            lines: FailureLines::Refused,
        };
        Ok(Self {
            credential,
            inject,
            caller_header,
            sub: ClaimPath::from_text("sub").map_err(|rule| ConfigError::at("", rule))?,
            iss: ClaimPath::from_text("iss").map_err(|rule| ConfigError::at("", rule))?,
            mode: config.mode,
            errors: Failures::announce(settings, [Failure::Clock, UNSIGNABLE], metrics),
            metrics: Metrics {
                injected: metrics.counter("service_token_injected"),
                shadow_injected: metrics.counter("service_token_shadow_injected"),
                spoofed: metrics.counter("service_token_spoofed"),
            },
        })
    }

    /// Says which secret is sent, for whoever rotates them.
    fn prepare(&self, ports: &Ports<'_>) {
        if self.mode != Mode::Off {
            self.credential.prepare(ports);
            let line = LogLine::new(Self::NAME, "ready").with("secret_id", self.credential.id());
            ports.telemetry.log(line);
        }
    }

    fn on_request<'a>(&'a self, request: &'a Request<'a>, ports: &Ports<'_>) -> (Verdict<'a>, ()) {
        let (verdict, injected) = self.decide(request, None, &RequestEdits::none(), ports);
        if let Some(injected) = injected {
            ports.telemetry.count(injected);
        }
        (verdict, ())
    }

    fn on_host_failure(&self, failure: HostFailure, ports: &Ports<'_>) -> Option<LocalReply> {
        self.errors.on_host_failure(failure, ports)
    }
}

impl ServiceToken {
    /// The key that it has in shared data, if it has one, for whoever keeps other things there too.
    pub fn slot_names(&self) -> impl Iterator<Item = &str> {
        self.credential.slot_name().into_iter()
    }

    /// Whether backends are shown this secret as it is.
    #[must_use]
    pub fn sends(&self, secret: &[u8]) -> bool {
        self.credential.sends(secret)
    }

    /// Whether a header of another filter is to tell who calls.
    #[must_use]
    pub const fn wants_caller_header(&self) -> bool {
        self.caller_header.is_some()
    }

    /// The rule by which the request gets the credential; `Some(None)`: every request does. One that
    /// no rule is about for certain does not: a credential must not be obtained by a path with two
    /// readings.
    fn rule(&self, request: &Request<'_>) -> Option<Option<&Rule>> {
        match &self.inject {
            None => Some(None),
            Some(rules) => {
                let mut rules = rules.iter();
                let rule = rules.find(|rule| rule.matches.matches(request, IfAmbiguous::Misses))?;
                Some(Some(rule))
            }
        }
    }

    /// Decides on a request, and names what is to be counted once it really goes on: for `edge`,
    /// where the breaker is asked after this. `claims`: those of the caller, where they are known;
    /// `changes`: what others have decided to change.
    pub fn decide<'a>(
        &'a self,
        request: &'a Request<'a>,
        claims: Option<&dyn Claims>,
        changes: &RequestEdits<'_>,
        ports: &Ports<'_>,
    ) -> (Verdict<'a>, Option<Counter>) {
        if self.mode == Mode::Off {
            return (Verdict::Continue(RequestEdits::none()), None);
        }
        let presented = self.credential.presented(request);
        self.tell(presented, request, ports);
        let rule = if presented.is_refused() {
            None
        } else {
            self.rule(request)
        };
        let nothing = Verdict::Continue(RequestEdits::none());
        match (self.mode, rule) {
            (Mode::Shadow, None) => return (nothing, None),
            _ if presented.is_refused() => {
                let reply = BAD_REQUEST.reply(request);
                let why = presented.reason().unwrap_or_default();
                return (Verdict::Refuse(reply.because(Self::NAME, why)), None);
            }
            (_, None) => {
                let mut edits = RequestEdits::none();
                self.credential.clear(request, presented, &mut edits);
                return (Verdict::Continue(edits), None);
            }
            (_, Some(_)) => {}
        }
        let rule = rule.flatten();
        let written = self.caller(request, claims).and_then(|caller| {
            let purpose = Purpose {
                audience: rule.and_then(|rule| rule.audience.as_deref()),
                caller,
            };
            self.credential
                .write(request, presented, purpose, changes, ports)
        });
        match (self.mode, written) {
            (Mode::Shadow, Ok(_)) => (nothing, Some(self.metrics.shadow_injected)),
            (Mode::Shadow, Err(failure)) => {
                self.errors.count(failure, ports);
                (nothing, None)
            }
            (_, Ok(edits)) => (Verdict::Continue(edits), Some(self.metrics.injected)),
            (_, Err(failure)) => (self.without(failure, presented, request, ports), None),
        }
    }

    /// Who calls. What the claims say goes before a header, which only a filter in front of this one
    /// can have written.
    fn caller<'r>(
        &self,
        request: &'r Request<'_>,
        claims: Option<&'r dyn Claims>,
    ) -> Result<Option<Caller<'r>>, Failure> {
        if !self.credential.names_callers() {
            return Ok(None);
        }
        if let Some(claims) = claims {
            let text = |claim: &ClaimPath| claims.claim(claim).and_then(serde_json::Value::as_str);
            return match (text(&self.iss), text(&self.sub)) {
                (None, _) => Ok(None),
                // Somebody was verified: to call him the gateway would give him its rights.
                (Some(_), None | Some("")) => Err(UNSIGNABLE),
                (issuer, Some(subject)) => Ok(Some(Caller { subject, issuer })),
            };
        }
        let Some(header) = &self.caller_header else {
            return Ok(None);
        };
        let subject = match request.headers().single(header) {
            Ok(subject) => subject.unwrap_or_default(),
            Err(_) => return Err(UNSIGNABLE),
        };
        let subject = std::str::from_utf8(subject).map_err(|_| UNSIGNABLE)?;
        Ok((!subject.is_empty()).then_some(Caller {
            subject,
            issuer: None,
        }))
    }

    /// What becomes of a request that can't get its credential: it is never forwarded bare, unless
    /// `on_error` says so and the failure is the gateway's.
    fn without<'a>(
        &'a self,
        failure: Failure,
        presented: Presented,
        request: &'a Request<'a>,
        ports: &Ports<'_>,
    ) -> Verdict<'a> {
        if self.errors.is_refused(failure, self.mode, ports) {
            return Verdict::Refuse(self.errors.refuse(failure, request, ports));
        }
        let mut edits = RequestEdits::none();
        self.credential.clear(request, presented, &mut edits);
        Verdict::Continue(edits)
    }

    /// Counts and logs a client that meddles with the credential; one line for each such request.
    fn tell(&self, presented: Presented, request: &Request<'_>, ports: &Ports<'_>) {
        let Some(reason) = presented.reason() else {
            return;
        };
        ports.telemetry.count(self.metrics.spoofed);
        let event = match (self.mode, presented.is_refused()) {
            (Mode::Enforce, true) => "refused",
            (Mode::Enforce, false) => "spoofed",
            (Mode::Shadow | Mode::Off, true) => "shadow_refused",
            (Mode::Shadow | Mode::Off, false) => "shadow_spoofed",
        };
        let line = LogLine::new(Self::NAME, event).with("reason", reason);
        ports.telemetry.log(line.with_id_of(request));
    }
}

impl Rule {
    fn all(rules: NonEmpty<InjectConfig>, kind: Kind) -> Result<Vec<Self>, ConfigError> {
        let rules = rules.into_vec().into_iter().enumerate();
        let rule = |(index, rule): (usize, InjectConfig)| {
            if rule.audience.is_some() && kind != Kind::Jwt {
                let text = format!("not a key of kind {}", kind.as_str());
                let at = format!("inject[{index}].audience");
                return Err(ConfigError::at(at, text));
            }
            Ok(Self {
                matches: rule.matches,
                audience: rule.audience.map(|word| word.as_str().to_owned()),
            })
        };
        rules.map(rule).collect()
    }
}
