//! `circuit_breaker`, row by row: what others than the upstream bring about opens it for nobody.

use portcullis_circuit_breaker::CircuitBreaker;
use portcullis_conformance::{Sent, Subject, Then, everywhere};

const CONFIG: &str = r#"{
    "breakers":[{"name":"model","trip":{"consecutive_failures":3},"open_for":{"initial":"30s"},
        "half_open":{"probe_lease":"35s"}}],
    "status":{"path":"/breakers"}}"#;

const RATIO: &str = r#"{
    "breakers":[{"name":"model",
        "trip":{"failure_ratio":{"above":0.5,"window":"10s","minimum_requests":4}}}],
    "status":{"path":"/breakers"}}"#;

fn post() -> Sent {
    Sent::new("POST", "/generate").with_body(12)
}

fn state(subject: &mut dyn Subject) -> String {
    let seen = subject.ask(Sent::get("/breakers"));
    let states: serde_json::Value = serde_json::from_str(&seen.body).expect("JSON");
    states["model"].as_str().expect("a state").to_owned()
}

fn half_open(subject: &mut dyn Subject) {
    for _ in 0..3 {
        subject.exchange(post(), Then::Upstream(503));
    }
    assert_eq!(state(subject), "open");
    subject.advance_millis(30_000);
}

#[test]
fn a_deadline_that_the_client_chose_is_no_failure_of_the_upstream() {
    for (name, value) in [
        ("grpc-timeout", "1m"),
        ("x-envoy-upstream-rq-timeout-ms", "1"),
        ("x-envoy-upstream-rq-per-try-timeout-ms", "1"),
        ("x-envoy-expected-rq-timeout-ms", "1"),
    ] {
        for then in [
            Then::Timeout,
            Then::HangsForLong,
            Then::Resets,
            Then::Grpc(4),
            Then::GrpcTrailers(4),
            Then::Upstream(504),
        ] {
            everywhere::<CircuitBreaker>(CONFIG, |subject| {
                for _ in 0..5 {
                    let sent = post().with("content-type", "application/grpc");
                    let (_, handle) = subject.begin(sent.with(name, value));
                    subject.send_body(handle);
                    subject.advance_millis(2);
                    subject.finish(handle, then);
                }
                assert_eq!(state(subject), "closed", "{name} {then:?}");
            });
        }
    }
}

#[test]
fn a_timeout_before_the_clients_deadline_is_the_upstreams() {
    for value in ["30S", "99999999H", "0x1m", "1", ""] {
        everywhere::<CircuitBreaker>(CONFIG, |subject| {
            for _ in 0..3 {
                let (_, handle) = subject.begin(Sent::get("/").with("grpc-timeout", value));
                subject.advance_millis(15_000);
                subject.finish(handle, Then::Timeout);
            }
            assert_eq!(state(subject), "open", "{value:?}");
        });
    }
}

#[test]
fn a_client_that_does_not_send_on_says_nothing_of_the_upstream() {
    for then in [Then::NeverSent, Then::BadBody] {
        everywhere::<CircuitBreaker>(CONFIG, |subject| {
            for _ in 0..5 {
                assert_eq!(subject.exchange(post(), then).refused, None);
            }
            assert_eq!(state(subject), "closed", "{then:?}");
            assert_eq!(subject.metric("circuit_breaker_ignored.breaker.model"), 5);
        });
    }
}

#[test]
fn streams_that_run_are_successes_by_their_heads() {
    everywhere::<CircuitBreaker>(CONFIG, |subject| {
        let mut running = Vec::new();
        for _ in 0..5 {
            subject.exchange(post(), Then::Upstream(503));
            for _ in 0..5 {
                let (_, handle) = subject.begin(Sent::get("/events"));
                subject.head(handle, 200);
                running.push(handle);
            }
            subject.advance_millis(1);
            assert_eq!(state(subject), "closed");
        }
        for handle in running {
            subject.finish(handle, Then::ClientGone);
        }
        for _ in 0..3 {
            assert_eq!(state(subject), "closed");
            subject.exchange(post(), Then::Upstream(503));
        }
        assert_eq!(state(subject), "open");
    });
}

