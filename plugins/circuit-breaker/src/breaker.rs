//! The state machine: what is known of a breaker, and each way in which that changes.
//!
//! Pure: time comes in, and a new record comes out for the caller to store. The machine as it is
//! described in M. Nygard, *Release It!*, with leases on the permits of its half-open state.

use portcullis_policy::{Span, Timestamp};

use crate::classify::Outcome;
use crate::permits::{Permit, Permits, left};

/// What a breaker is set to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) failures_to_open: u32,
    pub(crate) open_for: Span,
    pub(crate) probes: u8,
    pub(crate) successes_to_close: u32,
    pub(crate) probe_lease: Span,
}

/// What all workers know of a breaker. A breaker that nobody has written is the default one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// Goes up with each transition: the answer to a request that was admitted before the last one
    /// says nothing about now.
    pub(crate) generation: u32,
    pub(crate) state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "it lives on the stack for the length of a callback"
)]
pub(crate) enum State {
    /// All requests pass.
    Closed {
        /// With no success between them.
        failures: u32,
    },
    /// None passes until the time is up.
    Open { since: Timestamp, until: Timestamp },
    /// A few pass, to probe the upstream.
    HalfOpen { permits: Permits, successes: u32 },
}

/// A state without what belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Closed,
    HalfOpen,
    Open,
}

/// The four ways from one state to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transition {
    /// Closed → Open: too many failures in a row.
    Tripped,
    /// Open → HalfOpen: its time is up.
    Probing,
    /// HalfOpen → Open: a probe failed.
    Relapsed,
    /// HalfOpen → Closed: enough probes succeeded.
    Recovered,
}

/// What an admitted request keeps until it is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    generation: u32,
    standing: Standing,
}

/// As what a request was admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Through a closed breaker with no failure on record. Its success resets nothing, even where
    /// failures came in while it was out: they are of requests that were sent after it or with it,
    /// and to look for them would cost each request a second read.
    Clean,
    /// Through a closed breaker with failures on record.
    AfterFailures,
    /// As a probe.
    Probe(Permit),
}

/// What a breaker says of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "it lives on the stack for the length of a callback"
)]
pub(crate) enum Admission {
    /// It passes; there is nothing to store.
    Pass(Ticket),
    /// It passes as a probe, if this change can be stored.
    Probe(Change, Ticket),
    /// It does not pass.
    Refuse(Refusal),
}

/// Why a request does not pass, and when the next one may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The breaker is open for so long yet.
    Open(Span),
    /// All probes are out.
    ProbesOut,
}

/// What a probe that goes out, or a request that is settled, changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) record: Record,
    pub(crate) transition: Option<Transition>,
}

impl Record {
    /// The ticket of a request to a closed breaker, which takes neither a clock nor a write.
    pub(crate) const fn pass(&self) -> Option<Ticket> {
        match self.state {
            State::Closed { failures } => Some(self.ticket(failures)),
            State::Open { .. } | State::HalfOpen { .. } => None,
        }
    }

    /// Decides on a request at `now`.
    pub(crate) fn admit(&self, settings: &Settings, now: Timestamp) -> Admission {
        match self.state {
            State::Closed { failures } => Admission::Pass(self.ticket(failures)),
            State::Open { since, until } => match left(since, until, now) {
                Some(left) => Admission::Refuse(Refusal::Open(left)),
                None => self
                    .turn(Transition::Probing, State::half_opened())
                    .admit_probe(settings, now),
            },
            State::HalfOpen { .. } => self.stay(self.state.clone()).admit_probe(settings, now),
        }
    }

    /// What changes when a request that was admitted with `ticket` turns out as `outcome` at `now`;
    /// `None` when nothing does.
    pub(crate) fn settle(
        &self,
        ticket: &Ticket,
        outcome: Outcome,
        settings: &Settings,
        now: Timestamp,
    ) -> Option<Change> {
        if self.generation != ticket.generation {
            return None;
        }
        match (&self.state, ticket.standing) {
            (State::Closed { failures }, Standing::Clean | Standing::AfterFailures) => {
                match outcome {
                    Outcome::Success => {
                        (*failures > 0).then(|| self.stay(State::Closed { failures: 0 }))
                    }
                    Outcome::Failure(_) => {
                        let failures = failures.saturating_add(1);
                        Some(if failures < settings.failures_to_open {
                            self.stay(State::Closed { failures })
                        } else {
                            self.turn(Transition::Tripped, State::opened(settings, now))
                        })
                    }
                    Outcome::Ignored => None,
                }
            }
            (State::HalfOpen { permits, successes }, Standing::Probe(permit)) => {
                let permits = permits.release(permit)?;
                let successes = *successes;
                Some(match outcome {
                    Outcome::Success => {
                        let successes = successes.saturating_add(1);
                        if successes < settings.successes_to_close {
                            self.stay(State::HalfOpen { permits, successes })
                        } else {
                            self.turn(Transition::Recovered, State::default())
                        }
                    }
                    Outcome::Failure(_) => {
                        self.turn(Transition::Relapsed, State::opened(settings, now))
                    }
                    Outcome::Ignored => self.stay(State::HalfOpen { permits, successes }),
                })
            }
            // No generation has both: nobody is admitted in an open one, no probe in a closed one,
            // nobody without a permit in a half-open one. After shared data was lost it can look so.
            (
                State::Open { .. },
                Standing::Clean | Standing::AfterFailures | Standing::Probe(_),
            )
            | (State::Closed { .. }, Standing::Probe(_))
            | (State::HalfOpen { .. }, Standing::Clean | Standing::AfterFailures) => None,
        }
    }

