//! Ratios over a window, each worker keeping count of what is fine until its tick.

use portcullis_policy::Policy as _;

use super::*;

const RATIO: &str = r#"{"breakers":[{"name":"a","trip":{
        "failure_ratio":{"above":0.5,"window":"10s","minimum_requests":4}}}],"status":{"path":"/status"}}"#;
const SLOW: &str = r#"{"breakers":[{"name":"a","trip":{
        "slow_ratio":{"above":0.5,"slower_than":"2s","window":"60s","minimum_requests":2}}}],"status":{"path":"/status"}}"#;

/// A request whose head comes after so long.
fn taking(worker: &Breaker, millis: u64, status: u16) {
    let mut flow = admitted(worker);
    worker.clock.advance(Span::from_millis(millis));
    worker.respond(&mut flow, status, Origin::Upstream);
    // However long the stream lasts.
    worker.clock.advance(Span::from_secs(5));
    worker.end(flow, Origin::Upstream);
}

/// Two ticks later, when what is suspected is certain.
fn confirmed(worker: &Breaker) {
    worker.clock.advance(Span::from_millis(100));
    worker.tick();
}

fn verbose(worker: &Breaker) -> serde_json::Value {
    serde_json::from_str(&refused(worker, "/status?verbose").body).unwrap()
}

#[test]
fn what_is_fine_costs_one_read_and_is_told_with_the_tick() {
    let worker = breaker(RATIO);
    assert_eq!(worker.policy.tick_every(), Span::from_millis(50));
    let reads = worker.store.0.reads();
    for _ in 0..1_000 {
        answered(&worker, 200);
    }
    assert_eq!(worker.store.0.reads() - reads, 1_000);
    assert_eq!(worker.store.0.writes(), 0);
    worker.tick();
    assert_eq!(worker.store.0.writes(), 1);
    assert_eq!(verbose(&worker)["a"]["failure_ratio"]["requests"], 1_000);
    worker.tick();
    assert_eq!(worker.store.0.writes(), 1, "nothing more to tell");
}

