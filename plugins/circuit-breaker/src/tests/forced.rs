use super::*;

fn forced(how: &str) -> Breaker {
    breaker(&ONE.replace(r#""name":"a""#, &format!(r#""name":"a","force":"{how}""#)))
}

#[test]
fn forced_open_refuses_everything_and_looks_at_nothing() {
    let worker = forced("open");
    for _ in 0..3 {
        let reply = refused(&worker, "/x");
        assert_eq!(reply.status, 503);
        assert_eq!(header(&reply, "retry-after"), Some("30"));
    }
    half_a_minute(&worker);
    assert_eq!(refused(&worker, "/x").status, 503);
    assert_eq!(state(&worker), r#"{"a":"open"}"#);
    assert_eq!(metric(&worker, "state.breaker.a"), 2);
    assert_eq!(metric(&worker, "rejected.breaker.a"), 4);
    assert_eq!((worker.store.0.reads(), worker.store.0.writes()), (0, 0));
    assert_eq!(
        worker.telemetry.lines()[0],
        "plugin=circuit_breaker event=refused breaker=a reason=forced retry_after=30"
    );
}

#[test]
fn forced_closed_lets_everything_pass_and_only_counts() {
    let worker = forced("closed");
    for _ in 0..9 {
        answered(&worker, 503);
    }
    answered(&worker, 200);
    assert_eq!(state(&worker), r#"{"a":"closed"}"#);
    let of = |what: &str| metric(&worker, &format!("{what}.breaker.a"));
    assert_eq!(
        (of("admitted"), of("failures"), of("successes")),
        (10, 9, 1)
    );
    assert_eq!((worker.store.0.reads(), worker.store.0.writes()), (0, 0));
    assert!(worker.telemetry.lines().is_empty());
}

#[test]
fn a_breaker_that_is_no_longer_forced_goes_on_where_it_was() {
    let world = world();
    trip(&world.worker(ONE).unwrap());
    let closed = ONE.replace(r#""name":"a""#, r#""name":"a","force":"closed""#);
    let worker: Breaker = world.worker(&closed).unwrap();
    assert_eq!(metric(&worker, "state.breaker.a"), 0);
    answered(&worker, 200);
    let worker: Breaker = world.worker(ONE).unwrap();
    assert_eq!(state(&worker), r#"{"a":"open"}"#);
}

#[test]
fn forced_open_in_shadow_counts_what_it_would_have_refused() {
    let config = ONE.replace(
        r#""name":"a""#,
        r#""name":"a","force":"open","mode":"shadow""#,
    );
    let worker = breaker(&config);
    answered(&worker, 200);
    assert_eq!(metric(&worker, "shadow_rejected.breaker.a"), 1);
    assert_eq!(metric(&worker, "rejected.breaker.a"), 0);
}
