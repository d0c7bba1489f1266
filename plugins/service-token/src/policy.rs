//! `service_token` as a [`Policy`].

use portcullis_policy::config::{ConfigError, IfAmbiguous, Match, Mode, OnError};
use portcullis_policy::{
    Counter, HeaderEdits, Headers, HostFailure, LocalReply, LogLine, Policy, Ports, Problem,
    Request, Setup, Verdict, clear_spellings, spelled_like,
};

use crate::config::{Config, Kind};
use crate::static_secret::StaticSecret;

/// Injects the credential, and lets none of a client's pass.
///
/// A client that sends one of our own secrets is a gateway in front of this one: it is overwritten
/// like any other, and not counted as spoofed. In shadow nothing is injected, cleared or refused.
#[derive(Debug)]
pub struct ServiceToken {
    credential: StaticSecret,
    /// `None`: every request.
    inject: Option<Vec<Match>>,
    mode: Mode,
    on_error: OnError,
    metrics: Metrics,
}

#[derive(Debug)]
struct Metrics {
    injected: Counter,
    shadow_injected: Counter,
    spoofed: Counter,
    headers_unreadable: Counter,
    headers_cut: Counter,
    edit_failed: Counter,
}

/// What a client sent under the credential's name, or did to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Nothing,
    /// One of our secrets.
    Ours,
    /// Anything else.
    Forged,
    /// More than one line. On Kong only the first of them can be overwritten.
    Several,
    /// Its name in `connection`, so that the next hop drops it (RFC 9110 section 7.6.1).
    NamedHopByHop,
}

const BAD_REQUEST: Problem = Problem {
    status: 400,
    kind: "bad-request",
    title: "Bad request",
};

impl Policy for ServiceToken {
    const NAME: &'static str = "service_token";
    type Config = Config;
    type Flow = ();

    fn from_config(config: Config, setup: &mut Setup<'_>) -> Result<Self, ConfigError> {
        let credential = config.credential.0;
        let credential = match credential.kind {
            Kind::Static => StaticSecret::new(credential, setup.environment),
        };
        let metrics = &mut *setup.metrics;
        let mut failed = |failure: HostFailure| {
            metrics.counter(format!("service_token_errors.reason.{}", failure.reason()))
        };
        let (headers_unreadable, edit_failed) =
            (failed(HostFailure::Headers), failed(HostFailure::Edit));
        let headers_cut = failed(HostFailure::HeadersCut);
        Ok(Self {
            credential: credential.map_err(|error| error.within("credential"))?,
            inject: config.inject.map(|rules| {
                let rules = rules.into_vec().into_iter();
                rules.map(|rule| rule.matches).collect()
            }),
            mode: config.mode,
            on_error: config.on_error,
            metrics: Metrics {
                injected: metrics.counter("service_token_injected"),
                shadow_injected: metrics.counter("service_token_shadow_injected"),
                spoofed: metrics.counter("service_token_spoofed"),
                headers_unreadable,
                headers_cut,
                edit_failed,
            },
        })
    }

    /// Says which secret is sent, for whoever rotates them.
    fn prepare(&self, ports: &Ports<'_>) {
        if self.mode != Mode::Off {
            let line = LogLine::new(Self::NAME, "ready").with("secret_id", self.credential.id());
            ports.telemetry.log(line);
        }
    }

    fn on_request<'a>(&'a self, request: &'a Request<'a>, ports: &Ports<'_>) -> (Verdict<'a>, ()) {
        let (verdict, injected) = self.decide(request, ports);
        if let Some(injected) = injected {
            ports.telemetry.count(injected);
        }
        (verdict, ())
    }

    fn on_host_failure(&self, failure: HostFailure, ports: &Ports<'_>) -> Option<LocalReply> {
        if self.mode == Mode::Off {
            return None;
        }
        ports.telemetry.count(match failure {
            HostFailure::Headers => self.metrics.headers_unreadable,
            HostFailure::HeadersCut => self.metrics.headers_cut,
            HostFailure::Edit => self.metrics.edit_failed,
        });
        let on_error = if failure.is_the_gateways() {
            self.on_error
        } else {
            OnError::Deny
        };
        match (self.mode, on_error) {
            (Mode::Enforce, OnError::Deny) => {
                let line = LogLine::new(Self::NAME, "refused").with("reason", failure.reason());
                ports.telemetry.log(line);
                Some(failure.problem().reply_blind())
            }
            (Mode::Enforce, OnError::Allow)
            | (Mode::Shadow | Mode::Off, OnError::Allow | OnError::Deny) => None,
        }
    }
}

