//! The state machine: what is known of a breaker, and each way in which that changes.
//!
//! Pure: time and chance come in, and a new record comes out for the caller to store. The machine
//! as it is described in M. Nygard, *Release It!*, with ratios over a sliding window of time as in
//! resilience4j, and with leases on the permits of its half-open state.

use portcullis_policy::{Sent, Span, Timestamp};

use crate::backoff::{Backoff, OpenFor};
use crate::batch::Counts;
use crate::classify::{Outcome, Pace};
use crate::hold::{Hold, Side};
use crate::permits::{Permits, left};
use crate::run::{Head, OnRecord, Run};
use crate::share::{Exceeded, Share};
use crate::ticket::{Standing, Ticket, Word};
use crate::transition::{Phase, Transition, Why};
use crate::window::{Ratio, Tally};

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
    /// What it is held at, whatever its state; over when its time is.
    pub(crate) hold: Option<Hold>,
    pub(crate) state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// All requests pass.
    Closed {
        run: Run,
        failing: Share,
        slow: Share,
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
    /// All probes are out; one is likely to be back in so long.
    ProbesOut(Span),
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

/// What a worker tells the others: what it has counted, and the last success of which they may not
/// know, each with its generation.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct News {
    pub(crate) counts: Option<(u32, Counts)>,
    pub(crate) head: Option<Head>,
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
        match (self.hold, &self.state) {
            (None, State::Closed { run, .. }) => Some(Ticket::closed(self.generation, run)),
            (Some(_), _) | (None, State::Open { .. } | State::HalfOpen { .. }) => None,
        }
    }

    /// Decides on a request at `now`, of which so much has come.
    pub(crate) fn admit(&self, settings: &Settings, sent: Sent, now: Timestamp) -> Admission {
        match self.held(now) {
            Some((Side::Open, left)) => return Admission::Refuse(Refusal::Forced(left)),
            Some((Side::Closed, _)) => return Admission::Pass(Ticket::FORCED),
            None => {}
        }
        match self.state {
            State::Closed { run, .. } => Admission::Pass(Ticket::closed(self.generation, &run)),
            State::Open { until, .. } => match left(self.since, until, now) {
                Some(left) => Admission::Refuse(Refusal::Open(left)),
                None => self
                    .turn(Transition::Probing, State::half_opened(now), now)
                    .admit_probe(settings, sent, now),
            },
            State::HalfOpen { .. } => self
                .stay(self.state.clone())
                .admit_probe(settings, sent, now),
        }
    }

    /// At what it is held, and for how long yet.
    pub(crate) fn held(&self, now: Timestamp) -> Option<(Side, Span)> {
        let hold = self.hold?;
        Some((hold.side, hold.left(now)?))
    }

    /// What changes when it is ordered to be held, or not to be any more; `None` when nothing does.
    pub(crate) fn holding(&self, hold: Option<Hold>) -> Option<Self> {
        let held = Self {
            hold,
            ..self.clone()
        };
        (held != *self).then_some(held)
    }

    /// What changes when a hold is over.
    pub(crate) fn outlived(&self, now: Timestamp) -> Option<Self> {
        self.hold.filter(|hold| hold.left(now).is_none())?;
        self.holding(None)
    }

    /// What changes when it is ordered to open, as if it had tripped.
    pub(crate) fn told_to_open(&self, settings: &Settings, moment: Moment) -> Change {
        let (from, to) = (self.phase(), Phase::Open);
        let ordered = Transition::Ordered { from, to };
        let mut change = self.open(Why::Control, ordered, settings, moment);
        change.record.hold = None;
        change
    }

    /// What changes when it is ordered to close: it has seen nothing.
    pub(crate) fn told_to_close(&self, now: Timestamp) -> Change {
        let (from, to) = (self.phase(), Phase::Closed);
        let mut change = self.turn(Transition::Ordered { from, to }, State::default(), now);
        change.record.hold = None;
        change.record.backoff = Backoff::default();
        change
    }

    /// What changes when the request of a probe has come whole; `None` when another has its permit.
    pub(crate) fn confirm(
        &self,
        ticket: &Ticket,
        settings: &Settings,
        now: Timestamp,
    ) -> Option<Change> {
        match (&self.state, ticket.standing) {
            (State::HalfOpen { permits, successes }, Standing::Probe(permit))
                if self.generation == ticket.generation =>
            {
                let lease = settings.probe_lease;
                let permits = permits.confirm(permit, settings.probes, lease, now)?;
                let successes = *successes;
                Some(self.stay(State::HalfOpen { permits, successes }))
            }
            (State::Closed { .. } | State::Open { .. } | State::HalfOpen { .. }, _) => None,
        }
    }

    /// What changes when the head of a success has come, of a request that was admitted in
    /// `generation`: failures so far are no longer in a row. And what the success can take that back
    /// by.
    pub(crate) fn succeed(&self, generation: u32) -> Option<(Change, Word)> {
        match &self.state {
            State::Closed { run, failing, slow }
                if self.generation == generation && !run.is_clear() =>
            {
                let (run, number) = run.succeeded();
                let change = self.stay(State::Closed {
                    run,
                    failing: *failing,
                    slow: *slow,
                });
                Some((change, number.map_or(Word::None, Word::Ended)))
            }
            State::Closed { .. } | State::Open { .. } | State::HalfOpen { .. } => None,
        }
    }

    /// What changes when a request that was admitted with `ticket` turns out as `outcome`, and `news`
    /// (it among them) are reported with it; `None` when nothing does.
    pub(crate) fn settle(
        &self,
        ticket: &Ticket,
        outcome: Outcome,
        pace: Pace,
        news: News,
        settings: &Settings,
        moment: Moment,
    ) -> Option<Change> {
        if self.generation != ticket.generation {
            // It says nothing; what else its worker knows may.
            return self.merge(news, settings, moment);
        }
        match (&self.state, ticket.standing) {
            (State::Closed { run, .. }, Standing::Clean | Standing::AfterFailures) => {
                let run = self.known(*run, news, moment);
                let run = match (outcome, ticket.word) {
                    (Outcome::Failure(_), Word::Ended(number)) => {
                        run.taken_back(number).failed(moment.now)
                    }
                    (Outcome::Failure(_), Word::None | Word::Remembered(_)) => {
                        run.failed(moment.now)
                    }
                    (Outcome::Success | Outcome::Ignored, _) => run,
                };
                self.count(run, news, settings, moment)
            }
            (State::HalfOpen { permits, successes }, Standing::Probe(permit)) => {
                let permits = permits.settle(permit)?;
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
            | (_, Standing::Forced | Standing::Lost) => None,
        }
    }

    /// What changes when a worker tells its news; `None` when nothing does.
    pub(crate) fn merge(&self, news: News, settings: &Settings, moment: Moment) -> Option<Change> {
        match self.state {
            State::Closed { run, .. } => {
                self.count(self.known(run, news, moment), news, settings, moment)
            }
            State::Open { .. } | State::HalfOpen { .. } => None,
        }
    }

    /// Whether failures in a row are on record, or may come back.
    pub(crate) const fn on_record(&self) -> OnRecord {
        match self.state {
            State::Closed { run, .. } if !run.is_clear() => OnRecord::Failures,
            State::Closed { .. } | State::Open { .. } | State::HalfOpen { .. } => {
                OnRecord::NoFailures
            }
        }
    }

    /// Whether a share is suspected to be exceeded: that is decided on at a tick.
    pub(crate) const fn is_suspicious(&self) -> bool {
        match &self.state {
            State::Closed { failing, slow, .. } => {
                failing.suspicion.is_some() || slow.suspicion.is_some()
            }
            State::Open { .. } | State::HalfOpen { .. } => false,
        }
    }

    /// A run with a worker's last success, if that is of this generation.
    fn known(&self, run: Run, news: News, moment: Moment) -> Run {
        match news.head {
            Some((generation, head)) if generation == self.generation => {
                run.after(head, moment.now)
            }
            Some(_) | None => run,
        }
    }

    /// The state that a request at `now` would find: half-open as soon as the time is up, although
    /// it is a request that makes it so.
    pub(crate) fn phase_at(&self, now: Timestamp) -> Phase {
        if let Some((side, _)) = self.held(now) {
            return side.phase();
        }
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

    /// What changes in a closed breaker that has seen these failures in a row, and these counts.
    fn count(&self, run: Run, news: News, settings: &Settings, moment: Moment) -> Option<Change> {
        let State::Closed {
            run: before,
            failing,
            slow,
        } = &self.state
        else {
            return None;
        };
        // Not counted where nothing depends on it, so that no request has failures on record.
        let run = settings
            .consecutive_failures
            .map_or(Run::default(), |_| run);
        let counts = match news.counts {
            Some((generation, counts)) if generation == self.generation => counts,
            Some(_) | None => Counts::default(),
        };
        let (mut failing, mut slow, now) = (*failing, *slow, moment.now);
        let too_many = |ratio: Option<Ratio>, share: &mut Share, tally: Tally| {
            let is_idle = tally == Tally::default() && share.suspicion.is_none();
            let ratio = ratio.filter(|_| !is_idle);
            ratio.map_or(Exceeded::No, |ratio| share.tell(&ratio, tally, now))
        };
        let too_many_failed = too_many(settings.failure_ratio, &mut failing, counts.failures());
        let too_many_slow = too_many(settings.slow_ratio, &mut slow, counts.slow());
        // Only another failure opens it so, not one that is reported to be the last.
        let known = self.known(*before, news, moment).failures;
        let in_a_row = settings
            .consecutive_failures
            .is_some_and(|most| run.failures > known && run.failures >= most);
        let why = match (in_a_row, too_many_failed, too_many_slow) {
            (true, _, _) => Some(Why::ConsecutiveFailures),
            (false, Exceeded::Yes, _) => Some(Why::FailureRatio),
            (false, Exceeded::No | Exceeded::Perhaps, Exceeded::Yes) => Some(Why::SlowRatio),
            (false, Exceeded::No | Exceeded::Perhaps, Exceeded::No | Exceeded::Perhaps) => None,
        };
        if let Some(why) = why {
            return Some(self.open(why, Transition::Tripped(why), settings, moment));
        }
        let state = State::Closed { run, failing, slow };
        (state != self.state).then(|| self.stay(state))
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
                hold: self.hold,
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
                hold: self.hold,
                state,
            },
            transition: Some(transition),
        }
    }
}

