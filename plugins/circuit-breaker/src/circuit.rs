//! One breaker as it is configured: what the state machine decides, carried out on shared data and
//! told to the telemetry.

use std::cell::Cell;

use portcullis_policy::config::{ConfigError, Fallback, IfAmbiguous, Match, Mode};
use portcullis_policy::{
    ClockUnavailable, Failure, LogLine, Ports, Request, Sent, Setup, SlotKey, Span, Step,
    Timestamp, read, update,
};

use crate::NAME;
use crate::admitted::{Admitted, Progress};
use crate::backoff::OpenFor;
use crate::batch::{Batch, Counts};
use crate::breaker::{Admission, Change, Moment, News, Record, Refusal, Settings};
use crate::classify::{Cause, Classifier, Outcome, Pace};
use crate::config::{BreakerConfig, Force};
use crate::glance::Glance;
use crate::metrics::{Has, Metrics};
use crate::record::slot_name;
use crate::run::{Heads, OnRecord};
use crate::ticket::{Standing, Ticket, Word};
use crate::transition::{Phase, Transition};
use crate::watch::Silence;
use crate::window::Ratio;

/// One breaker.
#[derive(Debug)]
pub(crate) struct Circuit {
    pub(crate) name: String,
    pub(crate) key: SlotKey,
    pub(crate) mode: Mode,
    pub(crate) force: Force,
    pub(crate) classifier: Classifier,
    pub(crate) settings: Settings,
    /// From when on a response is slow, where that can open it.
    slower_than: Option<Span>,
    /// Whether that goes by the first content of the answer, and not by its head.
    pub(crate) waits_for_text: bool,
    /// For how long nothing comes of a stream that stalls.
    stall: Option<Span>,
    matches: Match,
    batch: Batch,
    heads: Heads,
    pub(crate) glance: Glance,
    /// Whether a share was suspected to be exceeded when this worker last changed the record or
    /// tried to: then its ticks look whether it still is.
    suspects: Cell<bool>,
    /// When the hold is over that this worker has seen last: then its tick ends it, if no request has.
    pub(crate) hold_until: Cell<Option<Timestamp>>,
    metrics: Metrics,
    /// Where requests go that it would refuse.
    pub(crate) on_open: Option<Fallback>,
}

/// A ticket for a request that passes.
pub(crate) type Decision = Result<Ticket, Refusal>;

impl Circuit {
    /// `plugin` is the mode of all breakers together: the weaker of the two holds.
    pub(crate) fn new(
        config: BreakerConfig,
        plugin: Mode,
        setup: &mut Setup<'_>,
    ) -> Result<Self, ConfigError> {
        let on_open = config.on_open.as_ref();
        let on_open = on_open.map(|on_open| Fallback::new(on_open, setup));
        let on_open = on_open
            .transpose()
            .map_err(|error| error.within("on_open"))?;
        let metrics = &mut *setup.metrics;
        let name = config.name.as_str().to_owned();
        Ok(Self {
            key: SlotKey::new::<Record>(slot_name(&name)),
            mode: plugin.weaker(config.mode),
            force: config.force,
            classifier: Classifier::new(&config.failures),
            slower_than: config.trip.slow().map(|slow| slow.slower_than.span()),
            waits_for_text: config.trip.slow_first_token.is_some(),
            stall: config.failures.stall.map(|stall| stall.span()),
            settings: Settings::from(&config),
            matches: config.matches,
            batch: Batch::default(),
            heads: Heads::default(),
            glance: Glance::default(),
            suspects: Cell::new(false),
            hold_until: Cell::new(None),
            metrics: Metrics::new(
                &name,
                Has {
                    stalls: config.failures.stall.is_some(),
                    first_token: config.trip.slow_first_token.is_some(),
                    fallback: on_open.is_some(),
                },
                metrics,
            ),
            on_open,
            name,
        })
    }

    /// Whether the breaker guards this request. A path with two readings belongs to no breaker: it
    /// must not trip one whose upstream it may never reach.
    pub(crate) fn guards(&self, request: &Request<'_>) -> bool {
        match self.mode {
            Mode::Off => false,
            Mode::Enforce | Mode::Shadow => self.matches.matches(request, IfAmbiguous::Misses),
        }
    }

    /// Whether it counts what is fine, too.
    pub(crate) const fn has_ratio(&self) -> bool {
        self.settings.failure_ratio.is_some() || self.settings.slow_ratio.is_some()
    }

    /// Whether who made a fine response matters at once: it ends failures in a row, or a probe.
    pub(crate) fn ends_something(&self, ticket: &Ticket) -> bool {
        match ticket.standing {
            Standing::Probe(_) | Standing::AfterFailures => true,
            Standing::Clean => self.heads.on_record() == OnRecord::Failures,
            Standing::Forced | Standing::Lost => false,
        }
    }

