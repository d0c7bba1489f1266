//! Workers that interleave at each access to shared data, without faults and with them.

use std::sync::atomic::{AtomicU64, Ordering};

use portcullis_policy::{Origin, Span, Timestamp};
use portcullis_rate_limit::RateLimit;
use portcullis_sim::{Dialect, Draw, Part, VirtualClock, Worker, World, interleave};

use crate::reference::{Algorithm, Quota, SECOND};
use crate::schedules::{FAILED, INTERLEAVED, LATE, LOST, TORN};

pub(crate) const PEER: &str = "192.0.2.1";
const REASONS: [&str; 5] = [
    "clock_unavailable",
    "client_address_unknown",
    "store_unavailable",
    "store_contended",
    "store_foreign",
];

pub(crate) fn errors(worker: &Worker<RateLimit>) -> u64 {
    let of = |reason| format!("rate_limit_errors.reason.{reason}");
    let counts = REASONS
        .iter()
        .map(|reason| worker.telemetry.metric(&of(reason)));
    counts.sum()
}

/// One to three limits that count one client together. POST costs what it says, HEAD nothing, all
/// else one.
struct Scene {
    dialect: Dialect,
    world: World,
    quotas: Vec<Quota>,
    post: u64,
    workers: usize,
    config: String,
    /// Made before the others, so that these find all laid out.
    quiet: Worker<RateLimit>,
}

/// A request that was admitted: when by its worker's clock, and what it cost.
#[derive(Clone, Copy, Debug)]
struct Admitted {
    at: u64,
    cost: u64,
}

#[derive(Debug, Default)]
struct Done {
    admitted: Vec<Admitted>,
    refused: u64,
    errors: u64,
}

impl Scene {
    fn draw(draw: &Draw, seed: u64, dialect: Dialect, on_error: &str) -> Self {
        let limits = draw.between(1, 3);
        let quotas: Vec<Quota> = (0..limits)
            .map(|_| Quota {
                algorithm: draw.of(&Algorithm::ALL),
                quota: i128::from(draw.between(2, 9)),
                window: i128::from(draw.between(1, 90)) * SECOND,
                burst: i128::from(draw.between(2, 9)),
            })
            .collect();
        let least = quotas.iter().map(Quota::most).min().unwrap() as u64;
        let post = draw.between(1, least.min(3));
        let limits: Vec<String> = quotas.iter().enumerate().map(|(index, quota)| {
            let burst = match quota.algorithm {
                Algorithm::Bucket => format!(r#""burst":{},"#, quota.burst),
                Algorithm::Fixed | Algorithm::Sliding => String::new(),
            };
            format!(
                r#"{{"name":"limit_{index}","key":["client_address"],"quota":{},"window":"{}s",{burst}"algorithm":"{}","costs":[{{"match":{{"methods":["POST"]}},"cost":{post}}},{{"match":{{"methods":["HEAD"]}},"cost":0}}]}}"#,
                quota.quota,
                quota.window / SECOND,
                quota.algorithm.name()
            )
        }).collect();
        let config = format!(
            r#"{{"capacity":16,"on_error":"{on_error}","limits":[{}]}}"#,
            limits.join(",")
        );
        let world = World::new(dialect, seed);
        Self {
            dialect,
            quiet: world.worker(&config).unwrap(),
            world,
            quotas,
            post,
            workers: draw.between(2, 4) as usize,
            config,
        }
    }

    /// Each worker makes some requests, each after `before` did what it does. A worker's clock is
    /// its own: it shows what the world's showed when the request began, as a host's does.
    fn play(&self, seed: u64, before: impl Fn(&Draw, &Worker<RateLimit>) + Sync) -> Vec<Done> {
        let (world, config, post) = (&self.world, &self.config, self.post);
        interleave(self.workers, seed, |me, turns| {
            let draw = Draw::new(seed, 100 + me as u64);
            let number = me as u64 + 1;
            let mut worker: Worker<RateLimit> =
                world.worker_taking(config, Some(turns), number).unwrap();
            worker.clock = VirtualClock::at(world.clock.read());
            let mut done = Done::default();
            for _ in 0..draw.between(2, 6) {
                worker.clock.set(world.clock.read());
                before(&draw, &worker);
                let (method, cost) = draw.of(&[("GET", 1), ("POST", post)]);
                let at = worker.clock.read().unix_nanos();
                match worker
                    .request(PEER, &[(":method", method), (":path", "/")])
                    .0
                    .status()
                {
                    200 => done.admitted.push(Admitted { at, cost }),
                    _ => done.refused += cost,
                }
                worker.store.0.fail_after(None);
                worker.store.0.fail_writes(false);
            }
            done.errors = errors(&worker);
            done
        })
    }

    /// What each limit has left, asked by a request that costs nothing.
    fn left(&self) -> Vec<u64> {
        let head = [(":method", "HEAD"), (":path", "/")];
        let (answer, mut flow) = self.quiet.request(PEER, &head);
        assert_eq!(answer.status(), 200);
        let headers = self.quiet.respond(&mut flow, 200, Origin::Upstream);
        let header = headers
            .iter()
            .find(|(name, _)| name == "ratelimit")
            .unwrap();
        let parts = header.1.split(", ");
        parts
            .map(|part| part.split(";r=").nth(1).unwrap().split(';').next().unwrap())
            .map(|left| left.parse().unwrap())
            .collect()
    }

    /// How many requests of one each are admitted at once.
    fn drain(&self) -> u64 {
        let get = [(":method", "GET"), (":path", "/")];
        (0..40)
            .filter(|_| self.quiet.request(PEER, &get).0.status() == 200)
            .count() as u64
    }
}

impl std::fmt::Display for Scene {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:?}, {} workers, {}",
            self.dialect, self.workers, self.config
        )
    }
}

