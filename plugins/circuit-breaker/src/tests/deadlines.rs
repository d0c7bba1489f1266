//! Deadlines that the client chose, and bounds of the gateway that end what hangs.

use portcullis_policy::Policy as _;

use super::*;

fn waiting(worker: &Breaker, name: &str, value: &str) -> Flow {
    let headers = [
        (":method", "POST"),
        (":path", "/x"),
        ("content-type", "application/grpc"),
        (name, value),
    ];
    let (answer, flow) = worker.request("10.0.0.1", &headers);
    assert_eq!(answer.status(), 200);
    flow
}

#[test]
fn what_comes_of_a_deadline_that_the_client_chose_opens_nothing() {
    type Ends = fn(&Breaker, Flow);
    let ends: [Ends; 7] = [
        |worker, mut flow| {
            worker.respond(&mut flow, 504, Origin::TimedOut);
        },
        |worker, mut flow| {
            worker.respond(&mut flow, 504, Origin::MaxDuration);
        },
        |worker, flow| worker.end(flow, Origin::TimedOut),
        |worker, flow| worker.answer_grpc(flow, Some(4), None),
        |worker, flow| worker.answer_grpc(flow, None, Some(4)),
        |worker, mut flow| {
            worker.respond(&mut flow, 503, Origin::Reset);
        },
        |worker, mut flow| {
            worker.respond(&mut flow, 200, Origin::Upstream);
            worker.end(flow, Origin::BrokenOff);
        },
    ];
    for (name, value) in [
        ("grpc-timeout", "1m"),
        ("x-envoy-upstream-rq-timeout-ms", "1"),
        ("x-envoy-upstream-rq-per-try-timeout-ms", "1"),
    ] {
        for (case, end) in ends.into_iter().enumerate() {
            let worker = breaker(ONE);
            for _ in 0..5 {
                let flow = waiting(&worker, name, value);
                worker.clock.advance(Span::from_millis(1));
                end(&worker, flow);
            }
            assert_eq!(state(&worker), r#"{"a":"closed"}"#, "{name} {case}");
            assert_eq!(metric(&worker, "failures.breaker.a"), 0, "{name} {case}");
            // Before it is over, it is the gateway's or the upstream's.
            let worker = breaker(ONE);
            let (mut one, mut other) = (
                waiting(&worker, name, &value.replace('1', "2000")),
                waiting(&worker, name, &value.replace('1', "2000")),
            );
            worker.clock.advance(Span::from_millis(1_000));
            if case == 6 {
                // Heads first: each ends what came before it.
                worker.respond(&mut one, 200, Origin::Upstream);
                worker.respond(&mut other, 200, Origin::Upstream);
                worker.end(one, Origin::BrokenOff);
                worker.end(other, Origin::BrokenOff);
            } else if case == 4 {
                worker.answer_grpc(one, None, Some(4));
                assert_eq!(metric(&worker, "failures.breaker.a"), 1);
                continue;
            } else {
                end(&worker, one);
                end(&worker, other);
            }
            assert_eq!(state(&worker), r#"{"a":"open"}"#, "{name} {case}");
        }
    }
}

#[test]
fn a_deadline_that_can_not_be_read_is_none() {
    for value in ["", "1", "m", "123456789m", "soon"] {
        let worker = breaker(ONE);
        for _ in 0..2 {
            let mut flow = waiting(&worker, "grpc-timeout", value);
            worker.respond(&mut flow, 504, Origin::TimedOut);
        }
        assert_eq!(state(&worker), r#"{"a":"open"}"#, "{value:?}");
    }
}

#[test]
fn a_deadline_costs_a_clock_and_no_deadline_none() {
    struct NoClock;
    impl portcullis_policy::Clock for NoClock {
        fn monotonic(
            &self,
        ) -> Result<portcullis_policy::Timestamp, portcullis_policy::ClockUnavailable> {
            self.now()
        }
        fn now(&self) -> Result<portcullis_policy::Timestamp, portcullis_policy::ClockUnavailable> {
            Err(portcullis_policy::ClockUnavailable)
        }
    }
    let worker = breaker(ONE);
    let ports = portcullis_policy::Ports {
        clock: &NoClock,
        ..worker.ports()
    };
    let mut flow = waiting(&worker, "grpc-timeout", "1H");
    // What can't be measured counts for nothing.
    let end = End(Origin::TimedOut);
    worker.policy.on_end(&mut flow, &end, &ports);
    assert_eq!(metric(&worker, "ignored.breaker.a"), 1);
    assert_eq!(metric(&worker, "errors.reason.clock_unavailable"), 0);
}

#[test]
fn an_upstream_that_is_silent_fails_by_whichever_bound_ends_it_and_a_stream_that_runs_does_not() {
    for origin in [Origin::Idle, Origin::MaxDuration] {
        let worker = breaker(ONE);
        // After a head: it has lived long, or the client does not read on.
        for _ in 0..3 {
            let mut flow = admitted(&worker);
            worker.respond(&mut flow, 200, Origin::Upstream);
            worker.end(flow, origin);
        }
        // While the client was still sending.
        for _ in 0..3 {
            let headers = [
                (":method", "POST"),
                (":path", "/x"),
                ("content-length", "9"),
            ];
            let (_, mut flow) = worker.request("10.0.0.1", &headers);
            worker.respond(&mut flow, 408, origin);
            worker.end(flow, origin);
        }
        assert_eq!(metric(&worker, "failures.breaker.a"), 0, "{origin:?}");
        // Of a request that has come whole, without a body and with one.
        let mut flow = admitted(&worker);
        worker.respond(&mut flow, 504, origin);
        assert_eq!(metric(&worker, "failures.breaker.a"), 1, "{origin:?}");
        let headers = [
            (":method", "POST"),
            (":path", "/x"),
            ("content-length", "9"),
        ];
        let (_, mut flow) = worker.request("10.0.0.1", &headers);
        worker.policy.on_request_sent(&mut flow, &worker.ports());
        worker.end(flow, origin);
        assert_eq!(state(&worker), r#"{"a":"open"}"#, "{origin:?}");
    }
}
