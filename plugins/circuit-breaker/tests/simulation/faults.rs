//! Workers that interleave while reads are torn and slots are lost.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use portcullis_circuit_breaker::Flow;
use portcullis_policy::{Policy as _, Ports, Timestamp};
use portcullis_sim::{Dialect, Draw, Part, VirtualClock, World, interleave};

use crate::books::{errors, reported};
use crate::gateway::{self, Gateway, Watched, Witness};
use crate::generate::{Guard, LONGEST_WINDOW, MILLI, Plugin, settings};
use crate::request::{Drawn, Step, steps};
use crate::schedules::{LOST, TORN};
use crate::status::Watcher;
use crate::sums::Sums;

const SLOT: &str = "portcullis/breaker/one";

struct Scene {
    dialect: Dialect,
    world: World,
    plugin: Plugin,
    /// How likely a read is torn.
    torn: f64,
    /// The state after each change.
    states: Mutex<Vec<String>>,
    looks: AtomicU64,
}

/// One worker's eyes.
struct Eyes<'a> {
    scene: &'a Scene,
    watcher: &'a Watcher,
    now: u64,
}

impl Witness for Eyes<'_> {
    fn stored(&self) {
        let state = self.scene.untorn(|| self.watcher.state("one", self.now));
        self.scene.states.lock().unwrap().push(state);
    }
}

impl Scene {
    fn draw(part: Part, seed: u64, dialects: &[Dialect], torn: &[f64]) -> (Self, Draw) {
        let draw = Draw::new(seed, part.share + 1_000 * torn.len() as u64);
        let dialect = draw.of(dialects);
        let mut settings = settings(&draw);
        settings.consecutive = Some(draw.between(1, 3));
        let scene = Self {
            dialect,
            world: World::new(dialect, seed),
            plugin: Plugin::of(Guard::plain(settings), draw.once_in(2)),
            torn: draw.of(torn),
            states: Mutex::new(vec!["closed".to_owned()]),
            looks: AtomicU64::new(seed),
        };
        (scene, draw)
    }

    /// Looks at what is really there.
    fn untorn<R>(&self, look: impl FnOnce() -> R) -> R {
        let zone = &self.world.zone;
        zone.tear_reads(0.0, 0);
        let seen = look();
        zone.tear_reads(self.torn, self.looks.fetch_add(1, Ordering::SeqCst));
        seen
    }

    fn lose(&self) {
        if self.world.zone.evict(SLOT) {
            self.states.lock().unwrap().push("closed".to_owned());
        }
    }

    /// Some workers, which do what they do; returns what they have counted.
    fn play(&self, seed: u64, workers: usize, loses: bool) -> Sums {
        let config = self.plugin.json();
        let counted = interleave(workers, seed, |me, turns| {
            let draw = Draw::new(seed, 100 + me as u64);
            let worker = self.world.worker_taking(&config, Some(turns), me as u64);
            let mut worker: Gateway = worker.unwrap();
            worker.clock = VirtualClock::at(self.world.clock.read());
            let watcher = self.untorn(|| Watcher::new(&self.world, &config));
            let mut flying: Vec<(Flow, VecDeque<Step>)> = Vec::new();
            let call = |callback: &mut dyn FnMut(&Ports<'_>)| {
                worker.clock.set(self.world.clock.read());
                let eyes = Eyes {
                    scene: self,
                    watcher: &watcher,
                    now: worker.clock.read().unix_nanos(),
                };
                let watched = Watched::new(&worker.store, &eyes);
                let store = &watched;
                callback(&Ports {
                    store,
                    ..worker.ports()
                });
            };
            for _ in 0..draw.between(10, 20) {
                match draw.between(0, 11) {
                    0..=4 => {
                        let sent = Drawn::draw(&draw);
                        let of = |what| reported(&worker, what, "one");
                        let before = (of("admitted"), of("rejected"), errors(&worker));
                        let mut asked = None;
                        call(&mut |ports| {
                            asked = Some(gateway::ask(&worker.policy, &sent, ports));
                        });
                        let (reply, flow) = asked.unwrap();
                        let after = (of("admitted"), of("rejected"), errors(&worker));
                        let news = (after.0 - before.0, after.1 - before.1, after.2 - before.2);
                        match (&reply, news) {
                            (None, (1, 0, 0)) => {}
                            // On which nothing could be decided.
                            (None, (0, 0, 1)) => assert!(!self.plugin.denies),
                            (Some(_), (0, 1, 0)) => {}
                            (Some(reply), (0, 0, 1)) => {
                                assert!(self.plugin.denies);
                                assert!(gateway::is_reply(reply, &sent, "unavailable", None));
                            }
                            _ => panic!("{reply:?} {news:?}"),
                        }
                        flying.push((flow, steps(&draw, self.dialect, &sent)));
                    }
                    5..=8 => {
                        if let Some((mut flow, mut steps)) = flying.pop() {
                            let step = steps.pop_front().unwrap();
                            call(&mut |ports| {
                                gateway::play(&worker.policy, &mut flow, &step, ports);
                            });
                            if !steps.is_empty() {
                                flying.push((flow, steps));
                            }
                        }
                    }
                    9 => call(&mut |ports| worker.policy.on_tick(ports)),
                    10 if loses => self.lose(),
                    _ => {
                        let millis = draw.of(&[10, 150, 1_000, 4_000]);
                        let by = draw.between(0, millis) * MILLI;
                        let now = self.world.clock.read().unix_nanos() + by;
                        self.world.clock.set(Timestamp::from_unix_nanos(now));
                    }
                }
            }
            for (mut flow, steps) in flying {
                for step in steps {
                    call(&mut |ports| gateway::play(&worker.policy, &mut flow, &step, ports));
                }
            }
            Sums::of(&worker)
        });
        counted.into_iter().fold(Sums::default(), Sums::and)
    }
}

