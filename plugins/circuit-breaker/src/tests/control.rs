use portcullis_policy::{Command, Controlled as _, Failed, Turn};
use serde_json::Value;

use super::*;

const BREAKER: &str = r#"{"breakers":[{"name":"a","trip":{"consecutive_failures":2}}],
    "status":{"path":"/status"},"control":{"path":"/control","token":{"value":"0123456789abcdef0123456789abcdef"}}}"#;

const TEN: Span = Span::from_secs(600);

fn turn(worker: &Breaker, turn: Turn) -> Result<Value, Failed> {
    carry_out(
        worker,
        Command::Turn {
            breaker: "a".to_owned(),
            turn,
        },
    )
}

fn carry_out(worker: &Breaker, command: Command) -> Result<Value, Failed> {
    let ports = worker.ports();
    let answer = worker.policy.carry_out(&command, &ports).unwrap()?;
    Ok(answer.shown["circuit_breaker"]["a"].clone())
}

#[test]
fn what_one_worker_is_told_holds_for_all_at_once() {
    for dialect in Dialect::BOTH {
        let world = World::new(dialect, 1);
        let [one, other]: [Breaker; 2] = [(); 2].map(|()| world.worker(BREAKER).unwrap());
        turn(&one, Turn::HoldOpen(TEN)).unwrap();
        let reply = refused(&other, "/x");
        assert_eq!(
            (reply.status, header(&reply, "retry-after")),
            (503, Some("600"))
        );
        turn(&other, Turn::HoldClosed(TEN)).unwrap();
        for _ in 0..5 {
            answered(&one, 503);
        }
        assert_eq!(state(&other), r#"{"a":"closed"}"#);
        turn(&one, Turn::Release).unwrap();
        trip(&other);
        assert_eq!(refused(&one, "/x").status, 503);
        turn(&one, Turn::Close).unwrap();
        admitted(&other);
        turn(&other, Turn::Open).unwrap();
        assert_eq!(refused(&one, "/x").status, 503);
        world.clock.advance(Span::from_secs(30));
        answered(&one, 200);
        assert_eq!(
            state(&other),
            r#"{"a":"closed"}"#,
            "{dialect:?}: a probe closed it"
        );
    }
}

#[test]
fn a_hold_is_over_when_its_time_is_and_what_was_before_goes_on() {
    let worker = breaker(BREAKER);
    answered(&worker, 503);
    let shown = turn(&worker, Turn::HoldOpen(TEN)).unwrap();
    assert_eq!(
        (&shown["state"], &shown["forced"]),
        (&"open".into(), &true.into())
    );
    assert_eq!(
        shown["forced_until"],
        worker.clock.read().after(TEN).unix_secs()
    );
    assert_eq!(metric(&worker, "state.breaker.a"), 2);
    worker.clock.advance(Span::from_secs(590));
    assert_eq!(header(&refused(&worker, "/x"), "retry-after"), Some("10"));
    worker.clock.advance(Span::from_secs(10));
    let flow = admitted(&worker);
    worker.end(flow, Origin::ClientGone);
    assert_eq!(metric(&worker, "state.breaker.a"), 0);
    let until = worker.clock.read().unix_secs();
    let lines = worker.telemetry.lines();
    let reported: Vec<_> = lines
        .iter()
        .filter(|line| !line.contains("event=refused"))
        .collect();
    assert_eq!(
        reported,
        [
            &format!(
                "plugin=circuit_breaker event=forced breaker=a to=open until={until} reason=control"
            ),
            "plugin=circuit_breaker event=released breaker=a reason=time_over",
        ]
    );
    // The failure before the hold is still in the row.
    answered(&worker, 503);
    assert_eq!(state(&worker), r#"{"a":"open"}"#);
}

#[test]
fn a_hold_is_over_by_a_tick_where_no_request_comes() {
    let world = World::new(Dialect::Kong, 1);
    let [one, other]: [Breaker; 2] = [(); 2].map(|()| world.worker(BREAKER).unwrap());
    turn(&one, Turn::HoldOpen(Span::from_secs(1))).unwrap();
    turn(&other, Turn::HoldOpen(Span::from_secs(3))).unwrap();
    for (tick, gauge) in [(999, 2), (1, 2), (1999, 2), (1, 0)] {
        world.clock.advance(Span::from_millis(tick));
        one.tick();
        assert_eq!(metric(&one, "state.breaker.a"), gauge);
    }
    let over = one.telemetry.lines();
    let over = over.iter().filter(|line| line.contains("event=released"));
    assert_eq!(over.count(), 1);
    let reads = one.store.0.reads();
    one.tick();
    assert_eq!(
        one.store.0.reads(),
        reads,
        "and then it is no more looked after"
    );
    trip(&other);
    turn(&other, Turn::HoldClosed(Span::from_secs(1))).unwrap();
    assert_eq!(metric(&other, "state.breaker.a"), 0);
    world.clock.advance(Span::from_secs(1));
    other.tick();
    assert_eq!(
        metric(&other, "state.breaker.a"),
        2,
        "it is open as it was before"
    );
}

#[test]
fn a_clock_that_is_set_back_does_not_prolong_a_hold() {
    let worker = breaker(BREAKER);
    turn(&worker, Turn::HoldOpen(TEN)).unwrap();
    worker
        .clock
        .set(worker.clock.read().before(Span::from_secs(601)));
    let flow = admitted(&worker);
    worker.end(flow, Origin::Unknown);
}

#[test]
fn an_open_breaker_that_is_held_closed_is_open_again_when_it_is_released() {
    let worker = breaker(BREAKER);
    trip(&worker);
    turn(&worker, Turn::HoldClosed(TEN)).unwrap();
    answered(&worker, 200);
    assert_eq!(state(&worker), r#"{"a":"closed"}"#);
    turn(&worker, Turn::Release).unwrap();
    assert_eq!(state(&worker), r#"{"a":"open"}"#);
    half_a_minute(&worker);
    answered(&worker, 200);
    assert_eq!(state(&worker), r#"{"a":"closed"}"#);
}

#[test]
fn closing_forgets_what_was_seen_and_opening_waits_like_a_trip() {
    let worker = breaker(BREAKER);
    answered(&worker, 503);
    turn(&worker, Turn::Close).unwrap();
    answered(&worker, 503);
    assert_eq!(state(&worker), r#"{"a":"closed"}"#, "the row began anew");
    let shown = turn(&worker, Turn::Open).unwrap();
    assert_eq!(
        (&shown["state"], &shown["reason"]),
        (&"open".into(), &"control".into())
    );
    assert_eq!(shown["retry_after"], 30);
    turn(&worker, Turn::HoldOpen(TEN)).unwrap();
    let shown = turn(&worker, Turn::Close).unwrap();
    assert_eq!(
        (&shown["state"], shown.get("forced")),
        (&"closed".into(), None),
        "and the hold is over"
    );
    let of = |to: &str| metric(&worker, &format!("transitions.breaker.a.to.{to}"));
    assert_eq!((of("open"), of("closed")), (1, 2));
    assert!(
        worker.telemetry.lines().contains(
            &"plugin=circuit_breaker event=opened breaker=a from=closed to=open reason=control"
                .to_owned()
        )
    );
}

#[test]
fn what_the_configuration_forces_is_not_turned_and_what_is_not_there_is_named() {
    for (how, detail) in [
        (
            r#""force":"open""#,
            "it is forced open by the configuration",
        ),
        (
            r#""force":"closed""#,
            "it is forced closed by the configuration",
        ),
        (r#""mode":"off""#, "it is off by the configuration"),
    ] {
        let worker = breaker(&BREAKER.replace(r#""name":"a""#, &format!(r#""name":"a",{how}"#)));
        for turned in [Turn::Open, Turn::Close, Turn::HoldOpen(TEN), Turn::Release] {
            let failed = turn(&worker, turned).unwrap_err();
            assert_eq!(failed, Failed::Conflict(detail.to_owned()));
        }
        assert_eq!(worker.store.0.writes(), 0);
    }
    let worker = breaker(BREAKER);
    let failed = carry_out(&worker, Command::Breaker("b".to_owned())).unwrap_err();
    let detail = "\"b\" is no breaker here; there is a".to_owned();
    assert_eq!(failed, Failed::Unknown(detail));
    worker.store.0.fail_after(Some(0));
    let failed = turn(&worker, Turn::Open).unwrap_err();
    assert_eq!(failed, Failed::Unavailable("store_unavailable"));
    assert_eq!(metric(&worker, "errors.reason.store_unavailable"), 1);
}

#[test]
fn the_control_path_is_not_the_status_path() {
    let config = BREAKER.replace(r#""/control""#, r#""/status/""#);
    let error = world().worker::<CircuitBreaker>(&config).err().unwrap();
    assert_eq!(
        error.to_string(),
        "control.path: \"/status\" is the path of `status` too; expected another"
    );
}
