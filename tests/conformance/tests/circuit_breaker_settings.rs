//! `circuit_breaker`, row by row: ratios, back-off, gRPC, what is forced, and what is shown.

use portcullis_circuit_breaker::CircuitBreaker;
use portcullis_conformance::{START_UNIX_SECS, Sent, Subject, Then, everywhere};
use serde_json::{Value, json};

fn breaker(settings: &str) -> String {
    format!(r#"{{"breakers":[{{"name":"b",{settings}}}],"status":{{"path":"/breakers"}}}}"#)
}

fn get() -> Sent {
    Sent::get("/x")
}

fn shown(subject: &mut dyn Subject, path: &str) -> Value {
    let seen = subject.ask(Sent::get(path));
    assert_eq!(seen.status(), 200);
    serde_json::from_str(&seen.body).expect("JSON")
}

fn state(subject: &mut dyn Subject) -> String {
    let shown = shown(subject, "/breakers");
    shown["b"].as_str().expect("a state").to_owned()
}

fn metric(subject: &mut dyn Subject, what: &str) -> u64 {
    subject.metric(&format!("circuit_breaker_{what}.breaker.b"))
}

/// A request whose response's head takes so long.
fn taking(subject: &mut dyn Subject, millis: u64, then: Then) {
    let (seen, handle) = subject.begin(get());
    assert_eq!(seen.refused, None);
    subject.advance_millis(millis);
    subject.finish(handle, then);
}

/// Two ticks later: by then all workers have told what was fine.
fn confirmed(subject: &mut dyn Subject) {
    subject.advance_millis(100);
    subject.tick();
}

#[test]
fn a_share_of_failures_opens_once_all_workers_have_had_their_tick() {
    let config =
        breaker(r#""trip":{"failure_ratio":{"above":0.5,"window":"30s","minimum_requests":6}}"#);
    everywhere::<CircuitBreaker>(&config, |subject| {
        for then in [200, 503, 200, 503, 200, 503].map(Then::Upstream) {
            subject.exchange(get(), then);
        }
        assert_eq!(state(subject), "closed", "half of six");
        subject.exchange(get(), Then::Upstream(503));
        subject.tick();
        assert_eq!(state(subject), "closed", "it is suspected");
        subject.advance_millis(100);
        subject.exchange(get(), Then::Upstream(503));
        assert_eq!(state(subject), "open", "the next failure finds it so, too");
        let all = shown(subject, "/breakers?verbose");
        assert_eq!(all["b"]["reason"], "failure_ratio");
        let opened = |line: &String| line.contains("event=opened");
        let lines = subject.logs();
        let line = lines.iter().find(|line| opened(line)).expect("a line");
        assert!(line.contains("reason=failure_ratio cause=status"), "{line}");
    });
}

#[test]
fn what_is_fine_is_told_with_the_tick_and_leaves_with_the_window() {
    let config =
        breaker(r#""trip":{"failure_ratio":{"above":0.5,"window":"10s","minimum_requests":4}}"#);
    everywhere::<CircuitBreaker>(&config, |subject| {
        for then in [503, 503, 503, 200].map(Then::Upstream) {
            subject.exchange(get(), then);
        }
        assert_eq!(state(subject), "closed", "three are known");
        subject.tick();
        confirmed(subject);
        assert_eq!(state(subject), "open", "a success brought the fourth");
    });
    everywhere::<CircuitBreaker>(&config, |subject| {
        for _ in 0..3 {
            subject.exchange(get(), Then::Upstream(503));
        }
        subject.advance_millis(10_000);
        subject.exchange(get(), Then::Upstream(200));
        subject.tick();
        let all = shown(subject, "/breakers?verbose");
        assert_eq!(
            all["b"]["failure_ratio"],
            json!({"requests": 1, "failures": 0})
        );
    });
}

#[test]
fn another_filters_answers_make_up_no_share() {
    let config =
        breaker(r#""trip":{"failure_ratio":{"above":0.5,"window":"10s","minimum_requests":4}}"#);
    everywhere::<CircuitBreaker>(&config, |subject| {
        for then in [Then::OtherFilter(403), Then::ClientGone, Then::BadBody] {
            subject.exchange(get().with("content-length", "9"), then);
        }
        subject.exchange(get(), Then::Upstream(200));
        subject.tick();
        let all = shown(subject, "/breakers?verbose");
        assert_eq!(all["b"]["failure_ratio"]["requests"], 1);
        let settled = ["admitted", "successes", "failures", "ignored"];
        assert_eq!(settled.map(|what| metric(subject, what)), [4, 1, 0, 3]);
    });
}

#[test]
fn a_share_of_slow_responses_opens_and_a_slow_probe_does_not_close() {
    let slow =
        r#""slow_ratio":{"above":0.5,"slower_than":"2s","window":"60s","minimum_requests":2}"#;
    let config = breaker(&format!(
        r#""trip":{{{slow}}},"open_for":{{"initial":"30s"}}"#
    ));
    everywhere::<CircuitBreaker>(&config, |subject| {
        taking(subject, 2_000, Then::Upstream(200));
        taking(subject, 2_100, Then::Upstream(200));
        subject.tick();
        assert_eq!(state(subject), "closed", "one of two");
        taking(subject, 5_000, Then::ClientGone);
        taking(subject, 2_100, Then::Upstream(200));
        confirmed(subject);
        assert_eq!(state(subject), "open");
        assert_eq!(metric(subject, "slow"), 2);
        subject.advance_millis(30_000);
        taking(subject, 2_001, Then::Upstream(200));
        assert_eq!(state(subject), "open");
        subject.advance_millis(30_000);
        taking(subject, 100, Then::Upstream(200));
        assert_eq!(state(subject), "closed");
    });
}

#[test]
fn a_client_that_sends_slowly_does_not_make_the_upstream_slow() {
    let config = breaker(
        r#""trip":{"slow_ratio":{"above":0.5,"slower_than":"2s","window":"60s","minimum_requests":2}}"#,
    );
    everywhere::<CircuitBreaker>(&config, |subject| {
        for _ in 0..4 {
            let (seen, handle) = subject.begin(get().with("content-length", "9"));
            assert_eq!(seen.refused, None);
            subject.advance_millis(5_000);
            subject.finish(handle, Then::Upstream(200));
        }
        assert_eq!(
            (state(subject).as_str(), metric(subject, "slow")),
            ("closed", 0)
        );
    });
}

#[test]
fn it_stays_open_longer_each_time() {
    let config = breaker(
        r#""trip":{"consecutive_failures":1},"open_for":{"initial":"10s","multiplier":2.5,"max":"1m"}"#,
    );
    everywhere::<CircuitBreaker>(&config, |subject| {
        for seconds in [10, 25, 60, 60] {
            subject.exchange(get(), Then::Upstream(503));
            let seen = subject.ask(get());
            let expected = seconds.to_string();
            assert_eq!(seen.header("retry-after"), Some(expected.as_str()));
            subject.advance_millis(seconds * 1_000 - 1);
            assert_eq!(subject.ask(get()).header("retry-after"), Some("1"));
            subject.advance_millis(1);
        }
        // Closed for as long as it was open: it starts again.
        subject.exchange(get(), Then::Upstream(200));
        assert_eq!(state(subject), "closed");
        subject.advance_millis(60_000);
        subject.exchange(get(), Then::Upstream(503));
        assert_eq!(subject.ask(get()).header("retry-after"), Some("10"));
    });
}

#[test]
fn jitter_takes_something_off() {
    let config =
        breaker(r#""trip":{"consecutive_failures":1},"open_for":{"initial":"1000s","jitter":0.5}"#);
    everywhere::<CircuitBreaker>(&config, |subject| {
        subject.exchange(get(), Then::Upstream(503));
        let seen = subject.ask(get());
        let seconds: u64 = seen
            .header("retry-after")
            .expect("it")
            .parse()
            .expect("one");
        assert!((500..=1_000).contains(&seconds), "{seconds}");
    });
}

#[test]
fn a_grpc_status_counts_of_a_grpc_request_only() {
    for (content_type, then, counts, on_kong) in [
        ("application/grpc", Then::Grpc(14), true, true),
        ("application/grpc+proto", Then::Grpc(4), true, true),
        ("application/grpc", Then::Grpc(5), false, false),
        ("application/grpc", Then::Grpc(0), false, false),
        // Kong shows no trailers.
        ("application/grpc", Then::GrpcTrailers(14), true, false),
        ("application/grpc", Then::GrpcTrailers(0), false, false),
        ("application/json", Then::Grpc(14), false, false),
        ("application/json", Then::GrpcTrailers(14), false, false),
    ] {
        let config = breaker(r#""trip":{"consecutive_failures":1}"#);
        everywhere::<CircuitBreaker>(&config, |subject| {
            let sent = Sent::get("/x").with("content-type", content_type);
            subject.exchange(sent, then);
            let expected = if subject.is_kong() { on_kong } else { counts };
            assert_eq!(
                state(subject) == "open",
                expected,
                "{content_type} {then:?}"
            );
        });
    }
}

#[test]
fn a_body_that_the_gateway_refuses_is_no_failure_and_one_that_was_sent_can_be() {
    let config = breaker(r#""trip":{"consecutive_failures":1}"#);
    for (name, value) in [("content-length", "9"), ("transfer-encoding", "chunked")] {
        for (then, expected) in [
            (Then::BadBody, "closed"),
            (Then::Upstream(200), "closed"),
            (Then::ConnectFailure, "open"),
            (Then::Timeout, "open"),
        ] {
            everywhere::<CircuitBreaker>(&config, |subject| {
                subject.exchange(Sent::get("/x").with(name, value), then);
                assert_eq!(state(subject), expected, "{name} {then:?}");
            });
        }
    }
}

#[test]
fn forced_open_refuses_and_forced_closed_lets_pass() {
    let config = breaker(r#""trip":{"consecutive_failures":1},"force":"open""#);
    everywhere::<CircuitBreaker>(&config, |subject| {
        let seen = subject.ask(get());
        assert_eq!(
            (seen.status(), seen.header("retry-after")),
            (503, Some("30"))
        );
        assert_eq!(state(subject), "open");
        assert_eq!(metric(subject, "state"), 2);
        assert_eq!(metric(subject, "rejected"), 1);
    });
    let config = breaker(r#""trip":{"consecutive_failures":1},"force":"closed""#);
    everywhere::<CircuitBreaker>(&config, |subject| {
        for _ in 0..3 {
            assert_eq!(subject.exchange(get(), Then::Upstream(503)).refused, None);
        }
        assert_eq!(state(subject), "closed");
        assert_eq!(metric(subject, "failures"), 3);
    });
}

#[test]
fn verbose_shows_counts_since_when_and_when_it_will_probe() {
    let config = breaker(r#""trip":{"consecutive_failures":2}"#);
    everywhere::<CircuitBreaker>(&config, |subject| {
        assert_eq!(shown(subject, "/breakers"), json!({"b": "closed"}));
        subject.exchange(get(), Then::Upstream(503));
        assert_eq!(
            shown(subject, "/breakers?verbose")["b"],
            json!({"state": "closed", "mode": "enforce", "consecutive_failures": 1})
        );
        subject.exchange(get(), Then::Upstream(503));
        subject.advance_millis(10_000);
        assert_eq!(
            shown(subject, "/breakers?a=b&verbose=1")["b"],
            json!({
                "state": "open", "mode": "enforce", "reason": "consecutive_failures",
                "since": START_UNIX_SECS, "probe_at": START_UNIX_SECS + 30, "retry_after": 20
            })
        );
    });
}
