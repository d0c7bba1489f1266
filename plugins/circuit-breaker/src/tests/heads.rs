//! Failures in a row: a success between them ends the row by when its head came, on whichever worker.

use super::*;

const THREE: &str = r#"{"breakers":[{"name":"a","trip":{"consecutive_failures":3}}],
    "status":{"path":"/status"}}"#;

fn workers(dialect: Dialect, count: usize) -> (World, Vec<Breaker>) {
    let world = World::new(dialect, 1);
    let workers = (0..count).map(|_| world.worker(THREE).unwrap()).collect();
    (world, workers)
}

/// The head of a stream that goes on.
fn streams(worker: &Breaker, flow: &mut Flow) {
    worker.respond(flow, 200, Origin::Upstream);
}

fn a_millisecond(world: &World) {
    world.clock.advance(Span::from_millis(1));
}

fn set_back(world: &World) {
    let now = world.clock.read();
    world.clock.set(now.before(Span::from_secs(3_600)));
}

#[test]
fn streams_that_run_are_successes_by_their_heads() {
    for dialect in Dialect::BOTH {
        let (world, workers) = workers(dialect, 2);
        let mut running = Vec::new();
        for round in 0..20 {
            answered(&workers[round % 2], 503);
            a_millisecond(&world);
            for _ in 0..5 {
                let mut flow = admitted(&workers[1]);
                streams(&workers[1], &mut flow);
                running.push(flow);
            }
            a_millisecond(&world);
            assert_eq!(
                state(&workers[0]),
                r#"{"a":"closed"}"#,
                "{dialect:?} {round}"
            );
        }
        // When they end as they should, nothing changes.
        answered(&workers[0], 503);
        answered(&workers[0], 503);
        for flow in running {
            workers[1].end(flow, Origin::Upstream);
        }
        assert_eq!(state(&workers[0]), r#"{"a":"closed"}"#);
        answered(&workers[0], 503);
        assert_eq!(state(&workers[0]), r#"{"a":"open"}"#);
    }
}

#[test]
fn requests_that_were_out_before_a_failure_end_the_row_too() {
    for dialect in Dialect::BOTH {
        let (world, workers) = workers(dialect, 1);
        let worker = &workers[0];
        let mut out: Vec<Flow> = (0..12).map(|_| admitted(worker)).collect();
        for mut flow in out.drain(..) {
            answered(worker, 503);
            answered(worker, 503);
            a_millisecond(&world);
            streams(worker, &mut flow);
            assert_eq!(state(worker), r#"{"a":"closed"}"#, "{dialect:?}");
        }
    }
}

#[test]
fn another_workers_success_is_known_with_its_tick_or_its_next_failure() {
    for told_by_failure in [false, true] {
        let (world, workers) = workers(Dialect::Envoy, 2);
        let (mut early, failing) = (admitted(&workers[1]), admitted(&workers[1]));
        answered(&workers[0], 503);
        answered(&workers[0], 503);
        a_millisecond(&world);
        // Of no failure has this worker heard.
        let reads = workers[1].store.0.reads();
        streams(&workers[1], &mut early);
        assert_eq!(
            workers[1].store.0.reads(),
            reads,
            "a healthy request costs one read"
        );
        a_millisecond(&world);
        match told_by_failure {
            true => workers[1].end(failing, Origin::ConnectionFailed),
            false => workers[1].tick(),
        }
        answered(&workers[0], 503);
        assert_eq!(state(&workers[0]), r#"{"a":"closed"}"#);
    }
}

#[test]
fn a_success_from_before_the_first_failure_ends_nothing() {
    for dialect in Dialect::BOTH {
        let (world, workers) = workers(dialect, 2);
        answered(&workers[1], 200);
        a_millisecond(&world);
        answered(&workers[0], 503);
        workers[1].tick();
        answered(&workers[1], 503);
        answered(&workers[0], 503);
        assert_eq!(state(&workers[0]), r#"{"a":"open"}"#, "{dialect:?}");
    }
}

#[test]
fn a_success_in_the_midst_that_is_told_late_leaves_the_last_failure() {
    let (world, workers) = workers(Dialect::Envoy, 2);
    let mut out = admitted(&workers[1]);
    answered(&workers[0], 503);
    a_millisecond(&world);
    streams(&workers[1], &mut out);
    a_millisecond(&world);
    answered(&workers[0], 503);
    workers[1].tick();
    answered(&workers[0], 503);
    assert_eq!(state(&workers[0]), r#"{"a":"closed"}"#);
    answered(&workers[0], 503);
    assert_eq!(state(&workers[0]), r#"{"a":"open"}"#);
}

/// Where the clock is set back by an hour.
#[derive(Clone, Copy, Debug, PartialEq)]
enum SetBack {
    BetweenFailures,
    BeforeTheSuccess,
    BeforeItIsTold,
}

#[test]
fn a_success_among_failures_ends_them_though_the_clock_was_set_back() {
    for at in [
        SetBack::BetweenFailures,
        SetBack::BeforeTheSuccess,
        SetBack::BeforeItIsTold,
    ] {
        let (world, workers) = workers(Dialect::Envoy, 2);
        let passes = |now| match at == now {
            true => set_back(&world),
            false => a_millisecond(&world),
        };
        let mut out = admitted(&workers[1]);
        answered(&workers[0], 503);
        passes(SetBack::BetweenFailures);
        answered(&workers[0], 503);
        passes(SetBack::BeforeTheSuccess);
        streams(&workers[1], &mut out);
        passes(SetBack::BeforeItIsTold);
        workers[1].tick();
        answered(&workers[0], 503);
        answered(&workers[0], 503);
        assert_eq!(state(&workers[0]), r#"{"a":"closed"}"#, "{at:?}");
        // It keeps nothing closed but this once.
        answered(&workers[0], 503);
        assert_eq!(state(&workers[0]), r#"{"a":"open"}"#, "{at:?}");
    }
}

#[test]
fn a_success_that_its_worker_knows_to_follow_failures_ends_them_whatever_the_clock_says() {
    for is_of_before in [false, true] {
        let (world, workers) = workers(Dialect::Envoy, 2);
        let before = admitted(&workers[1]);
        answered(&workers[0], 503);
        answered(&workers[0], 503);
        // This worker sees them.
        let since = admitted(&workers[1]);
        set_back(&world);
        let mut out = if is_of_before { before } else { since };
        streams(&workers[1], &mut out);
        answered(&workers[0], 503);
        answered(&workers[0], 503);
        assert_eq!(state(&workers[0]), r#"{"a":"closed"}"#, "{is_of_before}");
    }
}

#[test]
fn a_success_of_before_the_last_transition_hides_none_of_since() {
    let (world, workers) = workers(Dialect::Envoy, 2);
    let mut old = admitted(&workers[1]);
    for status in [503, 503, 503] {
        answered(&workers[0], status);
    }
    half_a_minute(&workers[0]);
    answered(&workers[0], 200);
    let mut new = admitted(&workers[1]);
    answered(&workers[0], 503);
    answered(&workers[0], 503);
    a_millisecond(&world);
    streams(&workers[1], &mut new);
    streams(&workers[1], &mut old);
    workers[1].tick();
    answered(&workers[0], 503);
    assert_eq!(state(&workers[0]), r#"{"a":"closed"}"#);
}

#[test]
fn a_stream_that_breaks_off_later_is_a_failure_at_its_time() {
    let (world, workers) = workers(Dialect::Envoy, 1);
    let worker = &workers[0];
    let mut running: Vec<Flow> = (0..3).map(|_| admitted(worker)).collect();
    for flow in &mut running {
        streams(worker, flow);
        a_millisecond(&world);
    }
    for flow in running {
        assert_eq!(state(worker), r#"{"a":"closed"}"#);
        worker.end(flow, Origin::BrokenOff);
    }
    assert_eq!(state(worker), r#"{"a":"open"}"#);
}

/// Its client has it as a 200: nothing else tells of it.
#[test]
fn an_answer_that_breaks_off_after_its_head_is_told_of_whatever_counts_as_a_failure() {
    let reported = |worker: &Breaker| {
        let lines = worker.telemetry.lines().into_iter();
        let lines = lines.filter(|line| line.contains("event=broken_off"));
        (
            metric(worker, "broken_off.breaker.a"),
            lines.collect::<Vec<_>>(),
        )
    };
    for failures in [
        r#""connection":true"#,
        r#""connection":false,"timeout":false"#,
    ] {
        let config =
            r#"{"breakers":[{"name":"a","trip":{"consecutive_failures":9},"failures":{}}]}"#
                .replace("{}", &format!("{{{failures}}}"));
        let world = World::new(Dialect::Envoy, 1);
        let worker: Breaker = world.worker(&config).unwrap();
        let mut expected = Vec::new();
        for (origin, cause) in [
            (Origin::BrokenOff, Some("connection")),
            (Origin::Reset, Some("connection")),
            (Origin::TimedOut, Some("timeout")),
            (Origin::Upstream, None),
            (Origin::ClientGone, None),
            (Origin::MaxDuration, None),
            (Origin::Idle, None),
        ] {
            let mut flow = admitted(&worker);
            streams(&worker, &mut flow);
            worker.end(flow, origin);
            let line =
                |cause| format!("plugin=circuit_breaker event=broken_off breaker=a cause={cause}");
            expected.extend(cause.map(line));
            assert_eq!(
                reported(&worker),
                (expected.len() as u64, expected.clone()),
                "{origin:?}"
            );
        }
        // Without a head it is an error that the client sees.
        worker.end(admitted(&worker), Origin::Reset);
        assert_eq!(reported(&worker).0, 3);
    }
}

#[test]
fn an_answer_of_another_filter_ends_no_row() {
    let (_, workers) = workers(Dialect::Envoy, 1);
    let worker = &workers[0];
    for _ in 0..3 {
        let mut flow = admitted(worker);
        worker.respond(&mut flow, 401, Origin::Gateway);
        answered(worker, 503);
    }
    assert_eq!(state(worker), r#"{"a":"open"}"#);
}

#[test]
fn streams_that_break_off_one_after_the_other_open_it_on_whichever_worker() {
    for count in [1, 2] {
        for dialect in Dialect::BOTH {
            let (world, workers) = workers(dialect, count);
            for round in 0..3 {
                assert_eq!(state(&workers[0]), r#"{"a":"closed"}"#, "{round}");
                let worker = &workers[round % count];
                let mut flow = admitted(worker);
                streams(worker, &mut flow);
                a_millisecond(&world);
                worker.end(flow, Origin::BrokenOff);
            }
            assert_eq!(state(&workers[0]), r#"{"a":"open"}"#, "{count}");
        }
    }
}

#[test]
fn a_stream_that_goes_on_keeps_it_closed_whatever_others_break_off() {
    for dialect in Dialect::BOTH {
        let (world, workers) = workers(dialect, 2);
        let mut running = Vec::new();
        for round in 0..20 {
            let (breaks, goes_on) = (&workers[round % 2], &workers[round / 2 % 2]);
            let (mut broken, mut good) = (admitted(breaks), admitted(goes_on));
            streams(breaks, &mut broken);
            a_millisecond(&world);
            streams(goes_on, &mut good);
            running.push(good);
            a_millisecond(&world);
            breaks.end(broken, Origin::BrokenOff);
            assert_eq!(state(&workers[0]), r#"{"a":"closed"}"#, "{round}");
        }
    }
}