/// A torn read shows what no longer is, or what never was; nothing is stored by it.
#[test]
fn with_torn_reads_states_follow_each_other_and_each_request_is_settled_once() {
    TORN.run(|seed| {
        let (scene, draw) = Scene::draw(TORN, seed, &[Dialect::Kong], &[0.05, 0.3, 0.6]);
        scene.untorn(|| {});
        let counted = scene.play(seed, draw.between(2, 4) as usize, false);
        let about = scene.plugin.json();
        assert_eq!(counted.admitted, counted.settled, "{about}");
        let states = scene.states.lock().unwrap();
        let states: Vec<&str> = states.iter().map(String::as_str).collect();
        for two in states.windows(2) {
            let (from, to) = (two[0], two[1]);
            let follows = matches!(
                (from, to),
                ("closed", "open") | ("open", "half_open") | ("half_open", "open" | "closed")
            );
            // No two changes of an open breaker lie beside each other: nothing is written in it.
            assert!(follows || (from == to && from != "open"), "{from}, {to}");
        }
        assert_eq!(counted.to, Sums::entered(&states), "{about}");
        assert_eq!(counted.lines, counted.to.iter().sum::<u64>(), "{about}");
    });
}

#[test]
fn with_lost_slots_nothing_wedges_and_each_request_is_settled_once() {
    LOST.run(|seed| {
        let (scene, draw) = Scene::draw(LOST, seed, &Dialect::BOTH, &[0.0]);
        let counted = scene.play(seed, draw.between(2, 4) as usize, true);
        let about = scene.plugin.json();
        assert_eq!(counted.admitted, counted.settled, "{about}");
        assert_eq!(counted.lines, counted.to.iter().sum::<u64>(), "{about}");
        // Once all times, leases and windows are over, as many good answers as are asked for close
        // it.
        let settings = &scene.plugin.guards[0].settings;
        let over = settings.max + settings.lease + LONGEST_WINDOW;
        let later = scene.world.clock.read().unix_nanos() + over;
        scene.world.clock.set(Timestamp::from_unix_nanos(later));
        let worker: Gateway = scene.world.worker(&scene.plugin.json()).unwrap();
        for _ in 0..settings.successes_to_close {
            let get = [(":method", "GET"), (":path", "/")];
            let (answer, mut flow) = worker.request("", &get);
            assert_eq!(answer.status(), 200, "{about}");
            worker.respond(&mut flow, 200, portcullis_policy::Origin::Upstream);
            worker.end(flow, portcullis_policy::Origin::Upstream);
        }
        let watcher = Watcher::new(&scene.world, &scene.plugin.json());
        assert_eq!(watcher.state("one", later), "closed", "{about}");
    });
}
