//! What one worker is expected to have reported: to the metrics, to the log, and to the other workers.

use std::collections::BTreeMap;

use portcullis_circuit_breaker::CircuitBreaker;
use portcullis_sim::Worker;

use crate::generate::{Guard, Mode};
use crate::op::{Effect, News, Op, Saw, Standing, Ticket, Transition, Verdict, Word};
use crate::outcome::Settled;
use crate::request::Drawn;
use crate::rules::Outcome;
use crate::window::Counts;

/// Of one worker.
#[derive(Debug, Default)]
pub(crate) struct Books {
    metrics: BTreeMap<String, u64>,
    pub(crate) lines: Vec<String>,
    /// Per breaker: what was settled and is not reported yet, with its epoch.
    untold: BTreeMap<String, Vec<(u64, Counts)>>,
    /// Per breaker: the last success that others may not know, with its epoch, and its number.
    heads: BTreeMap<String, ((u64, u64), u64)>,
    /// How many there were.
    remembered: u64,
    /// Per breaker: what this worker has seen of it last.
    saw: BTreeMap<String, Saw>,
    /// Per breaker: the ticket of the last request that looked, if no failure was on record, and when.
    glances: BTreeMap<String, (Ticket, u64)>,
}

/// For how long a worker does without another look.
const FRESH: u64 = 5_000_000;

const OF_A_BREAKER: [&str; 11] = [
    "state",
    "admitted",
    "successes",
    "failures",
    "ignored",
    "slow",
    "rejected",
    "shadow_rejected",
    "transitions.closed",
    "transitions.half_open",
    "transitions.open",
];
pub(crate) const ERRORS: [&str; 7] = [
    "store_unavailable",
    "store_contended",
    "store_foreign",
    "clock_unavailable",
    "headers_unreadable",
    "headers_cut",
    "edit_failed",
];

fn metric(what: &str, breaker: &str) -> String {
    match what.strip_prefix("transitions.") {
        Some(to) => format!("circuit_breaker_transitions.breaker.{breaker}.to.{to}"),
        None => format!("circuit_breaker_{what}.breaker.{breaker}"),
    }
}

/// One of a breaker's metrics, as the worker reported it.
pub(crate) fn reported(worker: &Worker<CircuitBreaker>, what: &str, breaker: &str) -> u64 {
    worker.telemetry.metric(&metric(what, breaker))
}

/// All failures of the plugin that the worker reported.
pub(crate) fn errors(worker: &Worker<CircuitBreaker>) -> u64 {
    let of = |reason| format!("circuit_breaker_errors.reason.{reason}");
    let all = ERRORS.iter();
    all.map(|reason| worker.telemetry.metric(&of(reason))).sum()
}

fn gauge(state: &str) -> u64 {
    match state {
        "closed" => 0,
        "half_open" => 1,
        _ => 2,
    }
}

impl Books {
    pub(crate) fn count(&mut self, what: &str, breaker: &str) {
        *self.metrics.entry(metric(what, breaker)).or_default() += 1;
    }

    pub(crate) fn error(&mut self, reason: &str) {
        let name = format!("circuit_breaker_errors.reason.{reason}");
        *self.metrics.entry(name).or_default() += 1;
    }

    /// What a worker shows from its start on.
    pub(crate) fn show(&mut self, guard: &Guard, state: &str) {
        self.metrics
            .insert(metric("state", &guard.name), gauge(state));
    }

    pub(crate) fn refused(&mut self, guard: &Guard, sent: &Drawn, reason: &str, after: u64) {
        let (event, what) = match guard.mode {
            Mode::Enforce => ("refused", "rejected"),
            Mode::Shadow | Mode::Off => ("shadow_refused", "shadow_rejected"),
        };
        self.count(what, &guard.name);
        let id = sent
            .id
            .map_or(String::new(), |id| format!(" request_id={id}"));
        self.lines.push(format!(
            "plugin=circuit_breaker event={event} breaker={} reason={reason} retry_after={after}{id}",
            guard.name
        ));
    }

    pub(crate) fn unavailable(&mut self, reason: &str, id: Option<&str>) {
        let id = id.map_or(String::new(), |id| format!(" request_id={id}"));
        self.lines.push(format!(
            "plugin=circuit_breaker event=refused reason={reason}{id}"
        ));
    }

