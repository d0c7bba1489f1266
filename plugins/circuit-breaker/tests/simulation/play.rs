//! Workers that are used one after the other, beside the reference.

use std::collections::VecDeque;

use portcullis_circuit_breaker::{CircuitBreaker, Flow};
use portcullis_policy::{Policy as _, Ports, Timestamp};
use portcullis_sim::{Dialect, Draw, World};

use crate::books::Books;
use crate::gateway::{self, Faulty, Gateway, Nobody, Watched};
use crate::generate::{Force, Guard, Mode, Plugin};
use crate::op::{Effect, Op, Standing, Ticket, Verdict, Word};
use crate::outcome::{Case, Heard, Settled};
use crate::reference::{Breaker, State};
use crate::request::{Drawn, Step, steps};
use crate::rules::Outcome;
use crate::status::{self, Watcher};

pub(crate) struct Play {
    pub(crate) dialect: Dialect,
    pub(crate) world: World,
    pub(crate) plugin: Plugin,
    config: String,
    pub(crate) workers: Vec<Gateway>,
    pub(crate) books: Vec<Books>,
    pub(crate) breakers: Vec<Breaker>,
    pub(crate) flying: Vec<Flying>,
    watcher: Watcher,
    asked: u64,
}

/// A request that was admitted, and what is to come of it.
pub(crate) struct Flying {
    worker: usize,
    request: u64,
    flow: Flow,
    sent: Drawn,
    /// By the indices of the breakers that admitted it.
    cases: Vec<(usize, Case)>,
    steps: VecDeque<Step>,
}

/// What fails during one callback.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fault {
    /// Accesses to shared data after which all fail.
    pub(crate) after: Option<u32>,
    pub(crate) writes: bool,
    pub(crate) clock: bool,
}

/// A callback that was carried out.
struct Turn {
    worker: usize,
    has_clock: bool,
    /// By breakers: whether it could not be looked at or changed.
    lost: Vec<bool>,
}

/// What came of an [`Op`], or why it could not be done.
type Done = Result<Effect, &'static str>;

impl Play {
    pub(crate) fn new(dialect: Dialect, seed: u64, plugin: Plugin) -> Self {
        let (world, config) = (World::new(dialect, seed), plugin.json());
        Self {
            dialect,
            watcher: Watcher::new(&world, &config),
            breakers: vec![Breaker::default(); plugin.guards.len()],
            world,
            plugin,
            config,
            workers: Vec::new(),
            books: Vec::new(),
            flying: Vec::new(),
            asked: 0,
        }
    }

    pub(crate) fn now(&self) -> u64 {
        self.world.clock.read().unix_nanos()
    }

    pub(crate) fn set_clock(&self, now: u64) {
        self.world.clock.set(Timestamp::from_unix_nanos(now));
    }

    /// One more worker, which shows at its start what is stored.
    pub(crate) fn join(&mut self) {
        let (number, mut books) = (self.workers.len() as u64, Books::default());
        for (guard, breaker) in self.plugin.guards.iter().zip(&self.breakers) {
            match (guard.mode, guard.force) {
                (Mode::Off, _) => {}
                (_, Force::None) => books.show(guard, breaker.state()),
                (_, Force::Open) => books.show(guard, "open"),
                (_, Force::Closed) => books.show(guard, "closed"),
            }
        }
        let worker = self.world.worker_taking(&self.config, None, number);
        self.workers.push(worker.unwrap());
        self.books.push(books);
    }

