//! Limits on requests at a time.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

use portcullis_policy::{Origin, Policy as _, Span};
use portcullis_rate_limit::{Flow, RateLimit};
use portcullis_sim::{Answer, Dialect, Draw, Worker, World, interleave};

use crate::concurrency::{PEER, errors};
use crate::schedules::IN_FLIGHT;

const WORKERS: usize = 3;
const STEPS: usize = 30;

const GET: [(&str, &str); 2] = [(":method", "GET"), (":path", "/")];

fn config(most: u64) -> String {
    format!(
        r#"{{"capacity":16,"limits":[{{"name":"gpu","key":["constant"],"in_flight":{most}}}]}}"#
    )
}

fn worker(world: &World, most: u64) -> Worker<RateLimit> {
    world.worker(&config(most)).unwrap()
}

fn ask(worker: &Worker<RateLimit>) -> Option<Flow> {
    match worker.request(PEER, &GET) {
        (Answer::Passed(_), flow) => Some(flow),
        (Answer::Refused(reply), flow) => {
            assert_eq!(reply.status, 429);
            worker.end(flow, Origin::Gateway);
            None
        }
    }
}

#[test]
fn so_many_pass_at_a_time_and_a_client_is_told_when_to_come_again() {
    for dialect in Dialect::BOTH {
        let world = World::new(dialect, 1);
        let workers = [worker(&world, 2), worker(&world, 2)];
        let first = ask(&workers[0]).unwrap();
        let second = ask(&workers[1]).unwrap();
        assert!(ask(&workers[0]).is_none());
        world.clock.advance(Span::from_secs(4));
        workers[1].end(second, Origin::Upstream);
        let third = ask(&workers[0]).unwrap();
        // As long as the last ones took, as far as a worker has seen any.
        for (worker, usual) in [(&workers[1], "4"), (&workers[0], "1")] {
            let (Answer::Refused(reply), flow) = worker.request(PEER, &GET) else {
                panic!("one too many");
            };
            worker.end(flow, Origin::Gateway);
            let header = |name: &str| {
                let mut headers = reply.headers.iter();
                let found = headers.find(|(known, _)| known == name);
                found.map(|(_, value)| value.to_string())
            };
            assert_eq!(header("retry-after").as_deref(), Some(usual));
            let policy = r#""gpu";q=2;qu="concurrent-requests""#;
            assert_eq!(header("ratelimit-policy").as_deref(), Some(policy));
            let state = format!(r#""gpu";r=0;t={usual}"#);
            assert_eq!(header("ratelimit"), Some(state));
            assert_eq!(header("x-ratelimit-limit"), None);
        }
        workers[0].end(first, Origin::ClientGone);
        workers[0].drop_flow(third);
        assert!((0..2).all(|_| ask(&workers[1]).is_some()));
    }
}

/// Ten thousand requests end in every way that there is: at the end all permits are there.
#[test]
fn no_permit_is_lost_however_requests_end() {
    for dialect in Dialect::BOTH {
        let world = World::new(dialect, 2);
        let workers = [worker(&world, 4), worker(&world, 4)];
        let ends = [
            Origin::Upstream,
            Origin::Gateway,
            Origin::ClientGone,
            Origin::Unknown,
            Origin::Lost,
        ];
        for number in 0..10_000_usize {
            let worker = &workers[number % 2];
            let mut flow = ask(worker).unwrap_or_else(|| panic!("a permit is lost at {number}"));
            match number % 7 {
                0 => worker.drop_flow(flow),
                1 => {
                    // The gateway could not serve it: it is given back at once, and no second time.
                    worker.respond(&mut flow, 503, Origin::Gateway);
                    worker.end(flow, Origin::Gateway);
                }
                2 => {
                    worker.respond(&mut flow, 200, Origin::Upstream);
                    world.clock.advance(Span::from_secs(3));
                    worker.tick();
                    worker.end(flow, Origin::Upstream);
                }
                _ => worker.end(flow, ends[number % ends.len()]),
            }
        }
        let held: Vec<_> = (0..4).map(|_| ask(&workers[0]).unwrap()).collect();
        assert!(ask(&workers[1]).is_none());
        held.into_iter()
            .for_each(|flow| workers[0].end(flow, Origin::Upstream));
    }
}

#[test]
fn a_stream_holds_its_permit_for_as_long_as_it_lives_and_no_longer_than_its_worker() {
    for dialect in Dialect::BOTH {
        let world = World::new(dialect, 3);
        let (living, other) = (worker(&world, 1), worker(&world, 1));
        let stream = ask(&living).unwrap();
        for second in 0..300 {
            world.clock.advance(Span::from_secs(1));
            living.tick();
            other.tick();
            assert!(ask(&other).is_none(), "after {second} s");
        }
        living.end(stream, Origin::Upstream);
        let lost = ask(&other).unwrap();
        // It ends with its worker, which tells nobody.
        drop((lost, other));
        assert!(ask(&living).is_none());
        world.clock.advance(Span::from_secs(20));
        assert!(ask(&living).is_some());
    }
}

#[test]
fn a_request_that_another_limit_refuses_holds_nothing() {
    for dialect in Dialect::BOTH {
        let world = World::new(dialect, 4);
        let config = r#"{"capacity":64,"limits":[
            {"name":"gpu","key":["constant"],"in_flight":1},
            {"name":"few","key":["constant"],"quota":2,"window":"1h"}]}"#;
        let worker: Worker<RateLimit> = world.worker(config).unwrap();
        for _ in 0..2 {
            let flow = ask(&worker).unwrap();
            worker.end(flow, Origin::Upstream);
        }
        for _ in 0..3 {
            let (answer, flow) = worker.request(PEER, &GET);
            worker.end(flow, Origin::Gateway);
            let Answer::Refused(reply) = answer else {
                panic!("the quota is used up");
            };
            let mut headers = reply.headers.iter();
            let (_, state) = headers.find(|(name, _)| name == "ratelimit").unwrap();
            assert!(state.starts_with(r#""gpu";r=1, "few";r=0;"#), "{state}");
        }
    }
}

/// What was given back since the gateway could not serve it is not renewed while its answer is on its way.
#[test]
fn what_was_given_back_early_is_not_taken_again() {
    for dialect in Dialect::BOTH {
        let world = World::new(dialect, 6);
        let worker = worker(&world, 1);
        let mut slow = ask(&worker).unwrap();
        worker.respond(&mut slow, 503, Origin::Gateway);
        for _ in 0..30 {
            world.clock.advance(Span::from_secs(1));
            worker.tick();
            let next = ask(&worker).expect("it is free");
            worker.end(next, Origin::Upstream);
        }
        worker.end(slow, Origin::Gateway);
    }
}

#[test]
fn what_takes_no_place_is_not_renewed() {
    for dialect in Dialect::BOTH {
        let world = World::new(dialect, 7);
        let config = r#"{"capacity":8,"limits":[{"name":"gpu","key":["constant"],"in_flight":1,
            "costs":[{"match":{"methods":["HEAD"]},"cost":0}]}]}"#;
        let worker: Worker<RateLimit> = world.worker(config).unwrap();
        let (answer, flow) = worker.request(PEER, &[(":method", "HEAD"), (":path", "/")]);
        assert_eq!(answer.status(), 200);
        let writes = || worker.store.0.writes();
        let before = writes();
        for _ in 0..30 {
            world.clock.advance(Span::from_secs(1));
            worker.tick();
        }
        worker.end(flow, Origin::Upstream);
        assert_eq!(writes(), before);
    }
}

