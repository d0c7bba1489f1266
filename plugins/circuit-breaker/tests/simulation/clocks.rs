//! Clocks that are set: back and forward, by a moment and by up to a day. The simulator knows the
//! time that really passes; the product knows the clock only.

use std::collections::{BTreeSet, VecDeque};

use portcullis_circuit_breaker::Flow;
use portcullis_policy::{Policy as _, Timestamp};
use portcullis_sim::{Dialect, Draw, World, telling};

use crate::books::reported;
use crate::gateway::{self, Gateway};
use crate::generate::{Guard, MILLI, Plugin, settings};
use crate::play::{Fault, Play};
use crate::reference::{Breaker, State};
use crate::request::{Drawn, Step, steps};
use crate::schedules::{ANYTHING, STEPS};

const DAY: u64 = 86_400_000 * MILLI;

/// What really happened. Times are in nanoseconds.
#[derive(Default)]
struct Real {
    passed: u64,
    /// What is refused for now: since when, and whether the clock was set since.
    shut: Shut,
    /// When the breaker opened last, and whether the clock was set forward since.
    opened: u64,
    ahead: bool,
    /// What the clock showed to requests, and what it showed to some before it was set.
    readings: BTreeSet<u64>,
    spent: BTreeSet<u64>,
}

/// Since when requests may be refused. A clock that is set back by as much as a time is long, or a
/// little less, makes that time last twice as long; one that is set back farther ends it.
#[derive(Clone, Copy, Default)]
enum Shut {
    /// Since the breaker opened, or the last permit was taken or kept: once its time.
    #[default]
    Never,
    Since(u64),
    /// The clock was set, and nobody was refused since.
    Set,
    /// Since the first refusal after that: twice its time at most.
    SetSince(u64),
}

impl Shut {
    /// A refusal by something that lasts `whole`.
    fn refuses(&mut self, now: u64, whole: u64) {
        let (since, most) = match *self {
            Self::Never => panic!("refused, and nothing is shut"),
            Self::Since(since) => (since, whole),
            Self::Set => {
                *self = Self::SetSince(now);
                (now, whole)
            }
            Self::SetSince(since) => (since, 2 * whole),
        };
        assert!(now - since < most, "shut for {} of {most}", now - since);
    }
}

impl Real {
    fn pass(&mut self, play: &Play, nanos: u64) {
        let next = self.unspent(play.now() + nanos);
        self.passed += next - play.now();
        play.set_clock(next);
    }

    /// A permit is known by its index and the end of its lease. So two requests could have the same
    /// one if the clock were set back by more than a lease and then came upon a reading again to the
    /// nanosecond: the one way in which a request can pass for another, known and left out.
    fn unspent(&self, mut reading: u64) -> u64 {
        while self.spent.contains(&reading) {
            reading += 1;
        }
        reading
    }

    fn step(&mut self, draw: &Draw, play: &Play) {
        let settings = &play.plugin.guards[0].settings;
        let by = match draw.between(0, 5) {
            0 => draw.between(1, 2_000) * MILLI,
            1 => settings.initial * draw.between(1, 3),
            2 => settings.lease,
            3 => play.breakers[0].last + draw.between(0, 1),
            4 => draw.between(0, 2 * settings.initial),
            _ => draw.between(1, DAY),
        };
        self.shut = Shut::Set;
        self.spent.append(&mut self.readings);
        if draw.once_in(3) {
            self.ahead = true;
            play.set_clock(self.unspent(play.now() + by));
        } else {
            play.set_clock(self.unspent(play.now() - by));
        }
    }

    /// Asks, and checks the answer by the time that has really passed.
    fn ask(&mut self, draw: &Draw, play: &mut Play, worker: usize) {
        let (before, now) = (play.breakers[0].clone(), play.now());
        self.readings.insert(now);
        let lease = play.plugin.guards[0].settings.lease;
        let glance = play.books[worker].glance(&play.plugin.guards[0], now);
        let refused = play.ask(draw, Drawn::draw(draw), worker, Fault::default());
        match (&before.state, refused) {
            // A worker that has looked just now, by its clock, and had no tick since.
            (_, refused) if glance.is_some() => assert_eq!(refused, None),
            (State::Open { .. }, Some(reason)) => {
                assert_eq!(reason, "open");
                self.shut.refuses(self.passed, before.last);
            }
            (State::Open { .. }, None) => {
                let far_back = now + before.last < before.since.unwrap_or_default();
                let open = self.passed - self.opened;
                let is_time = open >= before.last || self.ahead || far_back;
                assert!(is_time, "open for {open} of {}", before.last);
                self.shut = Shut::Since(self.passed);
            }
            (State::HalfOpen { .. }, Some(reason)) => {
                assert_eq!(reason, "probes_out");
                self.shut.refuses(self.passed, lease);
            }
            (State::HalfOpen { .. }, None) => self.shut = Shut::Since(self.passed),
            (State::Closed { .. }, refused) => assert_eq!(refused, None),
        }
    }

