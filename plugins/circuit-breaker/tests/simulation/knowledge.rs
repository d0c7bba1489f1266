//! Workers that know of each other's successes late, beside somebody who knows all at once: what is
//! late may keep a breaker closed for longer, within its bound, and never opens it. Played until it
//! opens for the first time.

use portcullis_circuit_breaker::Flow;
use portcullis_policy::{Origin, Timestamp};
use portcullis_sim::{Dialect, Draw, World};

use crate::gateway::Gateway;
use crate::generate::MILLI;
use crate::schedules::KNOWLEDGE;
use crate::window::{Counts, Ratio, Window};

/// In which every worker has reported what it knew before.
const TICK: u64 = 50 * MILLI;
/// After which a share that is exceeded is so for certain.
const CERTAIN: u64 = 100 * MILLI;
const WINDOW: u64 = 2_000 * MILLI;

/// A request under way: of which worker, and when its head has come.
struct Flying {
    worker: usize,
    flow: Flow,
    head: Option<u64>,
}

/// What is known at once.
#[derive(Default)]
struct Truth {
    /// When heads of successes came, those of responses that broke off since, and failures.
    heads: Vec<u64>,
    broken: Vec<u64>,
    failures: Vec<u64>,
    window: Window,
    /// When requests were settled.
    settled: Vec<u64>,
    /// When the share was exceeded.
    exceeded: Vec<u64>,
}

struct Play {
    consecutive: Option<u64>,
    ratio: Ratio,
    world: World,
    workers: Vec<Gateway>,
    next_tick: Vec<u64>,
    flying: Vec<Flying>,
    truth: Truth,
    opened: bool,
}

impl Truth {
    /// Failures since the last success that came until then and has not broken off.
    fn in_a_row(&self, until: u64) -> u64 {
        let mut heads = self.heads.clone();
        for broken in &self.broken {
            let index = heads.iter().position(|head| head == broken).unwrap();
            heads.swap_remove(index);
        }
        let heads = heads.into_iter().filter(|head| *head <= until);
        let last = heads.max().unwrap_or_default();
        self.failures.iter().filter(|at| **at >= last).count() as u64
    }

    /// Failures after every worker has reported the last success, of which none is missed.
    fn for_certain(&self) -> u64 {
        let last = self.heads.iter().max().map_or(0, |last| last + TICK);
        self.failures.iter().filter(|at| **at > last).count() as u64
    }

    fn settled(&mut self, ratio: &Ratio, failed: u64, now: u64) {
        let counts = Counts {
            requests: 1,
            failed,
            slow: 0,
        };
        self.window.tell(ratio, counts, now);
        self.settled.push(now);
        self.look(ratio, now);
    }

    fn look(&mut self, ratio: &Ratio, now: u64) {
        let seen = self.window.seen(ratio, now);
        // What is reported late leaves the window late, too, and may bring the minimum until then.
        let oldest = now - WINDOW - TICK;
        let known = self.settled.iter().filter(|at| **at >= oldest).count() as u64;
        let any = Ratio {
            minimum: 1,
            ..*ratio
        };
        if known >= ratio.minimum && any.is_exceeded(seen.requests, seen.failed) {
            self.exceeded.push(now);
        }
    }
}

