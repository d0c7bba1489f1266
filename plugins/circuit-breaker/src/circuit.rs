//! One breaker as it is configured: what the state machine decides, carried out on shared data and
//! told to the telemetry.

use portcullis_policy::config::{IfAmbiguous, Match, Mode};
use portcullis_policy::{
    ClockUnavailable, Counter, Gauge, LogLine, MetricRegistry, Ports, Request, SlotError, SlotKey,
    Step, read, update,
};

use crate::breaker::{Admission, Phase, Record, Refusal, Settings, Ticket, Transition};
use crate::classify::{Cause, Classifier, Outcome};
use crate::config::BreakerConfig;
use crate::policy::NAME;
use crate::record::slot_name;

/// One breaker.
#[derive(Debug)]
pub(crate) struct Circuit {
    pub(crate) name: String,
    pub(crate) key: SlotKey,
    pub(crate) mode: Mode,
    pub(crate) classifier: Classifier,
    matches: Match,
    settings: Settings,
    metrics: Metrics,
}

#[derive(Debug)]
struct Metrics {
    state: Gauge,
    failures: Counter,
    rejected: Counter,
    shadow_rejected: Counter,
    to_closed: Counter,
    to_half_open: Counter,
    to_open: Counter,
}

/// Why a breaker could not do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Slot(SlotError),
    Clock,
}

/// A ticket for a request that passes.
pub(crate) type Answer = Result<Ticket, Refusal>;

impl Circuit {
    /// `plugin` is the mode of all breakers together: the milder of the two holds.
    pub(crate) fn new(config: BreakerConfig, plugin: Mode, metrics: &mut MetricRegistry) -> Self {
        let name = config.name.as_str().to_owned();
        let mode = plugin.milder(config.mode);
        Self {
            key: SlotKey::new::<Record>(slot_name(&name)),
            mode,
            classifier: Classifier::new(&config.failures),
            matches: config.matches,
            settings: Settings {
                failures_to_open: config.trip.consecutive_failures.get(),
                open_for: config.open_for.initial.span(),
                probes: config.half_open.probes.get(),
                successes_to_close: config.half_open.successes_to_close.get(),
                probe_lease: config.half_open.probe_lease.span(),
            },
            metrics: Metrics::new(&name, metrics),
            name,
        }
    }

    /// Whether the breaker guards this request. A path with two readings belongs to no breaker: it
    /// must not trip one whose upstream it may never reach.
    pub(crate) fn guards(&self, request: &Request<'_>) -> bool {
        match self.mode {
            Mode::Off => false,
            Mode::Enforce | Mode::Shadow => self.matches.matches(request, IfAmbiguous::Misses),
        }
    }

    /// Decides on a request. A closed breaker costs one read, a refusal one read and the time; only
    /// a probe is written down.
    pub(crate) fn admit(&self, ports: &Ports<'_>) -> Result<Answer, Fault> {
        let seen = read::<Record>(ports.store, &self.key)?.unwrap_or_default();
        if let Some(ticket) = seen.pass() {
            return Ok(Ok(ticket));
        }
        let now = ports.clock.now()?;
        if let Admission::Refuse(refusal) = seen.admit(&self.settings, now) {
            return Ok(Err(refusal));
        }
        let (answer, transition) = update(ports.store, &self.key, |record: Option<&Record>| {
            let record = record.cloned().unwrap_or_default();
            match record.admit(&self.settings, now) {
                Admission::Pass(ticket) => Step::Keep((Ok(ticket), None)),
                Admission::Refuse(refusal) => Step::Keep((Err(refusal), None)),
                Admission::Probe(change, ticket) => {
                    Step::Write(change.record, (Ok(ticket), change.transition))
                }
            }
        })?;
        if let Some(transition) = transition {
            self.announce(transition, None, ports);
        }
        Ok(answer)
    }

    /// Closes the books on a request that was admitted.
    pub(crate) fn settle(
        &self,
        ticket: &Ticket,
        outcome: Outcome,
        ports: &Ports<'_>,
    ) -> Result<(), Fault> {
        let cause = match outcome {
            Outcome::Failure(cause) => {
                ports.telemetry.count(self.metrics.failures);
                Some(cause)
            }
            Outcome::Success | Outcome::Ignored => None,
        };
        if !ticket.matters(outcome) {
            return Ok(());
        }
        let now = ports.clock.now()?;
        let transition = update(ports.store, &self.key, |record: Option<&Record>| {
            let record = record.cloned().unwrap_or_default();
            match record.settle(ticket, outcome, &self.settings, now) {
                None => Step::Keep(None),
                Some(change) => Step::Write(change.record, change.transition),
            }
        })?;
        if let Some(transition) = transition {
            self.announce(transition, cause, ports);
        }
        Ok(())
    }

