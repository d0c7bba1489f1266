//! What a plugin fails at itself, and what becomes of a request then.

use crate::config::{Mode, OnError};
use crate::{
    ClockUnavailable, Counter, HostFailure, LocalReply, LogLine, MetricRegistry, Ports, Problem,
    Request, SlotError,
};

/// Why a plugin could not do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The gateway would not tell the time.
    Clock,
    /// A slot could not be read or changed.
    Slot(SlotError),
    /// The gateway did not show the request, or did not carry out a verdict.
    Host(HostFailure),
    /// What only one plugin can fail at.
    Special(&'static SpecialFailure),
}

/// What only one plugin can fail at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpecialFailure {
    /// A fixed word for logs and metrics.
    pub reason: &'static str,
    /// What a client is answered, where nothing is let pass.
    pub problem: Problem,
    /// Who can bring it about.
    pub by: FailureBy,
}

/// Who can bring a failure about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureBy {
    /// The gateway: `on_error` decides.
    Gateway,
    /// A client, too: nothing is let pass, or whoever wants to pass would see to it.
    Client,
}

impl Failure {
    /// All failures of slots.
    pub const SLOT: [Self; 3] = [
        Self::Slot(SlotError::Unavailable),
        Self::Slot(SlotError::Contended),
        Self::Slot(SlotError::Foreign),
    ];

    const HOST: [Self; 3] = [
        Self::Host(HostFailure::Headers),
        Self::Host(HostFailure::HeadersCut),
        Self::Host(HostFailure::Edit),
    ];

    /// A fixed word for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clock => "clock_unavailable",
            Self::Slot(error) => error.as_str(),
            Self::Host(failure) => failure.as_str(),
            Self::Special(special) => special.reason,
        }
    }

    /// What a client is answered, where nothing is let pass.
    #[must_use]
    pub const fn problem(self) -> Problem {
        match self {
            Self::Clock | Self::Slot(_) => Problem::UNAVAILABLE,
            Self::Host(failure) => failure.problem(),
            Self::Special(special) => special.problem,
        }
    }

    /// Whether `on_error` decides.
    #[must_use]
    pub const fn is_left_to_on_error(self) -> bool {
        match self {
            Self::Clock | Self::Slot(_) => true,
            Self::Host(failure) => failure.is_the_gateways(),
            Self::Special(special) => matches!(special.by, FailureBy::Gateway),
        }
    }
}

impl From<ClockUnavailable> for Failure {
    fn from(_: ClockUnavailable) -> Self {
        Self::Clock
    }
}

impl From<SlotError> for Failure {
    fn from(error: SlotError) -> Self {
        Self::Slot(error)
    }
}

impl From<HostFailure> for Failure {
    fn from(failure: HostFailure) -> Self {
        Self::Host(failure)
    }
}

/// What becomes of a request at which a plugin failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is refused.
    Refused,
    /// It passes, since the plugin refuses nobody.
    ShadowRefused,
    /// It passes, since `on_error` says so.
    AllowedOnError,
}

impl Fate {
    /// As the log calls it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::ShadowRefused => "shadow_refused",
            Self::AllowedOnError => "allowed_on_error",
        }
    }
}

/// How a plugin deals with its failures, and how often each came.
#[derive(Debug)]
pub struct Failures {
    plugin: &'static str,
    mode: Mode,
    on_error: OnError,
    lines: FailureLines,
    counters: Vec<(Failure, Counter)>,
}

/// What a plugin logs of its failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureLines {
    /// Requests that are refused.
    Refused,
    /// The same, each with its status.
    RefusedWithStatus,
    /// All, each with what became of the request.
    All,
}

/// How a plugin is set, and what it is called.
#[derive(Clone, Copy, Debug)]
pub struct FailureSettings {
    /// The plugin's name.
    pub plugin: &'static str,
    /// What its metrics of failures are called, before `.reason.`.
    pub metric: &'static str,
    /// What it does with its decisions.
    pub mode: Mode,
    /// What becomes of requests when it fails.
    pub on_error: OnError,
    /// What it logs.
    pub lines: FailureLines,
}

impl Failures {
    /// Announces a counter for each failure: those of the gateway, which every plugin may see, and
    /// `others`.
    pub fn announce(
        settings: FailureSettings,
        others: impl IntoIterator<Item = Failure>,
        metrics: &mut MetricRegistry,
    ) -> Self {
        let announce = |failure: Failure| {
            let name = format!("{}.reason.{}", settings.metric, failure.as_str());
            (failure, metrics.counter(name))
        };
        let all = others.into_iter().chain(Failure::HOST);
        Self {
            plugin: settings.plugin,
            mode: settings.mode,
            on_error: settings.on_error,
            lines: settings.lines,
            counters: all.map(announce).collect(),
        }
    }

    /// Counts a failure.
    pub fn count(&self, failure: impl Into<Failure>, ports: &Ports<'_>) {
        let failure = failure.into();
        for (known, counter) in &self.counters {
            if *known == failure {
                ports.telemetry.count(*counter);
            }
        }
    }

    /// What becomes of a request. `mode`: of whatever failed, a limit or a breaker.
    #[must_use]
    pub fn fate(&self, failure: Failure, mode: Mode) -> Fate {
        match (mode, self.on_error) {
            (Mode::Shadow | Mode::Off, _) => Fate::ShadowRefused,
            (Mode::Enforce, OnError::Allow) if failure.is_left_to_on_error() => {
                Fate::AllowedOnError
            }
            (Mode::Enforce, OnError::Allow | OnError::Deny) => Fate::Refused,
        }
    }

    /// Counts a failure; whether the request is refused for it.
    pub fn is_refused(&self, failure: Failure, mode: Mode, ports: &Ports<'_>) -> bool {
        self.count(failure, ports);
        self.fate(failure, mode) == Fate::Refused
    }

    /// The refusal of a request, which is logged.
    pub fn refuse(&self, failure: Failure, request: &Request<'_>, ports: &Ports<'_>) -> LocalReply {
        let line = self.line(failure, Fate::Refused);
        ports.telemetry.log(line.with_id_of(request));
        let reply = failure.problem().reply(request);
        reply.because(self.plugin, failure.as_str())
    }

    /// What [`Policy::on_host_failure`](crate::Policy::on_host_failure) answers. There is no request
    /// to be seen, and so no id.
    pub fn on_host_failure(&self, failure: HostFailure, ports: &Ports<'_>) -> Option<LocalReply> {
        if self.mode == Mode::Off {
            return None;
        }
        let failure = Failure::Host(failure);
        self.count(failure, ports);
        let fate = self.fate(failure, self.mode);
        if fate == Fate::Refused || self.lines == FailureLines::All {
            ports.telemetry.log(self.line(failure, fate));
        }
        let reply = failure.problem().reply_blind();
        (fate == Fate::Refused).then(|| reply.because(self.plugin, failure.as_str()))
    }

    fn line(&self, failure: Failure, fate: Fate) -> LogLine {
        let line = LogLine::new(self.plugin, fate.as_str()).with("reason", failure.as_str());
        match self.lines {
            FailureLines::RefusedWithStatus => {
                line.with("status", failure.problem().status.to_string())
            }
            FailureLines::Refused | FailureLines::All => line,
        }
    }
}

#[cfg(test)]
mod tests;
