//! The state machine: what is known of a breaker, and each way in which that changes.
//!
//! Pure: time and chance come in, and a new record comes out for the caller to store. The machine
//! as it is described in M. Nygard, *Release It!*, with ratios over a sliding window of time as in
//! resilience4j, and with leases on the permits of its half-open state.

use portcullis_policy::{Span, Timestamp};

use crate::backoff::{Backoff, OpenFor};
use crate::batch::Counts;
use crate::classify::{Outcome, Pace};
use crate::permits::{Permits, left};
use crate::ticket::{Standing, Ticket};
use crate::transition::{Phase, Transition, Why};
use crate::window::{Ratio, Window};

/// What a breaker is set to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) consecutive_failures: Option<u32>,
    pub(crate) failure_ratio: Option<Ratio>,
    pub(crate) slow_ratio: Option<Ratio>,
    pub(crate) open_for: OpenFor,
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
    pub(crate) backoff: Backoff,
    /// When its state began; the epoch where it never had another.
    pub(crate) since: Timestamp,
    pub(crate) state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// All requests pass.
    Closed {
        /// With no success between them.
        failures: u32,
        failing: Window,
        slow: Window,
    },
    /// None passes until the time is up.
    Open { until: Timestamp, why: Why },
    /// A few pass, to probe the upstream.
    HalfOpen { permits: Permits, successes: u32 },
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
    /// The breaker is forced open. Nobody knows for how long: it says what it would if it had just
    /// opened.
    Forced(Span),
}