    /// After whatever may have opened it, or have begun a lease anew.
    fn look(&mut self, play: &Play, before: &Breaker) {
        let breaker = &play.breakers[0];
        if breaker.epoch != before.epoch && breaker.state() == "open" {
            self.opened = self.passed;
            self.shut = Shut::Since(self.passed);
            self.ahead = false;
        }
        if breaker.epoch == before.epoch && whole(breaker) > whole(before) {
            self.shut = Shut::Since(self.passed);
        }
    }
}

/// Permits of requests that are whole: one more there is when one was taken so, or when the body has
/// come of the request that had it, whose lease then begins anew.
fn whole(breaker: &Breaker) -> usize {
    match &breaker.state {
        State::HalfOpen { leases, .. } => {
            leases.iter().flatten().filter(|lease| lease.whole).count()
        }
        State::Closed { .. } | State::Open { .. } => 0,
    }
}

/// Each answer is the one of the reference, too, of which no test of clocks that go on shows what it
/// makes of steps back.
#[test]
fn a_clock_that_is_set_shuts_nobody_out_for_longer_and_admits_nobody_early() {
    STEPS.run(|seed| {
        let draw = Draw::new(seed, 4);
        let plugin = Plugin::of(Guard::plain(settings(&draw)), false);
        let mut play = Play::new(draw.of(&Dialect::BOTH), seed, plugin);
        play.join();
        play.join();
        let mut real = Real::default();
        telling(play.to_string(), || {
            for _ in 0..60 {
                let before = play.breakers[0].clone();
                let worker = draw.between(0, 1) as usize;
                match draw.between(0, 11) {
                    0 => real.step(&draw, &play),
                    1 => real.pass(&play, draw.between(0, 3_000) * MILLI),
                    2 => {
                        let moments = play.moments();
                        if !moments.is_empty() {
                            let at = draw.of(&moments) - draw.between(0, 1);
                            real.pass(&play, at - play.now());
                        }
                    }
                    3 => play.tick(worker, Fault::default()),
                    // More often than not at one reading.
                    4..=7 => real.ask(&draw, &mut play, worker),
                    _ => {
                        if let Some(last) = play.flying.len().checked_sub(1) {
                            let index = draw.between(0, last as u64) as usize;
                            play.step(index, Fault::default());
                        }
                    }
                }
                real.look(&play, &before);
                play.check_states();
            }
            play.finish();
        });
    });
}

/// The ends of time, and whatever lies between.
fn anything(draw: &Draw, now: u64) -> u64 {
    match draw.between(0, 9) {
        0 => 0,
        1 => u64::MAX,
        2 => draw.between(0, u64::MAX - 1),
        3 => draw.between(0, 20),
        4 => u64::MAX - draw.between(0, 5_000) * MILLI,
        5 => now.saturating_sub(draw.between(0, DAY)),
        _ => now.saturating_add(draw.between(0, 3_000) * MILLI),
    }
}

#[test]
fn a_clock_that_shows_anything_panics_nothing_and_each_request_is_settled_once() {
    ANYTHING.run(|seed| {
        let draw = Draw::new(seed, 5);
        let dialect = draw.of(&Dialect::BOTH);
        let world = World::new(dialect, seed);
        let plugin = Plugin::of(Guard::plain(settings(&draw)), false);
        let worker: Gateway = world.worker(&plugin.json()).unwrap();
        let mut flying: Vec<(Flow, VecDeque<Step>)> = Vec::new();
        let settings = &plugin.guards[0].settings;
        let longest = settings.max.max(settings.lease).div_ceil(1_000 * MILLI);
        for _ in 0..80 {
            let now = anything(&draw, world.clock.read().unix_nanos());
            world.clock.set(Timestamp::from_unix_nanos(now));
            let (sent, ports) = (Drawn::draw(&draw), worker.ports());
            match draw.between(0, 9) {
                0..=4 => {
                    let (reply, flow) = gateway::ask(&worker.policy, &sent, &ports);
                    flying.push((flow, steps(&draw, dialect, &sent)));
                    let fits = |after| {
                        let reply = reply.as_ref();
                        reply.is_none_or(|r| {
                            gateway::is_reply(r, &sent, "circuit-open", Some(after))
                        })
                    };
                    assert!((0..=longest.max(1)).any(fits), "{reply:?}");
                }
                5 => worker.policy.on_tick(&ports),
                _ => {
                    if let Some((mut flow, mut steps)) = flying.pop() {
                        let step = steps.pop_front().unwrap();
                        gateway::play(&worker.policy, &mut flow, &step, &ports);
                        if !steps.is_empty() {
                            flying.push((flow, steps));
                        }
                    }
                }
            }
        }
        for (mut flow, steps) in flying {
            for step in steps {
                gateway::play(&worker.policy, &mut flow, &step, &worker.ports());
            }
        }
        let of = |what: &str| reported(&worker, what, "one");
        let settled = of("successes") + of("failures") + of("ignored");
        assert_eq!(of("admitted"), settled, "{}", plugin.json());
    });
}
