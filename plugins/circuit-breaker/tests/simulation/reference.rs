//! The breaker as it is meant, written to be read: resilience4j's CLOSED, OPEN and HALF_OPEN, of
//! which it knows each probe by its request's number. It shares no code with the product. What
//! differs from resilience4j: a share must be exceeded (`failureRateThreshold`,
//! `slowCallRateThreshold`), failures in a row open it too, and the first probe that failed or was
//! slow opens it again (`permittedNumberOfCallsInHalfOpenState` probes at a time).

use crate::op::{Effect, News, Op, Saw, Standing, Ticket, Transition, Verdict, Word};
use crate::rules::Outcome;
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
        row: Row,
        failing: Share,
        slow: Share,
    },
    Open {
        until: u64,
        reason: &'static str,
    },
    HalfOpen {
        leases: Vec<Option<Lease>>,
        successes: u64,
        /// Probes that have come whole: they are heard, whoever has their permits.
        whole: Vec<u64>,
        /// When takeovers by unfinished requests were, those that still count.
        crowd: u64,
    },
}

/// A permit: whose it is, until when, and whether that request is whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lease {
    pub(crate) request: u64,
    pub(crate) until: u64,
    pub(crate) whole: bool,
}

/// When the failures came that are in a row: all that is reported of a success goes by these. The dates
/// are the clock's, which may have been set back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) dates: Vec<u64>,
    /// How many successes have ended a row so far, and what the last one took out, as long as no
    /// other success has come after it.
    ends: u64,
    taken: Vec<u64>,
    /// Whether something came back, so that it is not known when the row began.
    came_back: bool,
}

impl Row {
    /// A success at `head` is reported at `now`. Those before it are no longer in the row; of those after
    /// it the last is for certain. Only where the clock went on all the time is a success that is
    /// dated before all of them certain to have come before them.
    fn tell(&mut self, head: u64, now: u64) {
        self.taken.clear();
        let (Some(first), Some(last)) = (self.dates.first(), self.dates.last().copied()) else {
            return;
        };
        let went_on = self.dates.is_sorted() && !self.came_back;
        if last > now || head >= last {
            self.leave(&[]);
        } else if head >= *first || !went_on {
            self.leave(&[last]);
        }
    }

    fn leave(&mut self, dates: &[u64]) {
        self.dates = dates.to_vec();
        self.came_back = false;
    }

    /// A success is reported as its head comes; its number, if it ends a row.
    fn end(&mut self) -> Option<u64> {
        self.taken = std::mem::take(&mut self.dates);
        self.came_back = false;
        (!self.taken.is_empty()).then(|| {
            self.ends += 1;
            self.ends
        })
    }

    /// Who had ended a row breaks off.
    fn take_back(&mut self, number: u64) {
        if self.ends == number && !self.taken.is_empty() {
            self.dates = [std::mem::take(&mut self.taken), self.dates.clone()].concat();
            self.came_back = true;
        }
    }

    /// Whether a success would change nothing.
    fn is_clear(&self) -> bool {
        self.dates.is_empty() && self.taken.is_empty()
    }
}

/// A share, and what was seen when it was found to be exceeded: when, of how many, and how many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) window: Window,
    suspicion: Option<(u64, u64, u64)>,
}

/// So long after it was found exceeded a share is so for certain.
const CERTAIN_AFTER: u64 = 100_000_000;

impl Share {
    /// `bad` says which of the counts are bad ones. Whether it is exceeded for certain.
    fn tell(&mut self, ratio: &Ratio, reported: Counts, bad: fn(&Counts) -> u64, now: u64) -> bool {
        if reported == Counts::default() && self.suspicion.is_none() {
            return false;
        }
        if reported != Counts::default() {
            self.window.tell(ratio, reported, now);
        }
        let seen = self.window.seen(ratio, now);
        let is_exceeded = ratio.is_exceeded(seen.requests, bad(&seen));
        let fine = reported.requests - bad(&reported);
        self.suspicion = self
            .suspicion
            .map(|(since, requests, bad)| (since, requests + fine, bad))
            .filter(|(since, requests, bad)| *since <= now && ratio.is_exceeded(*requests, *bad))
            .or(Some((now, seen.requests, bad(&seen))))
            .filter(|_| is_exceeded);
        self.suspicion
            .is_some_and(|(since, _, _)| now >= since + CERTAIN_AFTER)
    }
}

