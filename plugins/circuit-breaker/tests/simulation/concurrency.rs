//! Workers that interleave at each access to shared data: whatever is stored is what the reference
//! makes of what was there, and whatever is not stored was not to be.

use std::cell::RefCell;
use std::sync::Mutex;

use portcullis_circuit_breaker::Flow;
use portcullis_policy::{Counter, Gauge, LogLine, Policy as _, Ports, Telemetry, Timestamp};
use portcullis_sim::{Dialect, Draw, Turns, VirtualClock, World, interleave};

use crate::books::Books;
use crate::court::{Court, Trial};
use crate::gateway::{self, Gateway, Watched, Witness};
use crate::generate::{Guard, MILLI, Plugin, settings};
use crate::op::{Effect, Op, Standing, Verdict, Word};
use crate::outcome::{Case, Heard};
use crate::request::{Drawn, Step, steps};
use crate::schedules::INTERLEAVED;
use crate::status::Watcher;
use crate::sums::{STATES, Sums};

impl Witness for RefCell<Trial<'_>> {
    fn read(&self) {
        self.borrow_mut().read();
    }
    fn stored(&self) {
        self.borrow_mut().stored();
    }
}

/// The gauge is one for all workers of a gateway; and others may be faster to tell of a later
/// change, so that each gives its turn away before it counts.
struct OneGauge<'a> {
    own: &'a dyn Telemetry,
    court: &'a Court,
    turns: &'a Turns,
}

impl Telemetry for OneGauge<'_> {
    fn add(&self, counter: Counter, by: u32) {
        self.turns.next();
        self.own.add(counter, by);
    }
    fn set(&self, gauge: Gauge, value: u64) {
        self.court.record().gauge = value;
        self.own.set(gauge, value);
    }
    fn log(&self, line: LogLine) {
        self.own.log(line);
    }
}

/// What the workers of a schedule share.
struct Scene {
    dialect: Dialect,
    world: World,
    plugin: Plugin,
    court: Court,
    /// What each worker's clock shows while it is in a callback.
    readings: Mutex<Vec<u64>>,
}

/// One worker of a schedule.
struct Actor<'a> {
    scene: &'a Scene,
    me: usize,
    turns: Turns,
    draw: Draw,
    worker: Gateway,
    watcher: Watcher,
    books: Books,
    flying: Vec<Flying>,
    asked: u64,
}

struct Flying {
    request: u64,
    flow: Flow,
    sent: Drawn,
    case: Case,
    steps: std::collections::VecDeque<Step>,
}

impl Scene {
    fn draw(draw: &Draw, seed: u64, workers: usize) -> Self {
        let mut settings = settings(draw);
        settings.jitter = draw.of(&[0, 0, 300_000]);
        let dialect = draw.of(&Dialect::BOTH);
        let world = World::new(dialect, seed);
        let readings = Mutex::new(vec![u64::MAX; workers]);
        Self {
            dialect,
            world,
            plugin: Plugin::of(Guard::plain(settings), false),
            court: Court::new(),
            readings,
        }
    }

    fn guard(&self) -> &Guard {
        &self.plugin.guards[0]
    }

    fn now(&self) -> u64 {
        self.world.clock.read().unix_nanos()
    }

    /// Moves the clock on, as long as no worker stands still for as long as a breaker is open or a
    /// permit is leased: what happens then is documented, and another test's.
    fn pass(&self, by: u64) {
        let settings = &self.guard().settings;
        let most = (settings.initial / 2).min(settings.lease) - 1;
        let readings = self.readings.lock().unwrap();
        let earliest = readings.iter().min().copied().unwrap_or_default();
        let next = (self.now() + by).min(earliest.saturating_add(most));
        if next > self.now() {
            self.world.clock.set(Timestamp::from_unix_nanos(next));
        }
    }
}