impl Play {
    fn draw(draw: &Draw, seed: u64) -> Self {
        let consecutive = draw.once_in(2).then(|| draw.between(2, 5));
        let ratio = Ratio {
            above: draw.of(&[250_000, 500_000, 750_000]),
            window: WINDOW,
            minimum: draw.between(4, 20),
        };
        let trip = match consecutive {
            Some(most) => format!(r#""consecutive_failures":{most}"#),
            None => format!(
                r#""failure_ratio":{{"above":0.{:06},"window":"2s","minimum_requests":{}}}"#,
                ratio.above, ratio.minimum
            ),
        };
        let config = format!(
            r#"{{"breakers":[{{"name":"one","trip":{{{trip}}},"open_for":{{"initial":"1s"}}}}]}}"#
        );
        let world = World::new(draw.of(&Dialect::BOTH), seed);
        let count = draw.between(1, 4);
        let now = world.clock.read().unix_nanos();
        Self {
            consecutive,
            ratio,
            workers: (0..count)
                .map(|number| world.worker_taking(&config, None, number).unwrap())
                .collect(),
            next_tick: (0..count).map(|_| now + draw.between(1, TICK)).collect(),
            world,
            flying: Vec::new(),
            truth: Truth::default(),
            opened: false,
        }
    }

    fn now(&self) -> u64 {
        self.world.clock.read().unix_nanos()
    }

    /// Time passes, and no worker's tick is late.
    fn pass(&mut self, by: u64) {
        let end = self.now() + by;
        while let Some(next) = self
            .next_tick
            .iter()
            .min()
            .copied()
            .filter(|next| *next <= end)
        {
            self.world.clock.set(Timestamp::from_unix_nanos(next));
            for (worker, at) in self.next_tick.iter_mut().enumerate() {
                if *at == next {
                    *at += TICK;
                    self.workers[worker].tick();
                }
            }
            self.truth.look(&self.ratio, next);
            self.judge();
        }
        self.world.clock.set(Timestamp::from_unix_nanos(end));
    }

    fn ask(&mut self, worker: usize) {
        let headers = [(":method", "GET"), (":path", "/")];
        let (answer, flow) = self.workers[worker].request("", &headers);
        self.judge();
        if answer.status() == 200 {
            self.flying.push(Flying {
                worker,
                flow,
                head: None,
            });
        }
    }

    /// A head comes, or a stream ends; `fails`: as a failure.
    fn step(&mut self, index: usize, fails: bool) {
        let mut flying = self.flying.swap_remove(index);
        let (worker, now) = (&self.workers[flying.worker], self.now());
        let failed = |truth: &mut Truth, ratio: &Ratio| {
            truth.failures.push(now);
            truth.settled(ratio, 1, now);
        };
        match (flying.head, fails) {
            (None, false) => {
                self.truth.heads.push(now);
                worker.respond(&mut flying.flow, 200, Origin::Upstream);
                flying.head = Some(now);
                self.flying.push(flying);
            }
            (None, true) => {
                failed(&mut self.truth, &self.ratio);
                worker.respond(&mut flying.flow, 503, Origin::Upstream);
                worker.end(flying.flow, Origin::Upstream);
            }
            (Some(_), false) => {
                self.truth.settled(&self.ratio, 0, now);
                worker.end(flying.flow, Origin::Upstream);
            }
            (Some(head), true) => {
                self.truth.broken.push(head);
                failed(&mut self.truth, &self.ratio);
                worker.end(flying.flow, Origin::BrokenOff);
            }
        }
        self.judge();
    }

    /// Whether it opened when it was to, and not when it was not.
    fn judge(&mut self) {
        let now = self.now();
        let lines = self
            .workers
            .iter()
            .flat_map(|worker| worker.telemetry.lines());
        if !lines
            .into_iter()
            .any(|line| line.contains("from=closed to=open"))
        {
            if let Some(most) = self.consecutive {
                let certain = self.truth.for_certain();
                assert!(certain < most, "{certain} in a row, and it is closed");
            }
            return;
        }
        match self.consecutive {
            Some(most) => {
                let known = self.truth.in_a_row(now - TICK);
                assert!(known >= most, "opened with {known} in a row");
            }
            None => {
                let (from, to) = (now - CERTAIN - TICK - MILLI, now - CERTAIN);
                let mut exceeded = self.truth.exceeded.iter();
                let was = exceeded.any(|at| (from..=to).contains(at));
                assert!(was, "no share was exceeded");
            }
        }
        self.opened = true;
    }
}

#[test]
fn what_is_known_late_opens_nothing_and_delays_no_longer_than_its_bound() {
    KNOWLEDGE.run(|seed| {
        let draw = Draw::new(seed, 7);
        let mut play = Play::draw(&draw, seed);
        let last = play.workers.len() as u64 - 1;
        for _ in 0..draw.between(1, 6) {
            // How many of a hundred fail.
            let sick = draw.of(&[2, 20, 50, 80, 100]);
            for _ in 0..draw.between(20, 120) {
                if play.opened {
                    return;
                }
                match draw.between(0, 9) {
                    0..=3 => play.ask(draw.between(0, last) as usize),
                    4..=7 => {
                        if let Some(most) = play.flying.len().checked_sub(1) {
                            let index = draw.between(0, most as u64) as usize;
                            play.step(index, draw.between(1, 100) <= sick);
                        }
                    }
                    _ => play.pass(draw.between(1, 12_000) * MILLI / 1_000),
                }
            }
        }
        // At last all fail.
        for flying in std::mem::take(&mut play.flying) {
            // Until its client left a stream did well.
            if flying.head.is_some() {
                let now = play.now();
                play.truth.settled(&play.ratio, 0, now);
            }
            play.workers[flying.worker].end(flying.flow, Origin::ClientGone);
        }
        for round in 0..400 {
            if play.opened {
                return;
            }
            play.ask(round % play.workers.len());
            if let Some(index) = play.flying.len().checked_sub(1) {
                play.step(index, true);
            }
            play.pass(20 * MILLI);
        }
        panic!("it did not open");
    });
}