/// When something is settled, and the chance that is drawn for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) now: Timestamp,
    /// Of all `u32`, evenly.
    pub(crate) roll: u32,
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
            State::Closed { failures, .. } => Some(Ticket::closed(self.generation, failures)),
            State::Open { .. } | State::HalfOpen { .. } => None,
        }
    }

    /// Decides on a request at `now`.
    pub(crate) fn admit(&self, settings: &Settings, now: Timestamp) -> Admission {
        match self.state {
            State::Closed { failures, .. } => {
                Admission::Pass(Ticket::closed(self.generation, failures))
            }
            State::Open { until, .. } => match left(self.since, until, now) {
                Some(left) => Admission::Refuse(Refusal::Open(left)),
                None => self
                    .turn(Transition::Probing, State::half_opened(), now)
                    .admit_probe(settings, now),
            },
            State::HalfOpen { .. } => self.stay(self.state.clone()).admit_probe(settings, now),
        }
    }

    /// What changes when a request that was admitted with `ticket` turns out as `outcome`, and
    /// `counts` (it among them) are told with it; `None` when nothing does.
    pub(crate) fn settle(
        &self,
        ticket: &Ticket,
        outcome: Outcome,
        pace: Pace,
        counts: Counts,
        settings: &Settings,
        moment: Moment,
    ) -> Option<Change> {
        if self.generation != ticket.generation {
            return None;
        }
        match (&self.state, ticket.standing) {
            (State::Closed { failures, .. }, Standing::Clean | Standing::AfterFailures) => {
                let failures = match (outcome, ticket.standing) {
                    (Outcome::Failure(_), _) => failures.saturating_add(1),
                    (Outcome::Success, Standing::AfterFailures) => 0,
                    (Outcome::Success | Outcome::Ignored, _) => *failures,
                };
                self.count(failures, counts, settings, moment)
            }
            (State::HalfOpen { permits, successes }, Standing::Probe(permit)) => {
                let permits = permits.release(permit)?;
                let successes = *successes;
                Some(match (outcome, pace) {
                    (Outcome::Success, Pace::Quick) => {
                        let successes = successes.saturating_add(1);
                        if successes < settings.successes_to_close {
                            self.stay(State::HalfOpen { permits, successes })
                        } else {
                            self.turn(Transition::Recovered, State::default(), moment.now)
                        }
                    }
                    (Outcome::Failure(_), Pace::Quick | Pace::Slow)
                    | (Outcome::Success, Pace::Slow) => {
                        self.open(Why::ProbeFailed, Transition::Relapsed, settings, moment)
                    }
                    (Outcome::Ignored, Pace::Quick | Pace::Slow) => {
                        self.stay(State::HalfOpen { permits, successes })
                    }
                })
            }
            // No generation has both: nobody is admitted in an open one, no probe in a closed one,
            // nobody without a permit in a half-open one. After shared data was lost it can look so.
            (
                State::Open { .. },
                Standing::Clean | Standing::AfterFailures | Standing::Probe(_),
            )
            | (State::Closed { .. }, Standing::Probe(_))
            | (State::HalfOpen { .. }, Standing::Clean | Standing::AfterFailures)
            | (_, Standing::Forced) => None,
        }
    }

    /// What changes when `counts` of requests that were admitted in `generation` are told; `None`
    /// when nothing does.
    pub(crate) fn merge(
        &self,
        generation: u32,
        counts: Counts,
        settings: &Settings,
        moment: Moment,
    ) -> Option<Change> {
        match self.state {
            State::Closed { failures, .. } if self.generation == generation => {
                self.count(failures, counts, settings, moment)
            }
            State::Closed { .. } | State::Open { .. } | State::HalfOpen { .. } => None,
        }
    }

    /// The state that a request at `now` would find: half-open as soon as the time is up, although
    /// it is a request that makes it so.
    pub(crate) fn phase_at(&self, now: Timestamp) -> Phase {
        match self.state {
            State::Open { until, .. } if left(self.since, until, now).is_none() => Phase::HalfOpen,
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

    /// What changes in a closed breaker that has seen so many failures in a row, and these counts.
    fn count(
        &self,
        failures: u32,
        counts: Counts,
        settings: &Settings,
        moment: Moment,
    ) -> Option<Change> {
        let State::Closed {
            failures: before,
            failing,
            slow,
        } = &self.state
        else {
            return None;
        };
        // Not counted where nothing depends on it, so that no request has failures on record.
        let failures = settings.consecutive_failures.map_or(0, |_| failures);
        if failures == *before && counts == Counts::default() {
            return None;
        }
        let (mut failing, mut slow, now) = (*failing, *slow, moment.now);
        let too_many = |ratio: Option<Ratio>, window: &mut Window, tally| {
            ratio.is_some_and(|ratio| {
                window.add(&ratio, tally, now);
                ratio.is_exceeded(window.sum(&ratio, now))
            })
        };
        let too_many_failed = too_many(settings.failure_ratio, &mut failing, counts.failures());
        let too_many_slow = too_many(settings.slow_ratio, &mut slow, counts.slow());
        let in_a_row = settings
            .consecutive_failures
            .is_some_and(|most| failures > *before && failures >= most);
        let why = match (in_a_row, too_many_failed, too_many_slow) {
            (true, _, _) => Some(Why::ConsecutiveFailures),
            (false, true, _) => Some(Why::FailureRatio),
            (false, false, true) => Some(Why::SlowRatio),
            (false, false, false) => None,
        };
        Some(match why {
            Some(why) => self.open(why, Transition::Tripped(why), settings, moment),
            None => self.stay(State::Closed {
                failures,
                failing,
                slow,
            }),
        })
    }

    fn open(
        &self,
        why: Why,
        transition: Transition,
        settings: &Settings,
        moment: Moment,
    ) -> Change {
        let closed = match self.state {
            State::Closed { .. } => moment.now.since(self.since),
            State::Open { .. } | State::HalfOpen { .. } => Span::ZERO,
        };
        let backoff = self.backoff.next(&settings.open_for, closed, moment.roll);
        let until = moment.now.after(backoff.last);
        let mut change = self.turn(transition, State::Open { until, why }, moment.now);
        change.record.backoff = backoff;
        change
    }

    const fn stay(&self, state: State) -> Change {
        Change {
            record: Self {
                generation: self.generation,
                backoff: self.backoff,
                since: self.since,
                state,
            },
            transition: None,
        }
    }

    const fn turn(&self, transition: Transition, state: State, now: Timestamp) -> Change {
        Change {
            record: Self {
                generation: self.generation.wrapping_add(1),
                backoff: self.backoff,
                since: now,
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
        Self::Closed {
            failures: 0,
            failing: Window::default(),
            slow: Window::default(),
        }
    }
}

impl State {
    fn half_opened() -> Self {
        Self::HalfOpen {
            permits: Permits::default(),
            successes: 0,
        }
    }
}

impl Refusal {
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::Open(_) => "open",
            Self::ProbesOut => "probes_out",
            Self::Forced(_) => "forced",
        }
    }

    /// In whole seconds. A probe that is out answers in a moment or takes its lease: one second is
    /// a guess that costs a client little.
    pub(crate) fn retry_after_secs(self) -> u64 {
        match self {
            Self::Open(left) | Self::Forced(left) => left.as_secs_ceil(),
            Self::ProbesOut => 1,
        }
    }
}

#[cfg(test)]
#[path = "breaker_tests.rs"]
mod tests;