impl Default for State {
    fn default() -> Self {
        Self::Closed {
            row: Row::default(),
            failing: Share::default(),
            slow: Share::default(),
        }
    }
}

/// Takeovers by unfinished requests: one each so often, and so much at once.
const CROWD_EVERY: u64 = 100_000_000;
const MOST_CROWD: u64 = 16 * CROWD_EVERY;

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
        let mut effect = self.applied(settings, op, now, look);
        if let State::Closed { row, failing, slow } = &self.state {
            effect.saw = Saw {
                failures: !row.is_clear(),
                suspicion: failing.suspicion.is_some() || slow.suspicion.is_some(),
            };
        }
        effect
    }

    fn applied(&mut self, settings: &Settings, op: &Op, now: u64, look: Look) -> Effect {
        match op {
            Op::Ask { request, whole } => self.ask(settings, *request, *whole, now),
            Op::Confirm { request, epoch } => self.confirm(settings, *request, *epoch, now),
            Op::Succeed { epoch } => {
                let mut effect = Effect::default();
                if let State::Closed { row, .. } = &mut self.state
                    && *epoch == self.epoch
                {
                    effect.stores = !row.is_clear();
                    effect.ended = row.end();
                }
                effect
            }
            Op::Settle {
                request,
                ticket,
                outcome,
                slow,
                news,
            } => match ticket.standing {
                Standing::Plain { .. } => {
                    let cause = match outcome {
                        Outcome::Failure(cause) => Some(*cause),
                        Outcome::Success | Outcome::Ignored => slow.then_some("slow"),
                    };
                    let fails =
                        matches!(outcome, Outcome::Failure(_)) && ticket.epoch == self.epoch;
                    let fails = fails.then_some(ticket.word);
                    self.count(settings, fails, *news, cause, now, look)
                }
                Standing::Probe if ticket.epoch != self.epoch => {
                    let cause = match outcome {
                        Outcome::Failure(cause) => Some(*cause),
                        Outcome::Success => slow.then_some("slow"),
                        Outcome::Ignored => None,
                    };
                    self.count(settings, None, *news, cause, now, look)
                }
                Standing::Probe => {
                    self.probe_returns(settings, *request, *outcome, *slow, now, look)
                }
                Standing::Forced | Standing::Lost => Effect::default(),
            },
            Op::Tell(news) => self.count(settings, None, *news, None, now, look),
        }
    }

    /// A body has come. Who has its permit yet keeps it, for a new lease, if there is room.
    fn confirm(&mut self, settings: &Settings, request: u64, epoch: u64, now: u64) -> Effect {
        let mut effect = Effect {
            lost: true,
            ..Effect::default()
        };
        if let State::HalfOpen {
            leases,
            whole: heard,
            ..
        } = &mut self.state
            && epoch == self.epoch
        {
            let others = leases
                .iter()
                .flatten()
                .filter(|lease| lease.request != request);
            let others = others.filter(|lease| is_out(lease, settings, now)).count();
            let mine = leases
                .iter_mut()
                .flatten()
                .find(|lease| lease.request == request);
            if let Some(mine) = mine
                && others < settings.probes
            {
                mine.whole = true;
                mine.until = now + settings.lease;
                heard.push(request);
                effect.lost = false;
                effect.stores = true;
            }
        }
        effect
    }

    fn ask(&mut self, settings: &Settings, request: u64, whole: bool, now: u64) -> Effect {
        let mut effect = Effect::default();
        if let State::Open { until, .. } = self.state {
            let since = self.since.unwrap_or_default();
            if let Some(left) = left(since, until, now) {
                effect.answer = Some(Verdict::Refuse("open", left.div_ceil(1_000_000_000)));
                return effect;
            }
        }
        let (epoch, leases, heard, crowd) = match &mut self.state {
            State::Closed { row, .. } => {
                let after_failures = !row.is_clear();
                effect.answer = Some(Verdict::Pass(Ticket {
                    epoch: self.epoch,
                    standing: Standing::Plain { after_failures },
                    word: Word::None,
                }));
                return effect;
            }
            State::HalfOpen {
                leases,
                whole,
                crowd,
                ..
            } => (self.epoch, leases, whole, crowd),
            State::Open { .. } => {
                let half_open = State::HalfOpen {
                    leases: vec![None; settings.probes],
                    successes: 0,
                    whole: Vec::new(),
                    crowd: 0,
                };
                effect.transition = Some(self.turn(half_open, "open_time_over", None, now));
                let State::HalfOpen {
                    leases,
                    whole,
                    crowd,
                    ..
                } = &mut self.state
                else {
                    panic!("it was just made so");
                };
                (self.epoch, leases, whole, crowd)
            }
        };
        // The first permit that is free, or whose lease is over.
        let is_taken =
            |lease: &Option<Lease>| lease.is_some_and(|lease| is_out(&lease, settings, now));
        let waits =
            |lease: &Option<Lease>| is_taken(lease) && lease.is_some_and(|lease| !lease.whole);
        let free = leases.iter().position(|lease| !is_taken(lease));
        // Else the first whose request is not whole; an unfinished one must not come too often.
        let debt = crowd.saturating_sub(now);
        let debt = if debt > MOST_CROWD { 0 } else { debt };
        let may_take_over = whole || debt + CROWD_EVERY <= MOST_CROWD;
        let index = free.or_else(|| {
            let waiting = leases.iter().position(waits).filter(|_| may_take_over);
            if waiting.is_some() && !whole {
                *crowd = now + debt + CROWD_EVERY;
            }
            waiting
        });
        let Some(index) = index else {
            // As long again as the first has taken so far, a second at least, and its lease at most.
            let out = leases.iter().flatten().filter_map(|lease| {
                let since = lease.until - settings.lease;
                let left = left(since, lease.until, now)?;
                let taken = if lease.whole {
                    now.saturating_sub(since)
                } else {
                    0
                };
                Some(left.min(taken.max(1_000_000_000)))
            });
            let wait = out.min().unwrap_or(1_000_000_000);
            effect.answer = Some(Verdict::Refuse("probes_out", wait.div_ceil(1_000_000_000)));
            return effect;
        };
        if whole {
            heard.push(request);
        }
        leases[index] = Some(Lease {
            request,
            until: now + settings.lease,
            whole,
        });
        effect.stores = true;
        effect.answer = Some(Verdict::Pass(Ticket {
            epoch,
            standing: Standing::Probe,
            word: Word::None,
        }));
        effect
    }

    fn count(
        &mut self,
        settings: &Settings,
        fails: Option<Word>,
        news: News,
        cause: Option<&'static str>,
        now: u64,
        look: Look,
    ) -> Effect {
        let epoch = self.epoch;
        let State::Closed { row, failing, slow } = &mut self.state else {
            return Effect::default();
        };
        let before = (row.clone(), failing.clone(), slow.clone());
        if let Some((of, head)) = news.head
            && of == epoch
        {
            row.tell(head, now);
        }
        if settings.consecutive.is_some()
            && let Some(word) = fails
        {
            if let Word::Ended(number) = word {
                row.take_back(number);
            }
            row.dates.push(now);
        }
        let reported = news.reported.filter(|(of, _)| *of == epoch);
        let reported = reported.map(|(_, reported)| reported).unwrap_or_default();
        let mut reason = None;
        if let Some(ratio) = &settings.slow
            && slow.tell(ratio, reported, |counts| counts.slow, now)
        {
            reason = Some("slow_ratio");
        }
        if let Some(ratio) = &settings.failing
            && failing.tell(ratio, reported, |counts| counts.failed, now)
        {
            reason = Some("failure_ratio");
        }
        let row = row.dates.len() as u64;
        if fails.is_some() && settings.consecutive.is_some_and(|most| row >= most) {
            reason = Some("consecutive_failures");
        }
        let State::Closed { row, failing, slow } = &self.state else {
            panic!("it is closed");
        };
        let stores = reason.is_some() || before != (row.clone(), failing.clone(), slow.clone());
        Effect {
            stores,
            transition: reason.map(|reason| self.open(settings, reason, cause, now, look)),
            ..Effect::default()
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
        let State::HalfOpen {
            leases,
            successes,
            whole,
            ..
        } = &mut self.state
        else {
            panic!("no probe is of an epoch that is not half-open");
        };
        let mine = |lease: &&mut Option<Lease>| lease.is_some_and(|lease| lease.request == request);
        match leases.iter_mut().find(mine) {
            Some(lease) => *lease = None,
            None if whole.contains(&request) => {}
            None => return Effect::default(),
        }
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
            ..Effect::default()
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

/// Whether a permit is out: its lease is not over.
pub(crate) fn is_out(lease: &Lease, settings: &Settings, now: u64) -> bool {
    left(lease.until - settings.lease, lease.until, now).is_some()
}