#[test]
fn a_failure_is_told_at_once_and_opens_when_all_workers_have_had_their_tick() {
    let worker = breaker(RATIO);
    for status in [200, 503, 200, 503] {
        answered(&worker, status);
    }
    assert_eq!(state(&worker), r#"{"a":"closed"}"#);
    answered(&worker, 503);
    assert_eq!(verbose(&worker)["a"]["failure_ratio"]["failures"], 3);
    worker.clock.advance(Span::from_millis(99));
    worker.tick();
    assert_eq!(state(&worker), r#"{"a":"closed"}"#, "it is suspected");
    worker.clock.advance(Span::from_millis(1));
    worker.tick();
    assert_eq!(state(&worker), r#"{"a":"open"}"#);
    assert_eq!(
        worker.telemetry.lines().last().unwrap(),
        "plugin=circuit_breaker event=opened breaker=a from=closed to=open reason=failure_ratio"
    );
    let shown = verbose(&worker);
    assert_eq!(shown["a"]["reason"], "failure_ratio");
    assert_eq!(shown["a"]["retry_after"], 30);
}

#[test]
fn the_next_failure_finds_the_share_exceeded_too_and_is_named() {
    let worker = breaker(RATIO);
    for _ in 0..4 {
        answered(&worker, 503);
    }
    worker.clock.advance(Span::from_millis(100));
    answered(&worker, 503);
    assert_eq!(state(&worker), r#"{"a":"open"}"#);
    let lines = worker.telemetry.lines();
    assert!(
        lines
            .last()
            .unwrap()
            .ends_with("reason=failure_ratio cause=status")
    );
}

#[test]
fn good_ones_that_another_worker_tells_late_open_nothing() {
    for dialect in Dialect::BOTH {
        let world = World::new(dialect, 1);
        let workers: Vec<Breaker> = (0..3).map(|_| world.worker(RATIO).unwrap()).collect();
        // As many good ones as bad ones, in turn, and each worker's tick at its own time.
        for millis in 0..600 {
            answered(&workers[0], 503);
            answered(&workers[1 + millis % 2], 200);
            world.clock.advance(Span::from_millis(1));
            for (index, worker) in workers.iter().enumerate() {
                if millis % 50 == 17 * index {
                    worker.tick();
                }
            }
            assert_eq!(
                state(&workers[0]),
                r#"{"a":"closed"}"#,
                "{dialect:?} {millis}"
            );
        }
        // And ten more bad ones do.
        for _ in 0..60 {
            answered(&workers[0], 503);
        }
        for _ in 0..3 {
            world.clock.advance(Span::from_millis(50));
            workers.iter().for_each(Breaker::tick);
        }
        assert_eq!(state(&workers[0]), r#"{"a":"open"}"#, "{dialect:?}");
    }
}

#[test]
fn successes_that_bring_the_minimum_open_with_the_tick() {
    let worker = breaker(RATIO);
    for status in [503, 503, 503, 200] {
        answered(&worker, status);
    }
    assert_eq!(state(&worker), r#"{"a":"closed"}"#);
    worker.tick();
    confirmed(&worker);
    assert_eq!(state(&worker), r#"{"a":"open"}"#);
    assert!(worker.telemetry.lines()[0].ends_with("reason=failure_ratio"));
}

#[test]
fn one_share_is_made_of_what_all_workers_saw() {
    let world = world();
    let workers: Vec<Breaker> = (0..4).map(|_| world.worker(RATIO).unwrap()).collect();
    for worker in &workers[..3] {
        answered(worker, 503);
    }
    assert_eq!(state(&workers[0]), r#"{"a":"closed"}"#);
    answered(&workers[3], 200);
    workers[3].tick();
    confirmed(&workers[3]);
    assert_eq!(state(&workers[0]), r#"{"a":"open"}"#);
}

#[test]
fn counts_from_before_it_opened_say_nothing_after_it_has_closed() {
    let world = world();
    let (one, other): (Breaker, Breaker) =
        (world.worker(RATIO).unwrap(), world.worker(RATIO).unwrap());
    for _ in 0..9 {
        answered(&other, 200);
    }
    let mut late = admitted(&one);
    for _ in 0..4 {
        answered(&one, 503);
    }
    confirmed(&one);
    assert_eq!(state(&one), r#"{"a":"open"}"#);
    half_a_minute(&one);
    answered(&one, 200);
    assert_eq!(state(&one), r#"{"a":"closed"}"#);
    other.tick();
    one.respond(&mut late, 503, Origin::Upstream);
    assert_eq!(verbose(&one)["a"]["failure_ratio"]["requests"], 0);
}

#[test]
fn slow_is_the_time_to_the_head_and_not_that_of_the_stream() {
    let worker = breaker(SLOW);
    taking(&worker, 2_000, 200);
    taking(&worker, 10, 200);
    assert_eq!(metric(&worker, "slow.breaker.a"), 0);
    taking(&worker, 2_001, 200);
    taking(&worker, 9_000, 500);
    worker.tick();
    assert_eq!(state(&worker), r#"{"a":"closed"}"#, "two of four");
    taking(&worker, 3_000, 404);
    taking(&worker, 3_000, 404);
    assert_eq!(state(&worker), r#"{"a":"open"}"#);
    assert_eq!(metric(&worker, "slow.breaker.a"), 4);
    assert!(
        worker
            .telemetry
            .lines()
            .last()
            .unwrap()
            .ends_with("reason=slow_ratio cause=slow")
    );
}

#[test]
fn a_request_that_is_never_answered_is_slow_too_and_one_whose_client_left_is_not() {
    let worker = breaker(SLOW);
    for origin in [Origin::ClientGone, Origin::ClientGone, Origin::Gateway] {
        let flow = admitted(&worker);
        worker.clock.advance(Span::from_secs(3));
        worker.end(flow, origin);
    }
    assert_eq!(metric(&worker, "slow.breaker.a"), 0);
    for _ in 0..2 {
        assert_eq!(state(&worker), r#"{"a":"closed"}"#);
        let flow = admitted(&worker);
        worker.clock.advance(Span::from_secs(3));
        worker.end(flow, Origin::TimedOut);
    }
    confirmed(&worker);
    assert_eq!(state(&worker), r#"{"a":"open"}"#);
    assert_eq!(metric(&worker, "slow.breaker.a"), 2);
}

#[test]
fn a_client_that_sends_slowly_does_not_make_the_upstream_slow() {
    let worker = breaker(SLOW);
    for _ in 0..3 {
        let mut flow = admitted(&worker);
        worker.clock.advance(Span::from_secs(60));
        worker.policy.on_request_sent(&mut flow, &worker.ports());
        worker.clock.advance(Span::from_secs(1));
        worker.respond(&mut flow, 200, Origin::Upstream);
        worker.end(flow, Origin::Upstream);
    }
    assert_eq!(metric(&worker, "slow.breaker.a"), 0);
    assert_eq!(state(&worker), r#"{"a":"closed"}"#);
}

#[test]
fn a_slow_probe_does_not_close() {
    let worker = breaker(SLOW);
    taking(&worker, 3_000, 200);
    taking(&worker, 3_000, 200);
    confirmed(&worker);
    assert_eq!(state(&worker), r#"{"a":"open"}"#);
    half_a_minute(&worker);
    taking(&worker, 2_500, 200);
    assert_eq!(state(&worker), r#"{"a":"open"}"#);
    assert!(
        worker
            .telemetry
            .lines()
            .last()
            .unwrap()
            .ends_with("from=half_open to=open reason=probe_failed cause=slow")
    );
    half_a_minute(&worker);
    taking(&worker, 100, 200);
    assert_eq!(state(&worker), r#"{"a":"closed"}"#);
}

#[test]
fn an_answer_of_somebody_else_makes_up_no_share() {
    // Reported with the head, or with the end.
    let ends: [fn(&Breaker, Flow); 2] = [
        |worker, mut flow| {
            worker.respond(&mut flow, 403, Origin::Gateway);
            worker.end(flow, Origin::Unknown);
        },
        |worker, mut flow| {
            let head = TellingLater;
            worker.policy.on_response(&mut flow, &head, &worker.ports());
            worker.end(flow, Origin::Gateway);
        },
    ];
    for end in ends {
        let worker = breaker(RATIO);
        end(&worker, admitted(&worker));
        answered(&worker, 200);
        worker.tick();
        assert_eq!(verbose(&worker)["a"]["failure_ratio"]["requests"], 1);
        assert_eq!(metric(&worker, "ignored.breaker.a"), 1);
    }
}

/// Envoy's: the log tells, so that it need not be asked before.
struct TellingLater;
impl Response for TellingLater {
    fn status(&self) -> Option<u16> {
        Some(403)
    }
    fn origin(&self) -> Origin {
        panic!("asked too early");
    }
    fn origin_is_told_later(&self) -> bool {
        true
    }
}
