//! The breaker as it is meant, written to be read: resilience4j's CLOSED, OPEN and HALF_OPEN, of
//! which it knows each probe by its request's number. It shares no code with the product. What
//! differs from resilience4j: a share must be exceeded (`failureRateThreshold`,
//! `slowCallRateThreshold`), failures in a row open it too, and the first probe that failed or was
//! slow opens it again (`permittedNumberOfCallsInHalfOpenState` probes at a time).

use crate::op::{Answer, Effect, Op, Standing, Ticket, Transition};
use crate::outcome::Outcome;
use crate::window::{Counts, Ratio, Window};

/// What a breaker is set to. Times are in nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) consecutive: Option<u64>,
    pub(crate) failing: Option<Ratio>,
    pub(crate) slow: Option<Ratio>,
    pub(crate) slower_than: u64,
    pub(crate) initial: u64,
    /// In millionths, as is `jitter`.
    pub(crate) multiplier: u64,
    pub(crate) max: u64,
    pub(crate) jitter: u64,
    pub(crate) probes: usize,
    pub(crate) successes_to_close: u64,
    pub(crate) lease: u64,
}

/// A breaker.
#[derive(Clone, Debug, Default)]
pub(crate) struct Breaker {
    /// How many transitions there were.
    pub(crate) epoch: u64,
    /// When the last one was.
    pub(crate) since: Option<u64>,
    pub(crate) state: State,
    /// How often it has opened without having been closed for long, and how long the last time was.
    times: u32,
    pub(crate) last: u64,
}

#[derive(Clone, Debug)]
pub(crate) enum State {
    Closed {
        in_a_row: u64,
        failing: Window,
        slow: Window,
    },
    Open {
        until: u64,
        reason: &'static str,
    },
    HalfOpen {
        /// Which request has each place, and until when.
        places: Vec<Option<(u64, u64)>>,
        successes: u64,
    },
}

impl Default for State {
    fn default() -> Self {
        Self::Closed {
            in_a_row: 0,
            failing: Window::default(),
            slow: Window::default(),
        }
    }
}

/// Finds out how long it really is open, where chance decides: from the shortest and the longest
/// point in time at which that may end.
pub(crate) type Look<'a> = &'a dyn Fn(u64, u64) -> u64;

impl Settings {
    pub(crate) fn has_ratio(&self) -> bool {
        self.failing.is_some() || self.slow.is_some()
    }

    /// The shortest and the longest time that it is open after having opened so many times before.
    fn lengths(&self, times: u32) -> (u64, u64) {
        let mut due = u128::from(self.initial);
        for _ in 0..times {
            due = (due * u128::from(self.multiplier) / 1_000_000).min(u128::from(self.max));
        }
        let off = due * u128::from(self.jitter) / 1_000_000;
        ((due - off).max(1) as u64, due as u64)
    }
}

/// How long a span that began at `since` lasts yet. A clock that shows a time from more than the
/// whole span before it was set back, which ends it.
pub(crate) fn left(since: u64, until: u64, now: u64) -> Option<u64> {
    let whole = until - since;
    let was_set_back = now + whole < since;
    (now < until && !was_set_back).then(|| (until - now).min(whole))
}

