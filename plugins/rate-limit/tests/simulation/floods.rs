//! Floods: keys that nobody has sent before, on one limit of several, in any order of the limits and
//! with any algorithms. What is refused leaves nothing behind, and no limit but the flooded one
//! notices.

use std::collections::HashMap;

use portcullis_policy::{Origin, Span, Timestamp};
use portcullis_rate_limit::RateLimit;
use portcullis_sim::{Dialect, Draw, Worker, World, interleave};

use crate::concurrency::errors;
use crate::generate::quota;
use crate::reference::{Algorithm, Asked, Limit, Outcome, Quota, Reference, SECOND};
use crate::schedules::{FLOODED, FLOODED_AT_ONCE};
use crate::sequential::{check, snapshot};

/// What a limit of a flooded gateway counts by. The flooded one counts `POST` alone, which is what
/// the flood sends: so that all others can be judged by all they ever saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// A header that is another one in each request of the flood.
    FloodedHeader,
    /// The address, from which no request of the flood comes twice.
    FloodedAddress,
    User,
    Constant,
}

struct Scene {
    world: World,
    limits: Vec<(By, Limit)>,
    config: String,
}

/// A request: of the flood, the `n`th, or of one of the users.
#[derive(Clone, Copy, Debug)]
struct Drawn {
    flood: Option<u64>,
    user: &'static str,
}

impl Drawn {
    fn draw(draw: &Draw, n: u64) -> Self {
        Self {
            flood: draw.between(0, 3).checked_sub(1).map(|_| n),
            user: draw.of(&["u", "v"]),
        }
    }

    fn peer(self) -> String {
        self.flood.map_or("192.0.2.1".to_owned(), |n| {
            format!("2001:db8:{:x}:{:x}::1", n >> 16, n & 0xffff)
        })
    }

    /// Sends it, or says how it is sent.
    fn with<R>(self, act: impl FnOnce(&str, &[(&str, &str)]) -> R) -> R {
        let key = self.flood.map(|n| format!("k{n}"));
        let method = if key.is_some() { "POST" } else { "GET" };
        let mut headers = vec![(":method", method), (":path", "/"), ("x-user", self.user)];
        headers.extend(key.as_deref().map(|key| ("x-key", key)));
        act(&self.peer(), &headers)
    }

    fn asked(self, by: By) -> Option<Asked> {
        let key = match by {
            By::FloodedHeader | By::FloodedAddress => self.flood?.to_string(),
            By::User => self.user.to_owned(),
            By::Constant => String::new(),
        };
        let key = vec![Some(key)];
        Some(Asked::Of { key, cost: 1 })
    }
}

impl Scene {
    fn draw(draw: &Draw, seed: u64, quota: impl Fn(&Draw) -> Quota) -> Self {
        let others = draw.between(1, 3) as usize;
        let mut by: Vec<By> = (0..others)
            .map(|_| draw.of(&[By::User, By::Constant]))
            .collect();
        let flooded = draw.of(&[By::FloodedHeader, By::FloodedAddress]);
        by.insert(draw.between(0, others as u64) as usize, flooded);
        let limits: Vec<(By, Limit)> = by
            .into_iter()
            .enumerate()
            .map(|(index, by)| {
                let limit = Limit {
                    name: format!("limit_{}", (index as u64 + seed) % 7),
                    quota: quota(draw),
                    shadow: draw.once_in(6),
                };
                (by, limit)
            })
            .collect();
        let json: Vec<String> = limits
            .iter()
            .map(|(by, limit)| limit_json(*by, limit))
            .collect();
        let config = format!(
            r#"{{"capacity":{},"limits":[{}]}}"#,
            8 * draw.between(1, 4) * limits.len() as u64,
            json.join(",")
        );
        Self {
            world: World::new(draw.of(&Dialect::BOTH), seed),
            limits,
            config,
        }
    }

    /// That no limit but the flooded one has forgotten anybody.
    fn none_other_is_evicted(&self, worker: &Worker<RateLimit>) {
        for (by, limit) in &self.limits {
            let metric = format!("rate_limit_evictions.limit.{}", limit.name);
            let is_flooded = matches!(by, By::FloodedHeader | By::FloodedAddress);
            let evictions = worker.telemetry.metric(&metric);
            assert!(is_flooded || evictions == 0, "{metric}: {}", self.config);
        }
    }
}

