//! Many workers, whose steps between two looks at shared data interleave as a seed says.

use std::sync::Mutex;

use portcullis_policy::{Policy as _, Timestamp};
use portcullis_sim::{SeededEntropy, interleave};

use super::*;

const SEEDS: u64 = 20;

#[test]
fn half_open_admits_exactly_one_probe() {
    for (dialect, seed) in both_dialects() {
        let world = World::new(dialect, seed);
        trip(&world.worker(ONE).unwrap());
        world.clock.advance(Span::from_secs(30));
        let reported = interleave(20, seed, |number, turns| {
            let worker: Breaker = world
                .worker_taking(ONE, Some(turns), number as u64)
                .unwrap();
            let admitted = u64::from(ask(&worker, "/x").0.status() == 200);
            let half_opened = metric(&worker, "transitions.breaker.a.to.half_open");
            assert_eq!(admitted, half_opened);
            admitted
        });
        assert_eq!(reported.iter().sum::<u64>(), 1, "{dialect:?} {seed}");
    }
}

#[test]
fn no_failure_is_lost_and_one_worker_tells_of_the_trip() {
    let config = ONE.replace(
        r#""consecutive_failures":2"#,
        r#""consecutive_failures":20"#,
    );
    for (dialect, seed) in both_dialects() {
        let world = World::new(dialect, seed);
        let reported = interleave(20, seed, |number, turns| {
            let worker: Breaker = world
                .worker_taking(&config, Some(turns), number as u64)
                .unwrap();
            answered(&worker, 503);
            metric(&worker, "transitions.breaker.a.to.open")
        });
        let shown = state(&world.worker(&config).unwrap());
        assert_eq!(reported.iter().sum::<u64>(), 1, "{dialect:?} {seed}");
        assert_eq!(shown, r#"{"a":"open"}"#, "{dialect:?} {seed}");
    }
}

/// A probe: its generation, and its permit's number.
type Probe = (u32, u32);

/// Those that are out, and when their leases end.
type Out = Mutex<Vec<(Probe, Timestamp)>>;

#[test]
fn with_any_interleaving_probes_are_bounded_and_transitions_are_told_once() {
    const PROBES: usize = 2;
    let config = r#"{"breakers":[{"name":"a","trip":{"consecutive_failures":2},
        "open_for":{"initial":"1s"},
        "half_open":{"probes":2,"successes_to_close":3,"probe_lease":"2s"}}],
        "status":{"path":"/status"}}"#;
    for (dialect, seed) in both_dialects() {
        let world = World::new(dialect, seed);
        let out: Out = Mutex::default();
        let lines = interleave(5, seed, |number, turns| {
            let number = number as u64;
            let worker: Breaker = world.worker_taking(config, Some(turns), number).unwrap();
            let dice = SeededEntropy::new(seed * 100 + number);
            let mut waiting = Vec::new();
            for _ in 0..60 {
                match dice.below(4) {
                    0 => worker.clock.advance(Span::from_millis(dice.below(200))),
                    1 | 2 => {
                        // Its lease begins no earlier than this.
                        let begin = worker.clock.read();
                        let (_, flow) = ask(&worker, "/x");
                        if let Some(probe) = probe(&flow) {
                            let now = worker.clock.read();
                            let mut out = out.lock().unwrap();
                            out.push((probe, begin.after(Span::from_secs(2))));
                            let beside = out.iter().filter(|((generation, _), until)| {
                                *generation == probe.0 && *until > now
                            });
                            assert!(beside.count() <= PROBES, "{dialect:?} {seed}");
                        }
                        waiting.push(flow);
                    }
                    _ => {
                        if let Some(flow) = waiting.pop() {
                            settle(&worker, flow, &out, dice.below(3));
                        }
                    }
                }
            }
            for flow in waiting {
                settle(&worker, flow, &out, 0);
            }
            worker.telemetry.lines()
        });
        let lines = lines.concat();
        let reported = |reason: &str| lines.iter().filter(|line| line.contains(reason)).count();
        let (tripped, relapsed) = (reported("=consecutive_failures"), reported("=probe_failed"));
        let (probing, recovered) = (reported("=open_time_over"), reported("=probes_succeeded"));
        let worker: Breaker = world.worker(config).unwrap();
        let now = ["closed", "half_open", "open"][metric(&worker, "state.breaker.a") as usize];
        // Each transition leaves a state that another one, reported by somebody, has led to.
        assert_eq!(tripped + relapsed, probing + usize::from(now == "open"));
        assert_eq!(
            probing,
            recovered + relapsed + usize::from(now == "half_open")
        );
        assert_eq!(1 + recovered, tripped + usize::from(now == "closed"));
        assert!(probing > 0, "{dialect:?} {seed}: nothing happened");
    }
}

fn settle(worker: &Breaker, mut flow: Flow, out: &Out, how: u64) {
    if let Some(probe) = probe(&flow) {
        out.lock().unwrap().retain(|(known, _)| *known != probe);
    }
    match how {
        0 => worker.policy.give_back(&mut flow, &worker.ports()),
        1 => drop(worker.respond(&mut flow, 200, Origin::Upstream)),
        _ => drop(worker.respond(&mut flow, 503, Origin::Upstream)),
    }
    let log = End(Origin::Unknown);
    worker.policy.on_end(&mut flow, &log, &worker.ports());
    assert!(all_settled(&flow));
}

fn probe(flow: &Flow) -> Option<Probe> {
    flow.admitted
        .first()
        .and_then(|admitted| admitted.ticket.probe())
}

fn both_dialects() -> impl Iterator<Item = (Dialect, u64)> {
    let seeds = |dialect| (0..SEEDS).map(move |seed| (dialect, seed));
    Dialect::BOTH.into_iter().flat_map(seeds)
}