impl Breaker {
    pub(crate) fn state(&self) -> &'static str {
        match self.state {
            State::Closed { .. } => "closed",
            State::Open { .. } => "open",
            State::HalfOpen { .. } => "half_open",
        }
    }

    pub(crate) fn apply(&mut self, settings: &Settings, op: &Op, now: u64, look: Look) -> Effect {
        match op {
            Op::Ask(request) => self.ask(settings, *request, now),
            Op::Tell { epoch, told } if *epoch == self.epoch => {
                self.count(settings, |row| row, *told, None, now, look)
            }
            Op::Settle {
                request,
                ticket,
                outcome,
                slow,
                told,
            } if ticket.epoch == self.epoch => match ticket.standing {
                Standing::Plain { after_failures } => {
                    let cause = match outcome {
                        Outcome::Failure(cause) => Some(*cause),
                        Outcome::Success | Outcome::Ignored => slow.then_some("slow"),
                    };
                    let in_a_row = |row| match outcome {
                        Outcome::Failure(_) => row + 1,
                        Outcome::Success if after_failures => 0,
                        Outcome::Success | Outcome::Ignored => row,
                    };
                    self.count(settings, in_a_row, *told, cause, now, look)
                }
                Standing::Probe => {
                    self.probe_returns(settings, *request, *outcome, *slow, now, look)
                }
                Standing::Forced => Effect::default(),
            },
            Op::Tell { .. } | Op::Settle { .. } => Effect::default(),
        }
    }

    fn ask(&mut self, settings: &Settings, request: u64, now: u64) -> Effect {
        let mut effect = Effect::default();
        if let State::Open { until, .. } = self.state {
            let since = self.since.unwrap_or_default();
            if let Some(left) = left(since, until, now) {
                effect.answer = Some(Answer::Refuse("open", left.div_ceil(1_000_000_000)));
                return effect;
            }
        }
        let (epoch, places) = match &mut self.state {
            State::Closed { in_a_row, .. } => {
                let after_failures = *in_a_row > 0;
                effect.answer = Some(Answer::Pass(Ticket {
                    epoch: self.epoch,
                    standing: Standing::Plain { after_failures },
                }));
                return effect;
            }
            State::HalfOpen { places, .. } => (self.epoch, places),
            State::Open { .. } => {
                let half_open = State::HalfOpen {
                    places: vec![None; settings.probes],
                    successes: 0,
                };
                effect.transition = Some(self.turn(half_open, "open_time_over", None, now));
                let State::HalfOpen { places, .. } = &mut self.state else {
                    panic!("it was just made so");
                };
                (self.epoch, places)
            }
        };
        // The first place that is free, or whose lease is over: who has that is not heard any more.
        let free = places
            .iter_mut()
            .find(|place| !is_out(place, settings, now));
        let Some(free) = free else {
            effect.answer = Some(Answer::Refuse("probes_out", 1));
            return effect;
        };
        *free = Some((request, now + settings.lease));
        effect.stores = true;
        effect.answer = Some(Answer::Pass(Ticket {
            epoch,
            standing: Standing::Probe,
        }));
        effect
    }

    fn count(
        &mut self,
        settings: &Settings,
        next: impl FnOnce(u64) -> u64,
        told: Counts,
        cause: Option<&'static str>,
        now: u64,
        look: Look,
    ) -> Effect {
        let State::Closed {
            in_a_row,
            failing,
            slow,
        } = &mut self.state
        else {
            panic!("nobody without a permit is of an epoch that is not closed");
        };
        let before = *in_a_row;
        if settings.consecutive.is_some() {
            *in_a_row = next(before);
        }
        if *in_a_row == before && told == Counts::default() {
            return Effect::default();
        }
        let mut reason = None;
        if let Some(ratio) = &settings.slow {
            slow.tell(ratio, told, now);
            let seen = slow.seen(ratio, now);
            if ratio.is_exceeded(seen.requests, seen.slow) {
                reason = Some("slow_ratio");
            }
        }
        if let Some(ratio) = &settings.failing {
            failing.tell(ratio, told, now);
            let seen = failing.seen(ratio, now);
            if ratio.is_exceeded(seen.requests, seen.failed) {
                reason = Some("failure_ratio");
            }
        }
        if settings.consecutive.is_some_and(|most| *in_a_row >= most) {
            reason = Some("consecutive_failures");
        }
        Effect {
            stores: true,
            transition: reason.map(|reason| self.open(settings, reason, cause, now, look)),
            answer: None,
        }
    }

    fn probe_returns(
        &mut self,
        settings: &Settings,
        request: u64,
        outcome: Outcome,
        slow: bool,
        now: u64,
        look: Look,
    ) -> Effect {
        let State::HalfOpen { places, successes } = &mut self.state else {
            panic!("no probe is of an epoch that is not half-open");
        };
        let mine = |place: &&mut Option<(u64, u64)>| place.is_some_and(|(who, _)| who == request);
        let Some(place) = places.iter_mut().find(mine) else {
            return Effect::default();
        };
        *place = None;
        let transition = match outcome {
            Outcome::Ignored => None,
            Outcome::Failure(cause) => {
                Some(self.open(settings, "probe_failed", Some(cause), now, look))
            }
            Outcome::Success if slow => {
                Some(self.open(settings, "probe_failed", Some("slow"), now, look))
            }
            Outcome::Success => {
                *successes += 1;
                let enough = *successes >= settings.successes_to_close;
                enough.then(|| self.turn(State::default(), "probes_succeeded", None, now))
            }
        };
        Effect {
            stores: true,
            transition,
            answer: None,
        }
    }

    fn open(
        &mut self,
        settings: &Settings,
        reason: &'static str,
        cause: Option<&'static str>,
        now: u64,
        look: Look,
    ) -> Transition {
        // How long it was closed; for ever, if it never was anything else.
        let closed = match (&self.state, self.since) {
            (State::Closed { .. }, None) => u64::MAX,
            (State::Closed { .. }, Some(since)) => now.saturating_sub(since),
            (State::Open { .. } | State::HalfOpen { .. }, _) => 0,
        };
        if closed >= self.last {
            self.times = 0;
        }
        let (shortest, longest) = settings.lengths(self.times);
        self.last = if settings.jitter == 0 {
            longest
        } else {
            let length = look(now + shortest, now + longest) - now;
            assert!(
                (shortest..=longest).contains(&length),
                "open for {length} ns, not {shortest} to {longest}"
            );
            length
        };
        self.times += 1;
        let until = now + self.last;
        self.turn(State::Open { until, reason }, reason, cause, now)
    }

    fn turn(
        &mut self,
        to: State,
        reason: &'static str,
        cause: Option<&'static str>,
        now: u64,
    ) -> Transition {
        let from = self.state();
        self.state = to;
        self.epoch += 1;
        self.since = Some(now);
        Transition {
            from,
            to: self.state(),
            reason,
            cause,
        }
    }
}

/// Whether a place is taken, by a lease that is not over.
pub(crate) fn is_out(place: &Option<(u64, u64)>, settings: &Settings, now: u64) -> bool {
    place.is_some_and(|(_, until)| left(until - settings.lease, until, now).is_some())
}