fn limit_json(by: By, limit: &Limit) -> String {
    let (key, rest) = match by {
        By::FloodedHeader => ("header:x-key", r#","match":{"methods":["POST"]}"#),
        By::FloodedAddress => ("client_address", r#","match":{"methods":["POST"]}"#),
        By::User => ("header:x-user", ""),
        By::Constant => ("constant", ""),
    };
    let burst = match limit.quota.algorithm {
        Algorithm::Bucket => format!(r#","burst":{}"#, limit.quota.burst),
        Algorithm::Fixed | Algorithm::Sliding => String::new(),
    };
    format!(
        r#"{{"name":"{}","key":["{key}"],"quota":{},"window":"{}ms","algorithm":"{}","mode":"{}"{burst}{rest}}}"#,
        limit.name,
        limit.quota.quota,
        limit.quota.window * 1_000 / SECOND,
        limit.quota.algorithm.name(),
        if limit.shadow { "shadow" } else { "enforce" },
    )
}

#[test]
fn a_flood_on_one_limit_moves_no_other_and_what_is_refused_leaves_nothing_behind() {
    FLOODED.run(|seed| {
        let draw = Draw::new(seed, 7);
        let scene = Scene::draw(&draw, seed, quota);
        let (world, config) = (&scene.world, &scene.config);
        let workers: Vec<Worker<RateLimit>> = (0..draw.between(1, 3))
            .map(|number| world.worker_taking(config, None, number).unwrap())
            .collect();
        let limits = scene.limits.iter().map(|(_, limit)| limit.clone());
        let mut reference = Reference::new(limits.collect());
        let mut now = i128::from(world.clock.read().unix_nanos());
        for n in 0..120 {
            if draw.once_in(10) {
                now += i128::from(draw.between(0, 90 * SECOND as u64));
                world.clock.set(Timestamp::from_unix_nanos(now as u64));
            }
            let sent = Drawn::draw(&draw, n);
            let asked: Vec<_> = scene.limits.iter().map(|(by, _)| sent.asked(*by)).collect();
            let outcome = reference.request(&asked, now);
            let refused = !matches!(outcome, Outcome::Passed(_));
            let before = snapshot(&world.zone);
            let worker = &workers[draw.between(0, workers.len() as u64 - 1) as usize];
            let checked = sent.with(|peer, headers| check(worker, (peer, headers), outcome));
            if let Err(error) = checked {
                panic!("request {n} ({sent:?}): {error}\n{config}");
            }
            let unchanged = snapshot(&world.zone) == before;
            assert!(unchanged || !refused, "request {n} ({sent:?})\n{config}");
        }
        workers
            .iter()
            .for_each(|worker| scene.none_other_is_evicted(worker));
    });
}

#[test]
fn interleaved_floods_leave_every_other_limit_exact() {
    FLOODED_AT_ONCE.run(|seed| {
        let draw = Draw::new(seed, 8);
        let small = |draw: &Draw| Quota {
            algorithm: draw.of(&Algorithm::ALL),
            quota: i128::from(draw.between(2, 9)),
            window: 3_600 * SECOND,
            burst: i128::from(draw.between(2, 9)),
        };
        let scene = Scene::draw(&draw, seed, small);
        let (world, config) = (&scene.world, &scene.config);
        let quiet: Worker<RateLimit> = world.worker(config).unwrap();
        let done = interleave(draw.between(2, 4) as usize, seed, |me, turns| {
            let draw = Draw::new(seed, 200 + me as u64);
            let number = me as u64 + 1;
            let worker: Worker<RateLimit> =
                world.worker_taking(config, Some(turns), number).unwrap();
            let mut admitted: HashMap<&str, i128> = HashMap::new();
            for n in 0..12 {
                let sent = Drawn::draw(&draw, n * 8 + number);
                let passed = sent.with(|peer, headers| worker.request(peer, headers).0.status());
                *admitted.entry(sent.user).or_default() += i128::from(passed == 200);
            }
            assert_eq!(errors(&worker), 0, "{config}");
            scene.none_other_is_evicted(&worker);
            admitted
        });
        let of = |user: &str| done.iter().filter_map(|done| done.get(user)).sum::<i128>();
        for user in ["u", "v"] {
            let get = [(":method", "GET"), (":path", "/"), ("x-user", user)];
            // What this one is charged shows in the answer, and is given back by the next loop's sum.
            let (answer, mut flow) = quiet.request("192.0.2.1", &get);
            let charged = i128::from(answer.status() == 200);
            let state = match answer {
                portcullis_sim::Answer::Passed(_) => {
                    let headers = quiet.respond(&mut flow, 200, Origin::Upstream);
                    value(&headers, "ratelimit")
                }
                portcullis_sim::Answer::Refused(reply) => {
                    let headers = reply
                        .headers
                        .iter()
                        .map(|(n, v)| (n.to_string(), v.clone()));
                    value(&headers.collect::<Vec<_>>(), "ratelimit")
                }
            };
            for (by, limit) in &scene.limits {
                let used = match by {
                    By::FloodedHeader | By::FloodedAddress => continue,
                    By::User => of(user) + charged,
                    By::Constant if user == "v" => continue,
                    By::Constant => of("u") + of("v") + charged,
                };
                if limit.shadow {
                    continue;
                }
                let left = limit.quota.most() - used;
                let part = format!("\"{}\";r={left};", limit.name);
                assert!(
                    left >= 0 && state.contains(&part),
                    "{part} in {state}: {config}"
                );
            }
        }
    });
}

fn value(headers: &[(String, String)], name: &str) -> String {
    let found = headers.iter().find(|(known, _)| known == name);
    found.map_or(String::new(), |(_, value)| value.clone())
}

/// The case that was found: one address, a key of its own in each request.
#[test]
fn one_address_with_random_keys_gets_its_quota_and_nobody_elses_counts() {
    for dialect in Dialect::BOTH {
        for algorithm in Algorithm::ALL {
            for order in [[0, 1], [1, 0]] {
                let limits = [
                    ("per_key", "header:k", 5, "24h"),
                    ("per_ip", "client_address", 100, "1h"),
                ];
                let limits: Vec<String> = order
                    .map(|index| limits[index])
                    .iter()
                    .map(|(name, key, quota, window)| {
                        let algorithm = algorithm.name();
                        format!(
                            r#"{{"name":"{name}","key":["{key}"],"quota":{quota},"window":"{window}","algorithm":"{algorithm}"}}"#
                        )
                    })
                    .collect();
                let config = format!(r#"{{"capacity":4096,"limits":[{}]}}"#, limits.join(","));
                let world = World::new(dialect, 3);
                let worker: Worker<RateLimit> = world.worker(&config).unwrap();
                let ask = |peer: &str, key: &str| {
                    let headers = [(":method", "GET"), (":path", "/"), ("k", key)];
                    worker.request(peer, &headers).0.status()
                };
                let others: Vec<(String, String)> = (0..40)
                    .map(|n| (format!("198.51.100.{n}"), format!("other{n}")))
                    .collect();
                for (peer, key) in &others {
                    assert!((0..5).all(|_| ask(peer, key) == 200));
                }
                let flood = |n: u32| ask("192.0.2.1", &format!("flood{n}"));
                let admitted = (0..3_000).filter(|n| flood(*n) == 200).count();
                assert_eq!(admitted, 100, "{dialect:?} {config}");
                for (peer, key) in &others {
                    assert_eq!(ask(peer, key), 429, "{dialect:?} {config}");
                }
                for limit in ["per_key", "per_ip"] {
                    let evictions = format!("rate_limit_evictions.limit.{limit}");
                    assert_eq!(
                        worker.telemetry.metric(&evictions),
                        0,
                        "{dialect:?} {config}"
                    );
                }
            }
        }
    }
}

/// Another limit added, taken away or put before: what the others have counted stays.
#[test]
fn counts_survive_a_configuration_that_changes_other_limits() {
    let limit = |name: &str| {
        format!(
            r#"{{"name":"{name}","key":["header:{name}"],"quota":1,"window":"1h","algorithm":"fixed_window"}}"#
        )
    };
    let config = |limits: &[&str]| {
        let limits: Vec<String> = limits.iter().map(|name| limit(name)).collect();
        format!(r#"{{"capacity":6000,"limits":[{}]}}"#, limits.join(","))
    };
    let world = World::new(Dialect::Envoy, 1);
    let refused = |worker: &Worker<RateLimit>, name: &str| {
        let ask = |key: &u32| {
            let key = key.to_string();
            let headers = [(":method", "GET"), (":path", "/"), (name, key.as_str())];
            worker.request("192.0.2.1", &headers).0.status() == 429
        };
        (0..100).filter(ask).count()
    };
    let before: Worker<RateLimit> = world.worker(&config(&["a", "b"])).unwrap();
    assert_eq!((refused(&before, "a"), refused(&before, "b")), (0, 0));
    let again: Worker<RateLimit> = world.worker(&config(&["b", "a"])).unwrap();
    assert_eq!((refused(&again, "a"), refused(&again, "b")), (100, 100));
    // Of three shares each is smaller by a third, and a third of the keys has moved.
    let third: Worker<RateLimit> = world.worker(&config(&["c", "b", "a"])).unwrap();
    let stayed = refused(&third, "a");
    assert!((50..85).contains(&stayed), "{stayed}");
    world.clock.advance(Span::from_secs(1));
    let alone: Worker<RateLimit> = world.worker(&config(&["b"])).unwrap();
    let stayed = refused(&alone, "b");
    assert!((35..70).contains(&stayed), "{stayed}");
    // A capacity of its own moves nothing at all.
    let own =
        |limits: &[&str]| config(limits).replace(r#""quota":1"#, r#""quota":1,"capacity":1500"#);
    let world = World::new(Dialect::Envoy, 1);
    let before: Worker<RateLimit> = world.worker(&own(&["a"])).unwrap();
    assert_eq!(refused(&before, "a"), 0);
    let after: Worker<RateLimit> = world.worker(&own(&["c", "a", "b"])).unwrap();
    assert_eq!(refused(&after, "a"), 100);
}