impl Change {
    /// Sends one more probe out.
    fn admit_probe(mut self, settings: &Settings, sent: Sent, now: Timestamp) -> Admission {
        let (probes, lease) = (settings.probes, settings.probe_lease);
        let permit = match &mut self.record.state {
            State::HalfOpen { permits, .. } => {
                let permit = permits.take(probes, lease, sent, now);
                permit.ok_or_else(|| permits.wait(lease, now))
            }
            State::Closed { .. } | State::Open { .. } => Err(lease),
        };
        let permit = match permit {
            Ok(permit) => permit,
            Err(wait) => return Admission::Refuse(Refusal::ProbesOut(wait)),
        };
        let ticket = Ticket {
            generation: self.record.generation,
            standing: Standing::Probe(permit),
            word: Word::None,
        };
        Admission::Probe(self, ticket)
    }
}

impl Default for State {
    fn default() -> Self {
        Self::Closed {
            run: Run::default(),
            failing: Share::default(),
            slow: Share::default(),
        }
    }
}

impl State {
    fn half_opened(now: Timestamp) -> Self {
        Self::HalfOpen {
            permits: Permits::beginning(now),
            successes: 0,
        }
    }
}

impl Refusal {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Open(_) => "open",
            Self::ProbesOut(_) => "probes_out",
            Self::Forced(_) => "forced",
        }
    }

    /// In whole seconds.
    pub(crate) const fn retry_after_secs(self) -> u64 {
        match self {
            Self::Open(left) | Self::Forced(left) | Self::ProbesOut(left) => left.as_secs_ceil(),
        }
    }
}

#[cfg(test)]
mod tests;