impl ServiceToken {
    fn sent(&self, headers: &Headers) -> Sent {
        let ours = self.credential.header();
        let mut named = headers
            .values("connection")
            .flat_map(|value| value.split(|byte| *byte == b','));
        if named.any(|name| spelled_like(name.trim_ascii(), ours)) {
            return Sent::NamedHopByHop;
        }
        let mut lines = headers.iter().filter(|(name, _)| spelled_like(name, ours));
        match (lines.next(), lines.next()) {
            (None, _) => Sent::Nothing,
            (Some((_, value)), None) if self.credential.is_ours(value) => Sent::Ours,
            (Some(_), None) => Sent::Forged,
            (Some(_), Some(_)) => Sent::Several,
        }
    }

    /// Whether the request is one that gets the credential. One that no rule is about for certain
    /// does not: a credential must not be obtained by a path with two readings.
    fn injects(&self, request: &Request<'_>) -> bool {
        self.inject.as_ref().is_none_or(|rules| {
            rules
                .iter()
                .any(|rule| rule.matches(request, IfAmbiguous::Misses))
        })
    }

    /// One header is written, and nothing of a client's is left.
    /// Decides on a request, and names what is to be counted once it really goes on: for `edge`, where
    /// the breaker is asked after this.
    pub fn decide<'a>(
        &'a self,
        request: &'a Request<'a>,
        ports: &Ports<'_>,
    ) -> (Verdict<'a>, Option<Counter>) {
        if self.mode == Mode::Off {
            return (Verdict::Continue(HeaderEdits::none()), None);
        }
        let sent = self.sent(request.headers());
        self.tell(sent, request, ports);
        let injects = !sent.is_refused() && self.injects(request);
        if self.mode == Mode::Shadow {
            let injected = injects.then_some(self.metrics.shadow_injected);
            return (Verdict::Continue(HeaderEdits::none()), injected);
        }
        if sent.is_refused() {
            return (Verdict::Refuse(BAD_REQUEST.reply(request)), None);
        }
        let edits = self.edits(sent, injects, request);
        (
            Verdict::Continue(edits),
            injects.then_some(self.metrics.injected),
        )
    }

    fn edits<'a>(&'a self, sent: Sent, injects: bool, request: &'a Request<'a>) -> HeaderEdits<'a> {
        let mut edits = HeaderEdits::none();
        let header = self.credential.header();
        if sent != Sent::Nothing {
            clear_spellings(request.headers(), header, &mut edits);
        }
        if injects {
            edits.set(header, self.credential.value());
        } else if sent != Sent::Nothing && edits.is_empty() {
            // The one line that there is has our spelling.
            edits.clear(header);
        }
        edits
    }

    /// Counts and logs a client that meddles with the credential; one line for each such request.
    fn tell(&self, sent: Sent, request: &Request<'_>, ports: &Ports<'_>) {
        let Some(reason) = sent.reason() else {
            return;
        };
        ports.telemetry.count(self.metrics.spoofed);
        let event = match (self.mode, sent.is_refused()) {
            (Mode::Enforce, true) => "refused",
            (Mode::Enforce, false) => "spoofed",
            (Mode::Shadow | Mode::Off, true) => "shadow_refused",
            (Mode::Shadow | Mode::Off, false) => "shadow_spoofed",
        };
        let line = LogLine::new(Self::NAME, event).with("reason", reason);
        ports.telemetry.log(line.with_id_of(request));
    }
}

impl Sent {
    const fn is_refused(self) -> bool {
        match self {
            Self::Nothing | Self::Ours | Self::Forged => false,
            Self::Several | Self::NamedHopByHop => true,
        }
    }

    /// Why it counts as spoofed, if it does.
    const fn reason(self) -> Option<&'static str> {
        match self {
            Self::Nothing | Self::Ours => None,
            Self::Forged => Some("forged"),
            Self::Several => Some("duplicate_identity"),
            Self::NamedHopByHop => Some("named_in_connection"),
        }
    }
}