fn sum(done: &[Done], of: impl Fn(&Done) -> u64) -> u64 {
    done.iter().map(of).sum()
}

fn cost(done: &[Done]) -> u64 {
    sum(done, |done| done.admitted.iter().map(|one| one.cost).sum())
}

fn schedule(part: Part, seed: u64, dialects: &[Dialect], on_error: &[&str]) -> (Draw, Scene) {
    let draw = Draw::new(seed, part.share);
    let dialect = draw.of(dialects);
    let on_error = draw.of(on_error);
    let scene = Scene::draw(&draw, seed, dialect, on_error);
    (draw, scene)
}

#[test]
fn interleaved_workers_admit_the_quota_and_leave_no_charge_behind() {
    INTERLEAVED.run(|seed| {
        let (_, scene) = schedule(INTERLEAVED, seed, &Dialect::BOTH, &["allow"]);
        let done = scene.play(seed, |_, _| {});
        assert_eq!(sum(&done, |done| done.errors), 0, "{scene}");
        let admitted = cost(&done);
        let most = |quota: &Quota| quota.most() as u64;
        let least = scene.quotas.iter().map(most).min().unwrap();
        assert!(admitted <= least, "{admitted} of {least}, {scene}");
        let expected: Vec<u64> = scene.quotas.iter().map(|q| most(q) - admitted).collect();
        assert_eq!(scene.left(), expected, "{admitted} admitted, {scene}");
        assert_eq!(scene.drain(), least - admitted, "{scene}");
        if scene.quotas.len() == 1 && scene.post == 1 {
            // One limit never holds back what it then gives back.
            let refused = sum(&done, |done| done.refused);
            assert!(
                refused == 0 || admitted == least,
                "{admitted} of {least}, {scene}"
            );
        }
    });
}

/// The clock moves by less than a second in all: for as long may a request hold on to its reading.
#[test]
fn late_readings_of_the_clock_admit_nothing_beyond_the_bound() {
    LATE.run(|seed| {
        let (draw, scene) = schedule(LATE, seed, &Dialect::BOTH, &["allow"]);
        // Just before a boundary of all windows of whole seconds.
        let clock = &scene.world.clock;
        let early = Span::from_millis(draw.between(0, 900));
        clock.set(
            clock
                .read()
                .after(Span::from_secs(draw.between(1, 90)))
                .before(early),
        );
        let moved = AtomicU64::new(0);
        let done = scene.play(seed, |draw, _| {
            let by = draw.between(0, 40);
            if moved.fetch_add(by, Ordering::SeqCst) + by < 990 {
                clock.advance(Span::from_millis(by));
            }
        });
        assert_eq!(sum(&done, |done| done.errors), 0, "{scene}");
        let mut admitted: Vec<Admitted> = done.into_iter().flat_map(|d| d.admitted).collect();
        admitted.sort_by_key(|one| one.at);
        for quota in &scene.quotas {
            within_bound(quota, &admitted, &scene);
        }
    });
}