/// Ten seconds are a lease, too: a limit that becomes one on requests at a time begins with nothing.
#[test]
fn what_was_counted_in_windows_is_no_permit() {
    for dialect in Dialect::BOTH {
        let world = World::new(dialect, 8);
        let windows = r#"{"capacity":16,"limits":[{"name":"gpu","key":["constant"],"quota":100,"window":"10s","algorithm":"fixed_window"}]}"#;
        let before: Worker<RateLimit> = world.worker(windows).unwrap();
        for _ in 0..50 {
            let flow = ask(&before).unwrap();
            before.end(flow, Origin::Upstream);
        }
        assert!(ask(&worker(&world, 1)).is_some());
    }
}

#[test]
fn where_requests_at_a_time_are_not_counted_no_end_is_heard_of() {
    let world = World::new(Dialect::Envoy, 5);
    let windows = r#"{"limits":[{"name":"few","key":["constant"],"quota":2,"window":"1h"}]}"#;
    let worker: Worker<RateLimit> = world.worker(windows).unwrap();
    assert!(!worker.policy.observes_ends() && !worker.policy.tells_with_ticks());
    let worker: Worker<RateLimit> = world.worker(&config(1)).unwrap();
    assert!(worker.policy.observes_ends() && worker.policy.tells_with_ticks());
}

/// Workers that ask, end and tick as it comes: there are never more requests at a time than the limit, and once all have ended all
/// of it is there again.
#[test]
fn in_whatever_order_workers_run_there_are_never_more_at_a_time() {
    IN_FLIGHT.run(|seed| {
        for dialect in Dialect::BOTH {
            let world = World::new(dialect, seed);
            let most = Draw::new(seed, 0).between(1, 4);
            let config = config(most);
            let _laid_out: Worker<RateLimit> = world.worker(&config).unwrap();
            let under_way = AtomicU64::new(0);
            interleave(WORKERS, seed, |me, turns| {
                let number = me as u64;
                let worker: Worker<RateLimit> =
                    world.worker_taking(&config, Some(turns), number).unwrap();
                let draw = Draw::new(seed, number + 1);
                let mut held = Vec::new();
                for _ in 0..STEPS {
                    match draw.between(0, 4) {
                        0 | 1 => held.extend(ask(&worker).inspect(|_| {
                            let now = under_way.fetch_add(1, SeqCst) + 1;
                            assert!(now <= most, "{now} of {most} at a time");
                        })),
                        2 | 3 if !held.is_empty() => {
                            let at = draw.between(0, held.len() as u64 - 1) as usize;
                            // It has ended before others can have what it held.
                            under_way.fetch_sub(1, SeqCst);
                            worker.end(held.swap_remove(at), Origin::Upstream);
                        }
                        _ => worker.tick(),
                    }
                }
                for flow in held {
                    under_way.fetch_sub(1, SeqCst);
                    worker.end(flow, Origin::Upstream);
                }
                assert_eq!(errors(&worker), 0);
            });
            let last: Worker<RateLimit> = world.worker(&config).unwrap();
            let all: Vec<_> = (0..most).map_while(|_| ask(&last)).collect();
            assert_eq!(all.len() as u64, most, "a permit is lost");
            assert!(ask(&last).is_none(), "there is one too many");
        }
    });
}