    /// The ticket of a request that passes without a look.
    pub(crate) fn glance(&self, guard: &Guard, now: u64) -> Option<Ticket> {
        let (ticket, at) = self.glances.get(&guard.name)?;
        (now > *at && now - *at < FRESH).then_some(*ticket)
    }

    /// An op is about to be done: what was seen may be other.
    pub(crate) fn begin(&mut self, guard: &Guard, op: &Op) {
        if !matches!(op, Op::Ask { .. }) {
            self.glances.remove(&guard.name);
        }
    }

    /// A request has looked; `now`: if there was a clock.
    pub(crate) fn looked(&mut self, guard: &Guard, answer: &Verdict, now: Option<u64>) {
        let seen = match (answer, now) {
            (Verdict::Pass(ticket), Some(now)) => Some((*ticket, now)),
            (Verdict::Pass(_) | Verdict::Refuse(..), _) => None,
        };
        let clean = Standing::Plain {
            after_failures: false,
        };
        match seen.filter(|(ticket, _)| ticket.standing == clean) {
            Some(seen) => self.glances.insert(guard.name.clone(), seen),
            None => self.glances.remove(&guard.name),
        };
    }

    /// What a worker knows once an op is done.
    pub(crate) fn done(&mut self, guard: &Guard, op: &Op, effect: &Effect) {
        match (op, &effect.answer) {
            (Op::Ask { .. }, Some(Verdict::Pass(ticket))) => {
                if let Standing::Plain { after_failures } = ticket.standing {
                    self.saw(guard, after_failures);
                }
            }
            (Op::Succeed { .. }, _) => self.saw(guard, effect.saw.failures),
            (Op::Settle { .. } | Op::Tell(_), _) => self.all_told(guard, effect.saw),
            (Op::Ask { .. } | Op::Confirm { .. }, _) => {}
        }
    }

    /// A look at a breaker on the way to let a request pass. With no failure on record, successes so
    /// far are from before any that comes.
    fn saw(&mut self, guard: &Guard, failures: bool) {
        if !failures {
            self.heads.remove(&guard.name);
        }
        self.saw.entry(guard.name.clone()).or_default().failures = failures;
    }

    /// All that was known has been reported.
    fn all_told(&mut self, guard: &Guard, saw: Saw) {
        self.heads.remove(&guard.name);
        self.saw.insert(guard.name.clone(), saw);
    }

    pub(crate) fn knows_failures(&self, guard: &Guard) -> bool {
        self.saw.get(&guard.name).is_some_and(|saw| saw.failures)
    }

    /// The head of a success at `now`; says what that may change at once, and else notes on the ticket
    /// that it is remembered.
    pub(crate) fn head(
        &mut self,
        guard: &Guard,
        ticket: &mut Ticket,
        now: Option<u64>,
    ) -> Option<Op> {
        let Standing::Plain { after_failures } = ticket.standing else {
            return None;
        };
        guard.settings.consecutive?;
        let epoch = ticket.epoch;
        if after_failures || self.knows_failures(guard) {
            return Some(Op::Succeed { epoch });
        }
        match now {
            Some(now) => {
                self.remembered += 1;
                ticket.word = Word::Remembered(self.remembered);
                let last = self.heads.entry(guard.name.clone()).or_default();
                // What came of a request of an earlier epoch says nothing.
                if epoch >= last.0.0 {
                    *last = ((epoch, now), self.remembered);
                }
            }
            None => self.error("clock_unavailable"),
        }
        None
    }

    pub(crate) fn changed(&mut self, guard: &Guard, transition: &Transition) {
        let Transition {
            from,
            to,
            reason,
            cause,
        } = *transition;
        self.count(&format!("transitions.{to}"), &guard.name);
        self.show(guard, to);
        let event = match to {
            "closed" => "closed",
            "half_open" => "half_opened",
            _ => "opened",
        };
        let cause = cause.map_or(String::new(), |cause| format!(" cause={cause}"));
        self.lines.push(format!(
            "plugin=circuit_breaker event={event} breaker={} from={from} to={to} reason={reason}{cause}",
            guard.name
        ));
    }