    /// Carries out a callback of a worker, with a fault.
    fn call<R>(
        &self,
        worker: usize,
        fault: Fault,
        callback: impl FnOnce(&CircuitBreaker, &Ports<'_>) -> R,
    ) -> (R, Turn) {
        let gateway = &self.workers[worker];
        gateway.store.0.fail_after(fault.after);
        gateway.store.0.fail_writes(fault.writes);
        let watched = Watched::new(&gateway.store, &Nobody);
        let clock = Faulty {
            clock: &gateway.clock,
            broken: fault.clock,
        };
        let ports = Ports {
            store: &watched,
            clock: &clock,
            ..gateway.ports()
        };
        let result = callback(&gateway.policy, &ports);
        gateway.store.0.fail_after(None);
        gateway.store.0.fail_writes(false);
        let keys = gateway.policy.slot_names();
        let turn = Turn {
            worker,
            has_clock: !fault.clock,
            lost: keys.map(|key| watched.failed(key)).collect(),
        };
        (result, turn)
    }

    /// What the reference makes of it, and tells.
    fn apply(&mut self, turn: &Turn, index: usize, op: &Op) -> Done {
        let now = self.now();
        let (guard, breaker) = (&self.plugin.guards[index], &mut self.breakers[index]);
        let books = &mut self.books[turn.worker];
        books.begin(guard, op);
        // A closed breaker needs no clock to let a request pass.
        let untimed = matches!(
            (op, &breaker.state),
            (Op::Ask { .. }, State::Closed { .. }) | (Op::Succeed { .. }, _)
        );
        let reason = match (turn.lost[index], turn.has_clock || untimed) {
            (true, _) => Some("store_unavailable"),
            (false, false) => Some("clock_unavailable"),
            (false, true) => None,
        };
        if let Some(reason) = reason {
            books.error(reason);
            return Err(reason);
        }
        let look = |shortest, longest| self.watcher.until(&guard.name, shortest, longest);
        let effect = breaker.apply(&guard.settings, op, now, &look);
        if let Some(transition) = &effect.transition {
            books.changed(guard, transition);
        }
        books.done(guard, op, &effect);
        Ok(effect)
    }

    fn settle(&mut self, turn: &Turn, index: usize, request: u64, ticket: Ticket, how: Settled) {
        let guard = &self.plugin.guards[index];
        if let Some(op) = self.books[turn.worker].settle(guard, request, ticket, how) {
            // What can't be done is counted, and lost.
            let _ = self.apply(turn, index, &op);
        }
    }

    /// A request; says why it does not pass.
    pub(crate) fn ask(
        &mut self,
        draw: &Draw,
        sent: Drawn,
        worker: usize,
        fault: Fault,
    ) -> Option<&'static str> {
        let ((reply, flow), turn) = self.call(worker, fault, |policy, ports| {
            gateway::ask(policy, &sent, ports)
        });
        self.asked += 1;
        let (request, now) = (self.asked, self.now());
        let mut cases: Vec<(usize, Case)> = Vec::new();
        let mut refused: Option<(&'static str, &str, Option<u64>)> = None;
        for index in 0..self.plugin.guards.len() {
            let guard = self.plugin.guards[index].clone();
            if !guard.guards(sent.path) {
                continue;
            }
            let answer = self.answer(&turn, &guard, index, request, !sent.has_body);
            let books = &mut self.books[worker];
            match answer {
                Ok(Verdict::Pass(ticket)) => {
                    books.count("admitted", &guard.name);
                    let started = turn.has_clock.then_some(now);
                    cases.push((index, Case::new(ticket, started, !sent.has_body)));
                }
                Ok(Verdict::Refuse(reason, after)) => {
                    books.refused(&guard, &sent, reason, after);
                    refused = Some((reason, "circuit-open", Some(after)));
                }
                Err(reason) => {
                    if guard.mode == Mode::Enforce && self.plugin.denies {
                        books.unavailable(reason, sent.id);
                        refused = Some((reason, "unavailable", None));
                    }
                }
            }
            match guard.mode {
                Mode::Enforce if refused.is_some() => break,
                Mode::Enforce | Mode::Shadow | Mode::Off => refused = None,
            }
        }
        let problem = refused.map(|(_, kind, after)| (kind, after));
        gateway::check_reply(&reply, &sent, problem);
        if refused.is_some() {
            // Those that had let it pass take it for one that says nothing.
            let nothing = Settled {
                outcome: Outcome::Ignored,
                slow: false,
                broke: None,
            };
            for (index, case) in cases.drain(..) {
                self.settle(&turn, index, request, case.ticket, nothing);
            }
        }
        self.flying.push(Flying {
            worker,
            request,
            flow,
            sent,
            cases,
            steps: steps(draw, self.dialect, &sent),
        });
        self.check_lines(worker);
        refused.map(|(reason, _, _)| reason)
    }

    fn answer(
        &mut self,
        turn: &Turn,
        guard: &Guard,
        index: usize,
        request: u64,
        whole: bool,
    ) -> Result<Verdict, &'static str> {
        Ok(match guard.force {
            Force::Open => {
                Verdict::Refuse("forced", guard.settings.initial.div_ceil(1_000_000_000))
            }
            Force::Closed => Verdict::Pass(Ticket {
                epoch: 0,
                standing: Standing::Forced,
                word: Word::None,
            }),
            Force::None => {
                let now = turn.has_clock.then(|| self.now());
                let books = &self.books[turn.worker];
                if let Some(ticket) = now.and_then(|now| books.glance(guard, now)) {
                    return Ok(Verdict::Pass(ticket));
                }
                let effect = self.apply(turn, index, &Op::Ask { request, whole })?;
                let answer = effect.answer.unwrap();
                self.books[turn.worker].looked(guard, &answer, now);
                answer
            }
        })
    }

