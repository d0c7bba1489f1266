use portcullis_policy::GrpcStatus;

use super::*;

#[test]
fn a_healthy_upstream_costs_one_read_a_request_and_no_write() {
    let worker = breaker(ONE);
    let reads = worker.store.0.reads();
    for _ in 0..5 {
        answered(&worker, 200);
    }
    assert_eq!(worker.store.0.reads() - reads, 5);
    assert_eq!(worker.store.0.writes(), 0);
    assert!(worker.telemetry.lines().is_empty());
}

#[test]
fn failures_in_a_row_open_and_the_transition_is_told_once() {
    let worker = breaker(ONE);
    answered(&worker, 500);
    answered(&worker, 200);
    answered(&worker, 502);
    assert_eq!(state(&worker), r#"{"a":"closed"}"#);
    answered(&worker, 504);
    assert_eq!(state(&worker), r#"{"a":"open"}"#);
    assert_eq!(metric(&worker, "failures.breaker.a"), 3);
    assert_eq!(metric(&worker, "transitions.breaker.a.to.open"), 1);
    assert_eq!(metric(&worker, "state.breaker.a"), 2);
    assert_eq!(
        worker.telemetry.lines(),
        [
            "plugin=circuit_breaker event=opened breaker=a from=closed to=open \
          reason=consecutive_failures cause=status"
        ]
    );
}

#[test]
fn open_refuses_by_one_read_with_the_seconds_that_are_left() {
    let worker = breaker(ONE);
    trip(&worker);
    worker.clock.advance(Span::from_millis(500));
    let (reads, writes) = (worker.store.0.reads(), worker.store.0.writes());
    let reply = refused(&worker, "/x");
    assert_eq!(worker.store.0.reads() - reads, 1);
    assert_eq!(worker.store.0.writes(), writes);
    assert_eq!(reply.status, 503);
    assert_eq!(header(&reply, "retry-after"), Some("30"));
    assert!(reply.body.contains("urn:portcullis:problem/circuit-open"));
    assert_eq!(metric(&worker, "rejected.breaker.a"), 1);
    assert_eq!(
        worker.telemetry.lines().last().unwrap(),
        "plugin=circuit_breaker event=refused breaker=a reason=open retry_after=30"
    );
}

#[test]
fn a_refusal_speaks_grpc_and_its_line_has_the_requests_id() {
    let worker = breaker(ONE);
    trip(&worker);
    let headers = [
        (":method", "POST"),
        (":path", "/x"),
        ("content-type", "application/grpc"),
        ("x-request-id", "id-1"),
    ];
    let Answer::Refused(reply) = worker.request("10.0.0.1", &headers).0 else {
        panic!("passed");
    };
    assert_eq!(reply.grpc, Some(GrpcStatus::Unavailable));
    assert!(
        worker
            .telemetry
            .lines()
            .last()
            .unwrap()
            .ends_with("request_id=id-1")
    );
}

#[test]
fn a_probe_that_succeeds_closes_and_one_that_fails_opens_again() {
    for (status, after, line) in [
        (
            200,
            r#"{"a":"closed"}"#,
            "event=closed breaker=a from=half_open to=closed reason=probes_succeeded",
        ),
        (
            503,
            r#"{"a":"open"}"#,
            "event=opened breaker=a from=half_open to=open reason=probe_failed cause=status",
        ),
    ] {
        let worker = breaker(ONE);
        trip(&worker);
        half_a_minute(&worker);
        let mut probe = admitted(&worker);
        assert_eq!(metric(&worker, "state.breaker.a"), 1);
        assert_eq!(header(&refused(&worker, "/x"), "retry-after"), Some("1"));
        worker.respond(&mut probe, status, Origin::Upstream);
        assert!(all_settled(&probe));
        assert_eq!(state(&worker), after);
        assert!(worker.telemetry.lines().last().unwrap().ends_with(line));
        // What comes after the head does not count again.
        worker.end(probe, Origin::BrokenOff);
        assert_eq!(state(&worker), after);
    }
}

#[test]
fn a_probe_that_vanished_costs_its_lease_and_no_more() {
    let worker = breaker(ONE);
    trip(&worker);
    half_a_minute(&worker);
    let _lost = admitted(&worker);
    worker.clock.advance(Span::from_secs(34));
    refused(&worker, "/x");
    worker.clock.advance(Span::from_secs(1));
    let mut probe = admitted(&worker);
    refused(&worker, "/x");
    worker.respond(&mut probe, 200, Origin::Upstream);
    assert_eq!(state(&worker), r#"{"a":"closed"}"#);
}

/// A model whose heads take longer than a lease closes it all the same, and one that hangs for longer
/// opens it again.
#[test]
fn a_probe_that_comes_after_its_lease_is_heard() {
    for (status, after) in [(200, "closed"), (503, "open")] {
        let worker = breaker(ONE);
        trip(&worker);
        half_a_minute(&worker);
        let mut slow = admitted(&worker);
        worker.clock.advance(Span::from_secs(35));
        let mut second = admitted(&worker);
        refused(&worker, "/x");
        worker.clock.advance(Span::from_secs(10));
        worker.respond(&mut slow, status, Origin::Upstream);
        assert_eq!(state(&worker), format!(r#"{{"a":"{after}"}}"#));
        // The other is of before that.
        worker.respond(&mut second, 503, Origin::Upstream);
        assert_eq!(state(&worker), format!(r#"{{"a":"{after}"}}"#));
    }
}

#[test]
fn answers_from_before_the_trip_do_not_count() {
    let worker = breaker(ONE);
    let (mut early, mut good) = (admitted(&worker), admitted(&worker));
    trip(&worker);
    half_a_minute(&worker);
    let mut probe = admitted(&worker);
    worker.respond(&mut early, 503, Origin::Upstream);
    worker.respond(&mut good, 200, Origin::Upstream);
    assert_eq!(state(&worker), r#"{"a":"half_open"}"#);
    worker.respond(&mut probe, 200, Origin::Upstream);
    assert_eq!(state(&worker), r#"{"a":"closed"}"#);
}

#[test]
fn all_breakers_that_match_must_admit() {
    let worker = breaker(TWO);
    let (_, mut flow) = ask(&worker, "/search/a");
    worker.respond(&mut flow, 503, Origin::Upstream);
    assert_eq!(state(&worker), r#"{"all":"closed","search":"open"}"#);
    assert_eq!(refused(&worker, "/search").status, 503);
    assert_eq!(metric(&worker, "rejected.breaker.all"), 0);
    assert_eq!(metric(&worker, "rejected.breaker.search"), 1);
    assert_eq!(ask(&worker, "/other").0.status(), 200);
    // Two readings: nobody's.
    assert_eq!(ask(&worker, "//search").0.status(), 200);
}

#[test]
fn a_permit_is_given_back_when_a_later_breaker_refuses() {
    let worker = breaker(&TWO.replace(
        r#""name":"all","trip":{"consecutive_failures":3}"#,
        r#""name":"all","trip":{"consecutive_failures":1},"open_for":{"initial":"1s"}"#,
    ));
    let (_, mut flow) = ask(&worker, "/search");
    worker.respond(&mut flow, 503, Origin::Upstream);
    worker.clock.advance(Span::from_secs(1));
    assert_eq!(refused(&worker, "/search").status, 503);
    assert_eq!(state(&worker), r#"{"all":"half_open","search":"open"}"#);
    assert_eq!(ask(&worker, "/other").0.status(), 200);
}

#[test]
fn the_state_survives_a_new_configuration_and_the_gauge_shows_it() {
    let world = world();
    let worker: Breaker = world.worker(ONE).unwrap();
    assert_eq!(metric(&worker, "state.breaker.a"), 0);
    trip(&worker);
    let more = ONE.replace(
        r#"[{"name":"a""#,
        r#"[{"name":"b","trip":{"consecutive_failures":9}},{"name":"a""#,
    );
    let worker: Breaker = world.worker(&more).unwrap();
    assert_eq!(state(&worker), r#"{"b":"closed","a":"open"}"#);
    assert_eq!(metric(&worker, "state.breaker.a"), 2);
    assert_eq!(metric(&worker, "state.breaker.b"), 0);
}

#[test]
fn names_that_kong_takes_for_one_another_are_refused() {
    let config = r#"{"breakers":[
        {"name":"plumless","trip":{"consecutive_failures":2}},
        {"name":"buckeroo","trip":{"consecutive_failures":2}}]}"#;
    let error = world().worker::<CircuitBreaker>(config).err();
    assert_eq!(
        error.unwrap().to_string(),
        "breakers: Kong takes \"portcullis/breaker/plumless\" and \"portcullis/breaker/buckeroo\" \
         for one (equal CRC32); rename a breaker"
    );
    let worker = breaker(ONE);
    let names: Vec<&str> = worker.policy.slot_names().collect();
    assert_eq!(names, ["portcullis/breaker/a"]);
}

/// Several gateways that have opened together do not come back together.
#[test]
fn how_long_it_stays_open_is_drawn_where_there_is_a_jitter() {
    let opened = |jitter: &str| {
        let config = ONE.replace(
            r#""trip""#,
            &format!(r#""open_for":{{"initial":"100s"{jitter}}},"trip""#),
        );
        let waits = (0..20).map(|seed| {
            let world = World::new(Dialect::Envoy, seed);
            let worker: Breaker = world.worker_taking(&config, None, seed).unwrap();
            trip(&worker);
            let reply = refused(&worker, "/x");
            let reported = reply.headers.iter().find(|(name, _)| name == "retry-after");
            reported.unwrap().1.parse().unwrap()
        });
        waits.collect::<std::collections::BTreeSet<u64>>()
    };
    assert_eq!(opened("").into_iter().collect::<Vec<_>>(), [100]);
    let drawn = opened(r#","jitter":0.5"#);
    assert!(
        drawn.len() > 5 && drawn.iter().all(|wait| (50..=100).contains(wait)),
        "{drawn:?}"
    );
}