    /// The state that a request would find, for people to look at. A breaker that is off lets
    /// everything pass, whatever was left in its slot.
    pub(crate) fn phase(&self, ports: &Ports<'_>) -> Result<Phase, Fault> {
        if self.mode == Mode::Off {
            return Ok(Phase::Closed);
        }
        let record = read::<Record>(ports.store, &self.key)?.unwrap_or_default();
        match record.phase() {
            Phase::Open => Ok(record.phase_at(ports.clock.now()?)),
            phase @ (Phase::Closed | Phase::HalfOpen) => Ok(phase),
        }
    }

    /// Sets the gauge to what is stored, as far as that can be read: a gateway that was configured
    /// anew has forgotten it.
    pub(crate) fn show(&self, ports: &Ports<'_>) {
        if self.mode == Mode::Off {
            return;
        }
        if let Ok(record) = read::<Record>(ports.store, &self.key) {
            let phase = record.unwrap_or_default().phase();
            ports.telemetry.set(self.metrics.state, phase.gauge());
        }
    }

    /// Counts and logs a request that does not pass, or in shadow would not.
    pub(crate) fn tell_refusal(&self, refusal: Refusal, request: &Request<'_>, ports: &Ports<'_>) {
        let (event, counter) = match self.mode {
            Mode::Enforce => ("refused", self.metrics.rejected),
            Mode::Shadow | Mode::Off => ("shadow_refused", self.metrics.shadow_rejected),
        };
        ports.telemetry.count(counter);
        let line = LogLine::new(NAME, event)
            .with("breaker", &self.name)
            .with("reason", refusal.reason())
            .with("retry_after", refusal.retry_after_secs().to_string());
        ports.telemetry.log(line.with_id_of(request));
    }

    /// Counts and logs a transition. Only who stored it gets here, so that each is told once.
    fn announce(&self, transition: Transition, cause: Option<Cause>, ports: &Ports<'_>) {
        let to = transition.to();
        let counter = match to {
            Phase::Closed => self.metrics.to_closed,
            Phase::HalfOpen => self.metrics.to_half_open,
            Phase::Open => self.metrics.to_open,
        };
        ports.telemetry.count(counter);
        ports.telemetry.set(self.metrics.state, to.gauge());
        // Another worker may have gone on from there meanwhile, and have said so first.
        self.show(ports);
        let line = LogLine::new(NAME, transition.event())
            .with("breaker", &self.name)
            .with("from", transition.from().as_str())
            .with("to", to.as_str())
            .with("reason", transition.reason());
        ports.telemetry.log(match cause {
            Some(cause) => line.with("cause", cause.word()),
            None => line,
        });
    }
}

impl Metrics {
    fn new(name: &str, registry: &mut MetricRegistry) -> Self {
        let mut to = |state: Phase| {
            registry.counter(format!(
                "circuit_breaker_transitions.breaker.{name}.to.{}",
                state.as_str()
            ))
        };
        let (to_closed, to_half_open, to_open) =
            (to(Phase::Closed), to(Phase::HalfOpen), to(Phase::Open));
        Self {
            state: registry.gauge(format!("circuit_breaker_state.breaker.{name}")),
            failures: registry.counter(format!("circuit_breaker_failures.breaker.{name}")),
            rejected: registry.counter(format!("circuit_breaker_rejected.breaker.{name}")),
            shadow_rejected: registry
                .counter(format!("circuit_breaker_shadow_rejected.breaker.{name}")),
            to_closed,
            to_half_open,
            to_open,
        }
    }
}

impl Fault {
    /// A fixed word for logs and metrics.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::Slot(error) => error.reason(),
            Self::Clock => "clock_unavailable",
        }
    }
}

impl From<ClockUnavailable> for Fault {
    fn from(_: ClockUnavailable) -> Self {
        Self::Clock
    }
}

impl From<SlotError> for Fault {
    fn from(error: SlotError) -> Self {
        Self::Slot(error)
    }
}