/// By the clock's readings: per window, or in each span that begins and ends with a request.
fn within_bound(quota: &Quota, admitted: &[Admitted], scene: &Scene) {
    for (index, first) in admitted.iter().enumerate() {
        let mut sum = 0;
        for last in &admitted[index..] {
            sum += i128::from(last.cost);
            let (from, to) = (i128::from(first.at), i128::from(last.at));
            let fits = match quota.algorithm {
                Algorithm::Fixed => from / quota.window != to / quota.window || sum <= quota.quota,
                Algorithm::Sliding => to - from >= quota.sure() || sum <= quota.quota,
                Algorithm::Bucket => {
                    (sum - quota.burst) * quota.window <= quota.quota * (to - from)
                }
            };
            assert!(fits, "{sum} from {from} to {to} of {quota:?}, {scene}");
        }
    }
}

/// A torn read may show what was there before the worker's own last write, which no real one does:
/// a charge that should be given back then looks as if it were. So no more than what was refused
/// may be missing, and nothing beyond the quota is admitted.
#[test]
fn torn_reads_admit_nothing_beyond_the_quota() {
    TORN.run(|seed| {
        let (draw, scene) = schedule(TORN, seed, &[Dialect::Kong], &["allow"]);
        let probability = draw.of(&[0.05, 0.3, 0.6]);
        scene.world.zone.tear_reads(probability, seed);
        let done = scene.play(seed, |_, _| {});
        scene.world.zone.tear_reads(0.0, seed);
        let (admitted, errors) = (cost(&done), sum(&done, |done| done.errors));
        let refused = sum(&done, |done| done.refused);
        for (quota, left) in scene.quotas.iter().zip(scene.left()) {
            let used = quota.most() as u64 - left;
            let uncharged = errors * scene.post;
            assert!(
                admitted <= used + uncharged,
                "{admitted}, used {used}, {scene}"
            );
            assert!(
                used <= admitted + refused,
                "{admitted} + {refused}, {used}, {scene}"
            );
        }
    });
}

#[test]
fn a_lost_slot_gives_at_most_one_more_quota() {
    LOST.run(|seed| {
        let (_, scene) = schedule(LOST, seed, &Dialect::BOTH, &["allow"]);
        let names: Vec<String> = scene.quiet.policy.slot_names().collect();
        let lost = AtomicU64::new(0);
        let zone = &scene.world.zone;
        let done = scene.play(seed, |draw, _| {
            if draw.once_in(6) && zone.evict(&names[draw.between(0, 1) as usize]) {
                lost.fetch_add(1, Ordering::SeqCst);
            }
        });
        assert_eq!(sum(&done, |done| done.errors), 0, "{scene}");
        let lost = lost.into_inner();
        for quota in &scene.quotas {
            let bound = quota.most() as u64 * (1 + lost);
            assert!(
                cost(&done) <= bound,
                "{} of {bound}, {lost} lost, {scene}",
                cost(&done)
            );
        }
    });
}

#[test]
fn failed_calls_are_counted_and_nothing_else_goes_beyond_the_quota() {
    FAILED.run(|seed| {
        let (_, scene) = schedule(FAILED, seed, &Dialect::BOTH, &["allow", "deny"]);
        let done = scene.play(seed, |draw, worker| match draw.between(0, 7) {
            0 => worker.store.0.fail_after(Some(draw.between(0, 6) as u32)),
            1 => worker.store.0.fail_writes(true),
            _ => {}
        });
        let (admitted, refused) = (cost(&done), sum(&done, |done| done.refused));
        // What passes uncounted was counted as an error.
        let uncharged = if scene.config.contains(r#""on_error":"allow""#) {
            sum(&done, |done| done.errors) * scene.post
        } else {
            0
        };
        for (quota, left) in scene.quotas.iter().zip(scene.left()) {
            let most = quota.most() as u64;
            assert!(
                admitted <= most + uncharged,
                "{admitted} of {most} + {uncharged}, {scene}"
            );
            let used = most - left;
            assert!(
                admitted <= used + uncharged,
                "{admitted}, used {used}, {scene}"
            );
            // What can't be given back stays charged.
            assert!(
                used <= admitted + refused,
                "{admitted} + {refused}, {used}, {scene}"
            );
        }
    });
}

/// The world's clock starts on a whole hour: the windows above count on it.
#[test]
fn the_clock_of_a_world_starts_on_a_boundary() {
    let start = World::new(Dialect::Envoy, 0).clock.read();
    assert_eq!(start, Timestamp::from_unix_secs(1_767_254_400));
}