#[test]
fn streams_that_break_off_one_after_the_other_behind_their_heads_are_failures_in_a_row() {
    everywhere::<CircuitBreaker>(CONFIG, |subject| {
        let running: Vec<_> = (0..3)
            .map(|_| subject.begin(Sent::get("/events")).1)
            .collect();
        for handle in &running {
            subject.head(*handle, 200);
        }
        for handle in running {
            subject.advance_millis(1);
            subject.finish(handle, Then::BreaksOff);
        }
        // Kong does not tell of it.
        let expected = if subject.is_kong() { "closed" } else { "open" };
        assert_eq!(state(subject), expected);
    });
}

#[test]
fn streams_that_begin_and_break_off_one_after_the_other_are_failures_in_a_row() {
    everywhere::<CircuitBreaker>(CONFIG, |subject| {
        for _ in 0..3 {
            assert_eq!(state(subject), "closed");
            let (_, handle) = subject.begin(Sent::get("/events"));
            subject.head(handle, 200);
            subject.advance_millis(1);
            subject.finish(handle, Then::BreaksOff);
        }
        let expected = if subject.is_kong() { "closed" } else { "open" };
        assert_eq!(state(subject), expected);
    });
}

#[test]
fn a_stream_that_goes_on_ends_a_row_for_good_whatever_others_break_off() {
    everywhere::<CircuitBreaker>(CONFIG, |subject| {
        for _ in 0..10 {
            let (_, breaks) = subject.begin(Sent::get("/events"));
            subject.head(breaks, 200);
            let (_, runs) = subject.begin(Sent::get("/events"));
            subject.head(runs, 200);
            subject.advance_millis(1);
            subject.finish(breaks, Then::BreaksOff);
            assert_eq!(state(subject), "closed");
        }
    });
}

#[test]
fn a_success_that_was_under_way_before_a_failure_ends_the_row_when_its_head_comes() {
    everywhere::<CircuitBreaker>(CONFIG, |subject| {
        let early: Vec<_> = (0..4).map(|_| subject.begin(Sent::get("/")).1).collect();
        for handle in early {
            subject.exchange(post(), Then::Upstream(503));
            subject.exchange(post(), Then::Upstream(503));
            subject.finish(handle, Then::Upstream(200));
        }
        assert_eq!(state(subject), "closed");
    });
}

#[test]
fn a_probe_whose_body_never_comes_keeps_nobody_out() {
    for next in [Sent::get("/"), post()] {
        everywhere::<CircuitBreaker>(CONFIG, |subject| {
            half_open(subject);
            let (never, slow) = subject.begin(post());
            assert_eq!(never.refused, None);
            let (seen, probe) = subject.begin(next.clone());
            assert_eq!(seen.refused, None, "{next:?}");
            subject.finish(probe, Then::Upstream(200));
            assert_eq!(state(subject), "closed");
            // It was heard no more.
            subject.finish(slow, Then::NeverSent);
            assert_eq!(state(subject), "closed");
        });
    }
}

#[test]
fn a_probe_that_has_come_whole_has_its_permit_for_good() {
    everywhere::<CircuitBreaker>(CONFIG, |subject| {
        half_open(subject);
        let (_, slow) = subject.begin(post());
        let (_, probe) = subject.begin(post());
        subject.send_body(slow);
        subject.send_body(probe);
        assert_eq!(subject.ask(Sent::get("/")).status(), 503);
        assert_eq!(subject.ask(post()).status(), 503);
        // The first has lost it: what comes of it changes nothing.
        subject.finish(slow, Then::Upstream(500));
        assert_eq!(state(subject), "half_open");
        subject.finish(probe, Then::Upstream(200));
        assert_eq!(state(subject), "closed");
    });
}

#[test]
fn a_share_opens_when_it_is_exceeded_for_certain() {
    everywhere::<CircuitBreaker>(RATIO, |subject| {
        for _ in 0..3 {
            subject.exchange(post(), Then::Upstream(503));
            subject.exchange(post(), Then::Upstream(200));
        }
        subject.exchange(post(), Then::Upstream(503));
        assert_eq!(state(subject), "closed", "it is suspected");
        subject.advance_millis(100);
        subject.tick();
        assert_eq!(state(subject), "open");
    });
}