impl<'a> Actor<'a> {
    fn new(scene: &'a Scene, seed: u64, me: usize, turns: Turns) -> Self {
        let config = scene.plugin.json();
        let number = me as u64 + 1;
        let worker = scene
            .world
            .worker_taking(&config, Some(turns.clone()), number);
        let mut worker: Gateway = worker.unwrap();
        worker.clock = VirtualClock::at(scene.world.clock.read());
        Self {
            scene,
            me,
            turns,
            draw: Draw::new(seed, 100 + number),
            worker,
            watcher: Watcher::new(&scene.world, &config),
            books: Books::default(),
            flying: Vec::new(),
            asked: 0,
        }
    }

    /// Begins a callback: the worker's clock shows until its end what the world's shows now.
    fn begin(&self) -> u64 {
        let now = self.scene.now();
        self.scene.readings.lock().unwrap()[self.me] = now;
        self.worker.clock.set(Timestamp::from_unix_nanos(now));
        now
    }

    /// Carries out a callback that may do `op`.
    fn call<R>(
        &self,
        op: Option<Op>,
        now: u64,
        callback: impl FnOnce(&Ports<'_>) -> R,
    ) -> (R, Effect, Vec<&'static str>) {
        let world = || self.scene.now();
        let trial = RefCell::new(Trial {
            court: &self.scene.court,
            guard: self.scene.guard(),
            watcher: &self.watcher,
            op,
            now,
            world: &world,
            read: None,
            began: self.scene.court.length(),
            effect: None,
        });
        let watched = Watched::new(&self.worker.store, &trial);
        let telemetry = OneGauge {
            own: &self.worker.telemetry,
            court: &self.scene.court,
            turns: &self.turns,
        };
        let ports = Ports {
            store: &watched,
            telemetry: &telemetry,
            ..self.worker.ports()
        };
        let result = callback(&ports);
        let mut trial = trial.borrow_mut();
        let effect = trial.judge();
        let states = self.scene.court.record().states(trial.began);
        (result, effect, states)
    }

    fn note(&mut self, op: Option<&Op>, effect: &Effect) {
        if let Some(op) = op {
            self.books.begin(self.scene.guard(), op);
            self.books.done(self.scene.guard(), op, effect);
        }
        if let Some(transition) = &effect.transition {
            self.books.changed(self.scene.guard(), transition);
        }
    }

    fn ask(&mut self) {
        self.asked += 1;
        let request = self.asked * 100 + self.me as u64;
        let (sent, now) = (Drawn::draw(&self.draw), self.begin());
        let whole = !sent.has_body;
        // Who has looked just now passes without a look.
        let glance = self.books.glance(self.scene.guard(), now);
        let op = glance.is_none().then_some(Op::Ask { request, whole });
        let ((reply, flow), effect, states) = self.call(op.clone(), now, |ports| {
            gateway::ask(&self.worker.policy, &sent, ports)
        });
        let guard = self.scene.guard();
        self.note(op.as_ref(), &effect);
        if let Some(answer) = &effect.answer {
            self.books.looked(guard, answer, Some(now));
        }
        match (&reply, effect.answer.or(glance.map(Verdict::Pass))) {
            (None, Some(Verdict::Pass(ticket))) => {
                self.books.count("admitted", &guard.name);
                let is_open = states.iter().all(|state| *state == "open");
                assert!(glance.is_some() || !is_open, "{states:?}");
                self.flying.push(Flying {
                    request,
                    flow,
                    sent,
                    case: Case::new(ticket, Some(now), whole),
                    steps: steps(&self.draw, self.scene.dialect, &sent),
                });
            }
            (Some(reply), Some(Verdict::Refuse(reason, after))) => {
                self.books.refused(guard, &sent, reason, after);
                assert!(gateway::is_reply(reply, &sent, "circuit-open", Some(after)));
                assert!(states.iter().any(|state| *state != "closed"), "{states:?}");
            }
            (reply, answer) => panic!("{reply:?}, not {answer:?}"),
        }
        self.end();
    }

    /// Ends a callback: all that it reported is known by now.
    fn end(&self) {
        self.scene.readings.lock().unwrap()[self.me] = u64::MAX;
        assert_eq!(self.worker.telemetry.lines(), self.books.lines);
    }

    fn step(&mut self, index: usize) {
        let mut flying = self.flying.swap_remove(index);
        let (step, now) = (flying.steps.pop_front().unwrap(), self.begin());
        let guard = self.scene.guard();
        let grpc = flying.sent.speaks_grpc;
        let dialect = self.scene.dialect;
        let ticket = flying.case.ticket;
        let case = &mut flying.case;
        let failing = self.books.knows_failures(guard);
        let heard = case.hear(guard, &step, grpc, Some(now), dialect, failing);
        let request = flying.request;
        let op = match heard {
            Heard::Nothing => None,
            Heard::Success => self.books.head(guard, &mut flying.case.ticket, Some(now)),
            Heard::Body => {
                let epoch = ticket.epoch;
                Some(Op::Confirm { request, epoch })
            }
            Heard::Settled(settled) => self.books.settle(guard, request, ticket, settled),
        };
        let flow = &mut flying.flow;
        let ((), effect, _) = self.call(op.clone(), now, |ports| {
            gateway::play(&self.worker.policy, flow, &step, ports);
        });
        if matches!(heard, Heard::Settled(_)) && ticket.standing == Standing::Probe {
            self.scene.court.record().give_back(flying.request);
        }
        if let Some(number) = effect.ended {
            flying.case.ticket.word = Word::Ended(number);
        }
        if heard == Heard::Body && effect.lost {
            flying.case.ticket.standing = Standing::Lost;
        }
        if !flying.steps.is_empty() {
            self.flying.push(flying);
        }
        self.note(op.as_ref(), &effect);
        self.end();
    }

    fn tick(&mut self) {
        let now = self.begin();
        let op = self.books.tick(self.scene.guard());
        let ((), effect, _) = self.call(op.clone(), now, |ports| self.worker.policy.on_tick(ports));
        self.note(op.as_ref(), &effect);
        self.end();
    }

    fn live(&mut self) {
        for _ in 0..self.draw.between(10, 20) {
            match self.draw.between(0, 11) {
                0..=4 => self.ask(),
                5..=8 => {
                    if let Some(last) = self.flying.len().checked_sub(1) {
                        self.step(self.draw.between(0, last as u64) as usize);
                    }
                }
                9 => self.tick(),
                _ => {
                    let millis = self.draw.of(&[10, 150, 1_000, 6_000]);
                    self.scene.pass(self.draw.between(0, millis) * MILLI);
                }
            }
        }
        while !self.flying.is_empty() {
            self.step(0);
        }
    }
}

#[test]
fn every_change_of_interleaved_workers_is_one_of_the_reference() {
    INTERLEAVED.run(|seed| {
        let draw = Draw::new(seed, 3);
        let workers = draw.between(2, 5) as usize;
        let scene = Scene::draw(&draw, seed, workers);
        let sums = interleave(workers, seed, |me, turns| {
            let mut actor = Actor::new(&scene, seed, me, turns);
            actor.live();
            actor
                .books
                .check_counters(&actor.worker, &scene.plugin.guards);
            Sums::of(&actor.worker)
        });
        let sums = sums.into_iter().fold(Sums::default(), Sums::and);
        let about = (scene.dialect, scene.plugin.json());
        assert_eq!(sums.admitted, sums.settled, "{about:?}");
        // Each transition is reported once: it was counted, and it was logged.
        let record = scene.court.record();
        let entered = Sums::entered(&record.states(1));
        assert_eq!(sums.to, entered, "{about:?}");
        assert_eq!(sums.lines, record.last().epoch, "{about:?}");
        if record.last().epoch > 0 {
            let gauge = STATES[record.gauge as usize];
            assert_eq!(gauge, record.last().state(), "{about:?}");
        }
    });
}