    /// Counts a request that is settled; says what that may change at once. Those that are fine are
    /// reported with the next failure, or tick.
    pub(crate) fn settle(
        &mut self,
        guard: &Guard,
        request: u64,
        ticket: Ticket,
        settled: Settled,
    ) -> Option<Op> {
        let Settled {
            outcome,
            slow,
            broke,
        } = settled;
        if let Some(cause) = broke {
            self.count("broken_off", &guard.name);
            self.lines.push(format!(
                "plugin=circuit_breaker event=broken_off breaker={} cause={cause}",
                guard.name
            ));
        }
        let (what, failed) = match outcome {
            Outcome::Success => ("successes", 0),
            Outcome::Failure(_) => ("failures", 1),
            Outcome::Ignored => ("ignored", 0),
        };
        self.count(what, &guard.name);
        let slow = slow && outcome != Outcome::Ignored;
        if slow {
            self.count("slow", &guard.name);
        }
        let at_once = match ticket.standing {
            Standing::Forced | Standing::Lost => return None,
            Standing::Probe => true,
            Standing::Plain { .. } => {
                if guard.settings.has_ratio() {
                    let counts = Counts {
                        requests: u64::from(outcome != Outcome::Ignored),
                        failed,
                        slow: u64::from(slow),
                    };
                    self.keep(guard, ticket.epoch, counts);
                }
                failed > 0 || (slow && guard.settings.has_ratio())
            }
        };
        // Who breaks off is not reported to be a success.
        if let (Outcome::Failure(_), Word::Remembered(number)) = (outcome, ticket.word)
            && (self.heads.get(&guard.name)).is_some_and(|(_, last)| *last == number)
        {
            self.heads.remove(&guard.name);
        }
        at_once.then(|| Op::Settle {
            request,
            ticket,
            outcome,
            slow,
            news: News {
                reported: Some((ticket.epoch, self.take(guard, ticket.epoch))),
                head: self.heads.get(&guard.name).map(|(head, _)| *head),
            },
        })
    }

    /// Keeps what is of the newest epoch: what was seen in earlier ones says nothing any more.
    fn keep(&mut self, guard: &Guard, epoch: u64, counts: Counts) {
        let untold = self.untold.entry(guard.name.clone()).or_default();
        untold.retain(|(known, _)| *known >= epoch);
        if counts != Counts::default() && untold.iter().all(|(known, _)| *known == epoch) {
            untold.push((epoch, counts));
        }
    }

    /// What is reported with a tick.
    pub(crate) fn tick(&mut self, guard: &Guard) -> Option<Op> {
        self.glances.remove(&guard.name);
        let untold = self.untold.get(&guard.name);
        let epoch = untold.and_then(|untold| untold.iter().map(|(epoch, _)| *epoch).max());
        let reported = epoch.map(|epoch| (epoch, self.take(guard, epoch)));
        self.untold.remove(&guard.name);
        let head = self.heads.get(&guard.name).map(|(head, _)| *head);
        let suspects = self.saw.get(&guard.name).is_some_and(|saw| saw.suspicion);
        let has_news = reported.is_some() || head.is_some() || suspects;
        has_news.then_some(Op::Tell(News { reported, head }))
    }

    fn take(&mut self, guard: &Guard, of: u64) -> Counts {
        let untold = self.untold.entry(guard.name.clone()).or_default();
        let taken = untold.iter().filter(|(epoch, _)| *epoch == of);
        let taken = taken.map(|(_, counts)| *counts).sum();
        untold.retain(|(epoch, _)| *epoch != of);
        taken
    }

    /// Compares all metrics with what the worker reported.
    pub(crate) fn check(&self, worker: &Worker<CircuitBreaker>, guards: &[Guard]) {
        self.compare(worker, guards, &OF_A_BREAKER);
    }

    /// The same but for the gauges, of which other workers may have newer news.
    pub(crate) fn check_counters(&self, worker: &Worker<CircuitBreaker>, guards: &[Guard]) {
        self.compare(worker, guards, &OF_A_BREAKER[1..]);
    }

    fn compare(&self, worker: &Worker<CircuitBreaker>, guards: &[Guard], metrics: &[&str]) {
        let of_breakers = guards
            .iter()
            .flat_map(|guard| metrics.iter().map(|what| metric(what, &guard.name)));
        let errors = ERRORS.iter();
        let errors = errors.map(|reason| format!("circuit_breaker_errors.reason.{reason}"));
        for name in of_breakers.chain(errors) {
            let expected = self.metrics.get(&name).copied().unwrap_or_default();
            assert_eq!(worker.telemetry.metric(&name), expected, "{name}");
        }
    }
}
