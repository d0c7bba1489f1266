//! Clocks that are set: back and forward, by a moment and by up to a day. The simulator knows the
//! time that really passes; the product knows the clock only.

use std::sync::atomic::{AtomicU64, Ordering};

use portcullis_policy::Timestamp;
use portcullis_rate_limit::RateLimit;
use portcullis_sim::{Dialect, Draw, Worker, World};

use crate::reference::{Algorithm, Quota, SECOND};
use crate::schedules::{LOCKOUT, STEPS};

const DAY: u64 = 86_400 * SECOND as u64;

/// One limit and a clock that is set now and then.
struct Scene {
    world: World,
    quota: Quota,
    cost: i128,
    worker: Worker<RateLimit>,
    config: String,
    /// Nanoseconds that really passed.
    real: i128,
    /// Boundaries of windows that the clock passed by itself.
    crossed: i128,
    /// How often it was set forward.
    ahead: i128,
}

impl Scene {
    fn draw(draw: &Draw, seed: u64, longest: u64) -> Self {
        let quota = Quota {
            algorithm: draw.of(&Algorithm::ALL),
            quota: i128::from(draw.between(1, 9)),
            window: i128::from(draw.between(1, longest)) * SECOND,
            burst: i128::from(draw.between(1, 9)),
        };
        let cost = draw.between(1, quota.most().min(2) as u64);
        let burst = match quota.algorithm {
            Algorithm::Bucket => format!(r#""burst":{},"#, quota.burst),
            Algorithm::Fixed | Algorithm::Sliding => String::new(),
        };
        let config = format!(
            r#"{{"capacity":16,"limits":[{{"name":"one","key":["constant"],"cost":{cost},"quota":{},"window":"{}s",{burst}"algorithm":"{}"}}]}}"#,
            quota.quota,
            quota.window / SECOND,
            quota.algorithm.name()
        );
        let world = World::new(draw.of(&Dialect::BOTH), seed);
        Self {
            worker: world.worker(&config).unwrap(),
            world,
            quota,
            cost: i128::from(cost),
            config,
            real: 0,
            crossed: 0,
            ahead: 0,
        }
    }

    fn clock(&self) -> u64 {
        self.world.clock.read().unix_nanos()
    }

    fn pass(&mut self, nanos: u64) {
        let window = self.quota.window as u64;
        let (before, after) = (self.clock(), self.clock() + nanos);
        self.real += i128::from(nanos);
        self.crossed += i128::from(after / window - before / window);
        self.world.clock.set(Timestamp::from_unix_nanos(after));
    }

    /// Sets the clock back, or forward.
    fn step(&mut self, draw: &Draw, back: bool) {
        let window = self.quota.window as u64;
        let by = match draw.between(0, 4) {
            0 => draw.between(1, 2 * SECOND as u64),
            1 => window * draw.between(1, 3),
            2 => draw.between(1, 4 * window),
            _ => draw.between(1, DAY),
        };
        let now = if back {
            self.clock() - by
        } else {
            self.ahead += 1;
            self.clock() + by
        };
        self.world.clock.set(Timestamp::from_unix_nanos(now));
    }

    fn admits(&self) -> bool {
        let get = [(":method", "GET"), (":path", "/")];
        self.worker.request("192.0.2.1", &get).0.status() == 200
    }
}

/// A request that was admitted, in real time, and what was seen of the clock until then.
struct Admitted {
    real: i128,
    crossed: i128,
    ahead: i128,
}

/// Any span that begins and ends with an admitted request.
///
/// A bucket gives `burst + quota * t / window` in real time, however often the clock is set back;
/// each step forward may give a burst more. A window's quota is given once: in a span in which the
/// clock passes n boundaries there are n + 1 windows, one more if a step back leads into the window
/// before, of which not all was used, and two more for each step forward, since the window before the
/// one that it leads into is unused. So it is with a sliding window, whose windows are the spans in
/// which it never admits more; a step forward gives it one.
#[test]
fn a_clock_that_is_set_admits_nothing_beyond_the_bound_of_real_time() {
    STEPS.run(|seed| {
        let draw = Draw::new(seed, 2);
        let mut scene = Scene::draw(&draw, seed, 90);
        let only_back = draw.once_in(2);
        let mut admitted: Vec<Admitted> = Vec::new();
        for _ in 0..40 {
            match draw.between(0, 9) {
                0 => scene.step(&draw, only_back || draw.once_in(2)),
                1..=3 => scene.pass(draw.between(0, scene.quota.window as u64)),
                4 => scene.pass(draw.between(0, 3 * scene.quota.window as u64)),
                _ => {}
            }
            // Once more than what was set: readings repeat.
            for _ in 0..draw.between(1, 4) {
                if scene.admits() {
                    admitted.push(Admitted {
                        real: scene.real,
                        crossed: scene.crossed,
                        ahead: scene.ahead,
                    });
                }
            }
        }
        let quota = &scene.quota;
        for (index, first) in admitted.iter().enumerate() {
            let mut sum = 0;
            for last in &admitted[index..] {
                sum += scene.cost;
                let ahead = last.ahead - first.ahead;
                let fits = match quota.algorithm {
                    Algorithm::Fixed => {
                        sum <= quota.quota * (2 + last.crossed - first.crossed + 2 * ahead)
                    }
                    Algorithm::Sliding => {
                        let windows = (last.real - first.real) / quota.sure();
                        sum <= quota.quota * (2 + windows + ahead)
                    }
                    Algorithm::Bucket => {
                        let more = (sum - quota.burst * (1 + ahead)) * quota.window;
                        more <= quota.quota * (last.real - first.real)
                    }
                };
                let span = (first.real, last.real);
                assert!(
                    fits,
                    "{sum} in {span:?} with {ahead} ahead, {}",
                    scene.config
                );
            }
        }
    });
}

/// A key that asks once per second is admitted again, after whatever steps:
///
/// - bucket: after twice the time that its cost takes to drip in and the second by which a clock may
///   be late: once while the clock shows a time long before what is held, and once more when it has
///   come near enough for that to count again;
/// - fixed window: after four windows at the latest. A clock that is set back twice finds full the
///   windows of which nothing is known, two of the first step and two of the second, or the two that
///   are held;
/// - sliding window: after two, each with the second by which a clock may be late: as with a bucket.
#[test]
fn a_clock_that_is_set_shuts_nobody_out_for_long() {
    static LONGEST: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];
    LOCKOUT.run(|seed| {
        let draw = Draw::new(seed, 3);
        let mut scene = Scene::draw(&draw, seed, 9);
        for _ in 0..draw.between(1, 12) {
            match draw.between(0, 3) {
                0 => scene.step(&draw, !draw.once_in(4)),
                1 => scene.pass(draw.between(0, scene.quota.window as u64)),
                _ => {}
            }
            for _ in 0..draw.between(0, 9) {
                scene.admits();
            }
        }
        scene.step(&draw, !draw.once_in(4));
        let Quota {
            algorithm,
            quota,
            window,
            ..
        } = scene.quota;
        let allowed = match algorithm {
            Algorithm::Fixed => 4 * window,
            Algorithm::Sliding => 2 * (window + SECOND),
            Algorithm::Bucket => 2 * (scene.cost * window / quota + SECOND),
        };
        let since = scene.real;
        while !scene.admits() {
            scene.pass(SECOND as u64);
            // Asking once per second it may come up to a second late, for each of the two.
            let waited = scene.real - since;
            assert!(
                waited <= allowed + 2 * SECOND,
                "{waited} ns, not {allowed}: {}",
                scene.config
            );
        }
        let waited = (scene.real - since) * 1_000 / window;
        LONGEST[algorithm as usize].fetch_max(waited as u64, Ordering::SeqCst);
    });
    println!("longest, in thousandths of a window (fixed, sliding, bucket): {LONGEST:?}");
}