    /// The state that a request at `now` would find: half-open as soon as the time is up, although
    /// it is a request that makes it so.
    pub(crate) fn phase_at(&self, now: Timestamp) -> Phase {
        match self.state {
            State::Open { since, until } if left(since, until, now).is_none() => Phase::HalfOpen,
            State::Closed { .. } | State::Open { .. } | State::HalfOpen { .. } => self.phase(),
        }
    }

    /// The state that is stored.
    pub(crate) const fn phase(&self) -> Phase {
        match self.state {
            State::Closed { .. } => Phase::Closed,
            State::Open { .. } => Phase::Open,
            State::HalfOpen { .. } => Phase::HalfOpen,
        }
    }

    const fn ticket(&self, failures: u32) -> Ticket {
        Ticket {
            generation: self.generation,
            standing: match failures {
                0 => Standing::Clean,
                1.. => Standing::AfterFailures,
            },
        }
    }

    const fn stay(&self, state: State) -> Change {
        Change {
            record: Self {
                generation: self.generation,
                state,
            },
            transition: None,
        }
    }

    const fn turn(&self, transition: Transition, state: State) -> Change {
        Change {
            record: Self {
                generation: self.generation.wrapping_add(1),
                state,
            },
            transition: Some(transition),
        }
    }
}

impl Change {
    /// Sends one more probe out.
    fn admit_probe(mut self, settings: &Settings, now: Timestamp) -> Admission {
        let permit = match &mut self.record.state {
            State::HalfOpen { permits, .. } => {
                permits.take(settings.probes, settings.probe_lease, now)
            }
            State::Closed { .. } | State::Open { .. } => None,
        };
        let Some(permit) = permit else {
            return Admission::Refuse(Refusal::ProbesOut);
        };
        let ticket = Ticket {
            generation: self.record.generation,
            standing: Standing::Probe(permit),
        };
        Admission::Probe(self, ticket)
    }
}

impl Default for State {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

impl State {
    fn half_opened() -> Self {
        Self::HalfOpen {
            permits: Permits::default(),
            successes: 0,
        }
    }

    const fn opened(settings: &Settings, now: Timestamp) -> Self {
        Self::Open {
            since: now,
            until: now.after(settings.open_for),
        }
    }
}

impl Ticket {
    /// Whether it holds a permit.
    pub(crate) const fn is_probe(&self) -> bool {
        matches!(self.standing, Standing::Probe(_))
    }

    /// Whether settling it so can change a record. A success through a closed breaker without
    /// failures can not, so that a healthy upstream costs one read a request and no write.
    pub(crate) const fn matters(&self, outcome: Outcome) -> bool {
        match (self.standing, outcome) {
            (Standing::Probe(_), Outcome::Success | Outcome::Failure(_) | Outcome::Ignored)
            | (Standing::AfterFailures, Outcome::Success | Outcome::Failure(_))
            | (Standing::Clean, Outcome::Failure(_)) => true,
            (Standing::AfterFailures, Outcome::Ignored)
            | (Standing::Clean, Outcome::Success | Outcome::Ignored) => false,
        }
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
impl Ticket {
    /// A probe's generation, and when its lease ends.
    pub(crate) const fn probe(&self) -> Option<(u32, Timestamp)> {
        match self.standing {
            Standing::Probe(permit) => Some((self.generation, permit.until())),
            Standing::Clean | Standing::AfterFailures => None,
        }
    }
}

impl Refusal {
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::Open(_) => "open",
            Self::ProbesOut => "probes_out",
        }
    }

    /// In whole seconds. A probe that is out answers in a moment or takes its lease: one second is
    /// a guess that costs a client little.
    pub(crate) fn retry_after_secs(self) -> u64 {
        match self {
            Self::Open(left) => left.as_secs_ceil(),
            Self::ProbesOut => 1,
        }
    }
}

impl Phase {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }

    /// The value of the gauge `circuit_breaker_state`.
    pub(crate) const fn gauge(self) -> u64 {
        match self {
            Self::Closed => 0,
            Self::HalfOpen => 1,
            Self::Open => 2,
        }
    }
}

impl Transition {
    pub(crate) const fn from(self) -> Phase {
        match self {
            Self::Tripped => Phase::Closed,
            Self::Probing => Phase::Open,
            Self::Relapsed | Self::Recovered => Phase::HalfOpen,
        }
    }

    pub(crate) const fn to(self) -> Phase {
        match self {
            Self::Tripped | Self::Relapsed => Phase::Open,
            Self::Probing => Phase::HalfOpen,
            Self::Recovered => Phase::Closed,
        }
    }

    pub(crate) const fn event(self) -> &'static str {
        match self.to() {
            Phase::Closed => "closed",
            Phase::HalfOpen => "half_opened",
            Phase::Open => "opened",
        }
    }

    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::Tripped => "consecutive_failures",
            Self::Probing => "open_time_over",
            Self::Relapsed => "probe_failed",
            Self::Recovered => "probes_succeeded",
        }
    }
}

#[cfg(test)]
#[path = "breaker_tests.rs"]
mod tests;