    /// The next callback of a request that flies.
    pub(crate) fn step(&mut self, index: usize, fault: Fault) {
        let mut flying = self.flying.swap_remove(index);
        let step = flying.steps.pop_front().unwrap();
        let worker = flying.worker;
        let flow = &mut flying.flow;
        let ((), turn) = self.call(worker, fault, |policy, ports| {
            gateway::play(policy, flow, &step, ports);
        });
        let now = turn.has_clock.then(|| self.now());
        let (grpc, dialect) = (flying.sent.speaks_grpc, self.dialect);
        for (index, case) in &mut flying.cases {
            let guard = self.plugin.guards[*index].clone();
            let failing = self.books[worker].knows_failures(&guard);
            match case.hear(&guard, &step, grpc, now, dialect, failing) {
                Heard::Nothing => {}
                Heard::Success => {
                    if let Some(op) = self.books[worker].head(&guard, &mut case.ticket, now)
                        && let Ok(effect) = self.apply(&turn, *index, &op)
                    {
                        case.ticket.word = effect.ended.map_or(Word::None, Word::Ended);
                    }
                }
                Heard::Body => {
                    let (request, epoch) = (flying.request, case.ticket.epoch);
                    let done = self.apply(&turn, *index, &Op::Confirm { request, epoch });
                    if done.is_ok_and(|effect| effect.lost) {
                        case.ticket.standing = Standing::Lost;
                    }
                }
                Heard::Settled(settled) => {
                    self.settle(&turn, *index, flying.request, case.ticket, settled);
                }
            }
        }
        if flying.steps.is_empty() {
            assert!(flying.cases.iter().all(|(_, case)| case.is_settled()));
        } else {
            self.flying.push(flying);
        }
        self.check_lines(worker);
    }

    pub(crate) fn tick(&mut self, worker: usize, fault: Fault) {
        let ((), turn) = self.call(worker, fault, CircuitBreaker::on_tick);
        for index in 0..self.plugin.guards.len() {
            let guard = &self.plugin.guards[index];
            if let Some(op) = self.books[worker].tick(guard) {
                let _ = self.apply(&turn, index, &op);
            }
        }
        self.check_lines(worker);
    }

    /// Points in time at which something changes by itself.
    pub(crate) fn moments(&self) -> Vec<u64> {
        let now = self.now();
        let mut moments = Vec::new();
        for (guard, breaker) in self.plugin.guards.iter().zip(&self.breakers) {
            match &breaker.state {
                State::Open { until, .. } => moments.push(*until),
                State::HalfOpen { leases, .. } => {
                    moments.extend(leases.iter().flatten().map(|lease| lease.until));
                }
                State::Closed { .. } => {
                    moments.extend(breaker.since.map(|since| since + breaker.last));
                    let ratios = guard.settings.failing.iter().chain(&guard.settings.slow);
                    moments.extend(ratios.map(|ratio| ratio.next_tenth(now)));
                }
            }
            let cases = self.flying.iter().flat_map(|flying| &flying.cases);
            let started = cases.filter_map(|(_, case)| case.started);
            moments.extend(started.map(|at| at + guard.settings.slower_than + 1));
        }
        moments.retain(|at| *at > now);
        moments
    }

    /// Compares what the status page shows of each breaker.
    pub(crate) fn check_states(&self) {
        let now = self.now();
        let shown = self.watcher.shown(now);
        for (guard, breaker) in self.plugin.guards.iter().zip(&self.breakers) {
            status::check(guard, breaker, &shown[&guard.name], now);
        }
    }

    fn check_lines(&self, worker: usize) {
        let reported = self.workers[worker].telemetry.lines();
        assert_eq!(reported, self.books[worker].lines, "worker {worker}");
    }

    /// Ends what flies, and compares all that was counted.
    pub(crate) fn finish(mut self) {
        while !self.flying.is_empty() {
            self.step(0, Fault::default());
        }
        self.check_states();
        for (worker, books) in self.workers.iter().zip(&self.books) {
            books.check(worker, &self.plugin.guards);
        }
    }
}

impl std::fmt::Display for Play {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}, {}", self.dialect, self.config)
    }
}