    /// Decides on a request of which so much has come. A closed breaker costs a read once in a few milliseconds, a refusal
    /// one read and the time; only a probe is written down.
    pub(crate) fn admit(&self, sent: Sent, ports: &Ports<'_>) -> Result<Decision, Failure> {
        if self.glance.is_there()
            && let Ok(now) = ports.clock.now()
            && let Some(ticket) = self.glance.ticket(now)
        {
            ports.telemetry.count(self.metrics.admitted);
            return Ok(Ok(ticket));
        }
        let answer = self.decide(sent, ports)?;
        match &answer {
            Ok(ticket) if ticket.standing == Standing::Clean => match ports.clock.now() {
                Ok(now) => self.glance.saw(*ticket, now),
                Err(ClockUnavailable) => self.glance.forget(),
            },
            Ok(_) | Err(_) => self.glance.forget(),
        }
        if let Ok(ticket) = &answer {
            ports.telemetry.count(self.metrics.admitted);
            match ticket.standing {
                Standing::Clean => self.heads.saw(OnRecord::NoFailures),
                Standing::AfterFailures => self.heads.saw(OnRecord::Failures),
                Standing::Probe(_) | Standing::Lost | Standing::Forced => {}
            }
        }
        Ok(answer)
    }

    fn decide(&self, sent: Sent, ports: &Ports<'_>) -> Result<Decision, Failure> {
        match self.force {
            Force::None => {}
            Force::Open => return Ok(Err(Refusal::Forced(self.settings.open_for.initial))),
            Force::Closed => return Ok(Ok(Ticket::FORCED)),
        }
        let seen = read::<Record>(ports.store, &self.key)?.unwrap_or_default();
        if let Some(ticket) = seen.pass() {
            return Ok(Ok(ticket));
        }
        let now = ports.clock.now()?;
        if seen.outlived(now).is_some() {
            // One that can't be written down is over all the same.
            let _ = self.outlive(now, ports);
        }
        match seen.admit(&self.settings, sent, now) {
            Admission::Refuse(refusal) => return Ok(Err(refusal)),
            Admission::Pass(ticket) => return Ok(Ok(ticket)),
            // Whoever sends it out must have written that down.
            Admission::Probe(..) => {}
        }
        let (answer, transition) = update(ports.store, &self.key, |record: Option<&Record>| {
            let record = record.cloned().unwrap_or_default();
            match record.admit(&self.settings, sent, now) {
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

    /// When a request was admitted, where it is of interest how long it takes.
    pub(crate) fn started(&self, ports: &Ports<'_>) -> Option<Timestamp> {
        self.slower_than.and_then(|_| ports.clock.now().ok())
    }

    /// Whether an answer is watched behind its head.
    pub(crate) const fn watches(&self) -> bool {
        self.waits_for_text || self.stall.is_some()
    }

    /// What silence says of a stream that has begun.
    pub(crate) fn hears_nothing(
        &self,
        admitted: &Admitted,
        silence: Silence,
        now: Timestamp,
    ) -> Option<(Outcome, Pace)> {
        let pace = match admitted.progress {
            Progress::Begun(pace) | Progress::HeadFine(pace) => pace,
            Progress::Waiting | Progress::Unread(_) | Progress::Settled => return None,
        };
        if self
            .stall
            .is_some_and(|stall| silence.is_longer_than(stall, now))
        {
            return Some((Outcome::Failure(Cause::Stall), pace));
        }
        let is_slow = match (admitted.progress, admitted.started, self.slower_than) {
            (Progress::Begun(_), Some(started), Some(limit)) if self.waits_for_text => {
                now.since(started) > limit
            }
            _ => false,
        };
        is_slow.then_some((Outcome::Success, Pace::Slow))
    }

    /// How long the response's head took, if it comes now.
    pub(crate) fn pace(&self, started: Option<Timestamp>, ports: &Ports<'_>) -> Pace {
        match (started, self.slower_than) {
            (Some(started), Some(limit)) => match ports.clock.now() {
                Ok(now) => Pace::of(now.since(started), limit),
                Err(ClockUnavailable) => Pace::Quick,
            },
            (None, _) | (_, None) => Pace::Quick,
        }
    }

    /// An answer's first content has come. Counts how long it took.
    pub(crate) fn tell_first(&self, started: Option<Timestamp>, ports: &Ports<'_>) {
        if let (Some(times), Some(started), Ok(now)) =
            (&self.metrics.first_token, started, ports.clock.now())
        {
            times.record(now.since(started).as_millis(), ports.telemetry);
        }
    }

    /// Hears that the request of a ticket has come whole. A probe that has lost its permit meanwhile
    /// says nothing any more.
    pub(crate) fn confirm(&self, ticket: &mut Ticket, ports: &Ports<'_>) -> Result<(), Failure> {
        let Standing::Probe(permit) = ticket.standing else {
            return Ok(());
        };
        let now = ports.clock.now()?;
        self.glance.forget();
        let is_held = update(ports.store, &self.key, |record: Option<&Record>| {
            let record = record.cloned().unwrap_or_default();
            match record.confirm(ticket, &self.settings, now) {
                Some(change) => Step::Write(change.record, true),
                None => Step::Keep(false),
            }
        })?;
        ticket.standing = match is_held {
            true => Standing::Probe(permit.whole()),
            false => Standing::Lost,
        };
        Ok(())
    }

    /// Hears of the head of a success. Where failures are on record it ends them at once; else it is
    /// remembered, for there may be some of which this worker has not heard yet.
    pub(crate) fn succeeded(&self, ticket: &mut Ticket, ports: &Ports<'_>) -> Result<(), Failure> {
        if self.settings.consecutive_failures.is_none() || !ticket.is_of_closed() {
            return Ok(());
        }
        if !self.ends_something(ticket) {
            let head = (ticket.generation, ports.clock.now()?);
            ticket.word = Word::Remembered(self.heads.succeeded(head));
            return Ok(());
        }
        let generation = ticket.generation;
        self.glance.forget();
        let (on_record, word) = update(ports.store, &self.key, |record: Option<&Record>| {
            let record = record.cloned().unwrap_or_default();
            match record.succeed(generation) {
                Some((change, word)) => {
                    let on_record = change.record.on_record();
                    Step::Write(change.record, (on_record, word))
                }
                None => Step::Keep((record.on_record(), Word::None)),
            }
        })?;
        self.heads.saw(on_record);
        ticket.word = word;
        Ok(())
    }

    /// Closes the books on a request that was admitted.
    pub(crate) fn settle(
        &self,
        ticket: &Ticket,
        outcome: Outcome,
        pace: Pace,
        ports: &Ports<'_>,
    ) -> Result<(), Failure> {
        ports.telemetry.count(self.metrics.settled(outcome));
        let counts = Counts::of(outcome, pace);
        if counts.slow > 0 {
            ports.telemetry.count(self.metrics.slow);
        }
        if self.has_ratio() && ticket.is_of_closed() {
            self.batch.put(ticket.generation, counts);
            // What is fine is reported with the next tick, what is not at once.
            if counts.failed == 0 && counts.slow == 0 {
                return Ok(());
            }
        } else if !ticket.matters(outcome) {
            return Ok(());
        }
        if let (Outcome::Failure(_), Word::Remembered(number)) = (outcome, ticket.word) {
            self.heads.taken_back(number);
        }
        let news = News {
            counts: Some((ticket.generation, self.batch.take_of(ticket.generation))),
            head: self.heads.last(),
        };
        let cause = match (outcome, pace) {
            (Outcome::Failure(cause), _) => Some(cause),
            (Outcome::Success, Pace::Slow) => Some(Cause::Slow),
            (Outcome::Success, Pace::Quick) | (Outcome::Ignored, _) => None,
        };
        self.change(cause, ports, |record, moment| {
            record.settle(ticket, outcome, pace, news, &self.settings, moment)
        })
    }

    /// Tells the others what this worker has seen, and looks whether what is suspected is so.
    pub(crate) fn merge(&self, ports: &Ports<'_>) -> Result<(), Failure> {
        // Where the clock is set back a look would be fresh again, or for longer; a tick comes all the same.
        self.glance.forget();
        self.end_hold(ports)?;
        let news = News {
            counts: self.batch.take(),
            head: self.heads.last(),
        };
        if news.counts.is_none() && news.head.is_none() && !self.suspects.get() {
            return Ok(());
        }
        self.change(None, ports, |record, moment| {
            record.merge(news, &self.settings, moment)
        })
    }

    fn change(
        &self,
        cause: Option<Cause>,
        ports: &Ports<'_>,
        change: impl Fn(&Record, Moment) -> Option<Change>,
    ) -> Result<(), Failure> {
        let moment = Moment {
            now: ports.clock.now()?,
            roll: self.roll(ports),
        };
        self.glance.forget();
        let (transition, on_record, suspects) =
            update(ports.store, &self.key, |record: Option<&Record>| {
                let record = record.cloned().unwrap_or_default();
                let seen = |record: &Record, transition| {
                    (transition, record.on_record(), record.is_suspicious())
                };
                match change(&record, moment) {
                    None => Step::Keep(seen(&record, None)),
                    Some(change) => {
                        let seen = seen(&change.record, change.transition);
                        Step::Write(change.record, seen)
                    }
                }
            })?;
        self.heads.reported(on_record);
        self.suspects.set(suspects);
        if let Some(transition) = transition {
            self.announce(transition, cause, ports);
        }
        Ok(())
    }

    /// The chance in how long it will stay open. Without entropy there is none: that is no reason
    /// not to open.
    pub(crate) fn roll(&self, ports: &Ports<'_>) -> u32 {
        let mut bytes = [0; 4];
        if self.settings.open_for.jitter == 0 || ports.entropy.fill(&mut bytes).is_err() {
            return 0;
        }
        u32::from_le_bytes(bytes)
    }

    /// Sets the gauge to what is stored, as far as that can be read: a gateway that was configured
    /// anew has forgotten it.
    pub(crate) fn show(&self, ports: &Ports<'_>) {
        if let Ok(Some(phase)) = self.stored_phase(ports) {
            ports.telemetry.set(self.metrics.state, phase.gauge());
        }
    }

    fn stored_phase(&self, ports: &Ports<'_>) -> Result<Option<Phase>, Failure> {
        Ok(match (self.mode, self.force) {
            (Mode::Off, _) => None,
            (_, Force::Open) => Some(Phase::Open),
            (_, Force::Closed) => Some(Phase::Closed),
            (_, Force::None) => {
                let record = read::<Record>(ports.store, &self.key)?.unwrap_or_default();
                self.hold_until.set(record.hold.map(|hold| hold.until));
                let held = match record.hold {
                    None => None,
                    Some(_) => record.held(ports.clock.now()?),
                };
                Some(held.map_or(record.phase(), |(side, _)| side.phase()))
            }
        })
    }

    /// Counts a request that goes elsewhere.
    pub(crate) fn count_elsewhere(&self, ports: &Ports<'_>) {
        if let Some(elsewhere) = self.metrics.elsewhere {
            ports.telemetry.count(elsewhere);
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
            .with("reason", refusal.as_str())
            .with("retry_after", refusal.retry_after_secs().to_string());
        ports.telemetry.log(line.with_id_of(request));
    }

    /// Counts and logs an answer that broke off after its head, which the client has as a success.
    pub(crate) fn tell_broken_off(&self, cause: Cause, ports: &Ports<'_>) {
        ports.telemetry.count(self.metrics.broken_off);
        let line = LogLine::new(NAME, "broken_off")
            .with("breaker", &self.name)
            .with("cause", cause.as_str());
        ports.telemetry.log(line);
    }

    /// Counts and logs a stream in which nothing comes any more.
    pub(crate) fn tell_stalled(&self, ports: &Ports<'_>) {
        if let Some(stalled) = self.metrics.stalled {
            ports.telemetry.count(stalled);
        }
        let line = LogLine::new(NAME, "stalled").with("breaker", &self.name);
        ports.telemetry.log(line);
    }

    /// Counts and logs a transition. Only who stored it gets here, so that each is reported once.
    pub(crate) fn announce(&self, transition: Transition, cause: Option<Cause>, ports: &Ports<'_>) {
        let to = transition.to();
        ports.telemetry.count(self.metrics.to(to));
        ports.telemetry.set(self.metrics.state, to.gauge());
        // Another worker may have gone on from there meanwhile, and have said so first.
        self.show(ports);
        let line = LogLine::new(NAME, transition.event())
            .with("breaker", &self.name)
            .with("from", transition.from().as_str())
            .with("to", to.as_str())
            .with("reason", transition.reason());
        ports.telemetry.log(match cause {
            Some(cause) => line.with("cause", cause.as_str()),
            None => line,
        });
    }
}

impl Settings {
    fn from(config: &BreakerConfig) -> Self {
        let (trip, open_for, half_open) = (&config.trip, &config.open_for, &config.half_open);
        Self {
            consecutive_failures: trip.consecutive_failures.map(|most| most.get()),
            failure_ratio: trip.failure_ratio.as_ref().map(|ratio| Ratio {
                above: ratio.above.millionths(),
                window: ratio.window.span(),
                minimum_requests: ratio.minimum_requests.get(),
            }),
            slow_ratio: trip.slow().map(|ratio| Ratio {
                above: ratio.above.millionths(),
                window: ratio.window.span(),
                minimum_requests: ratio.minimum_requests.get(),
            }),
            open_for: OpenFor {
                initial: open_for.initial.span(),
                multiplier: open_for.multiplier.millionths(),
                max: open_for.longest().span(),
                jitter: open_for.jitter.millionths(),
            },
            probes: half_open.probes.get(),
            successes_to_close: half_open.successes_to_close.get(),
            probe_lease: half_open.probe_lease.span(),
        }
    }
}
