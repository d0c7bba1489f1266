//! `rate_limit`: what is charged when the answer is known, row by row.

use portcullis_conformance::{Sent, Subject, Then, everywhere, token};
use portcullis_edge::Edge;
use portcullis_rate_limit::RateLimit;
use serde_json::json;

const FAILED: &str = r#"{"capacity":64,"limits":[{"name":"failed","key":["client_address"],"quota":3,"window":"10m",
    "cost":{"when":{"status":[401,403]}}}]}"#;

fn ask(subject: &mut dyn Subject, then: Then) -> Option<u16> {
    subject.exchange(Sent::get("/login"), then).refused
}

#[test]
fn only_such_answers_are_charged_and_once_they_are_too_many_nobody_passes() {
    everywhere::<RateLimit>(FAILED, |subject| {
        for _ in 0..10 {
            assert_eq!(ask(subject, Then::Upstream(200)), None);
            assert_eq!(ask(subject, Then::Upstream(500)), None);
        }
        for status in [401, 403, 401] {
            assert_eq!(ask(subject, Then::Upstream(200)), None);
            assert_eq!(ask(subject, Then::Upstream(status)), None);
        }
        assert_eq!(ask(subject, Then::Upstream(200)), Some(429));
        let other = Sent::get("/login").from("192.0.2.2");
        assert_eq!(subject.ask(other).refused, None);
        subject.advance_millis(600_000);
        assert_eq!(ask(subject, Then::Upstream(200)), None);
    });
}

#[test]
fn what_another_filter_answers_counts_as_well_and_what_the_gateway_could_not_serve_does_not() {
    everywhere::<RateLimit>(FAILED, |subject| {
        for _ in 0..3 {
            ask(subject, Then::OtherFilter(503));
            ask(subject, Then::OtherFilter(401));
        }
        assert_eq!(ask(subject, Then::Upstream(200)), Some(429));
    });
}

/// A gRPC client's refusal is a 200 with a status of its own.
#[test]
fn a_refusal_that_speaks_grpc_counts_as_the_status_that_it_stands_for() {
    everywhere::<RateLimit>(FAILED, |subject| {
        let grpc =
            || Sent::new("POST", "/rag.Search/Find").with("content-type", "application/grpc");
        for _ in 0..5 {
            assert_eq!(subject.exchange(grpc(), Then::Grpc(0)).refused, None);
            assert_eq!(subject.exchange(grpc(), Then::Grpc(13)).refused, None);
        }
        for status in [16, 7, 16] {
            assert_eq!(subject.exchange(grpc(), Then::Grpc(status)).refused, None);
        }
        assert!(subject.exchange(grpc(), Then::Grpc(0)).refused.is_some());
    });
}

#[test]
fn who_leaves_before_the_answer_has_tried() {
    everywhere::<RateLimit>(FAILED, |subject| {
        for _ in 0..3 {
            assert_eq!(ask(subject, Then::ClientGone), None);
        }
        assert_eq!(ask(subject, Then::Upstream(200)), Some(429));
    });
}

#[test]
fn so_many_at_a_time_may_try_and_the_answer_says_what_is_left() {
    everywhere::<RateLimit>(FAILED, |subject| {
        let begun: Vec<_> = (0..3).map(|_| subject.begin(Sent::get("/login"))).collect();
        assert!(begun.iter().all(|(seen, _)| seen.refused.is_none()));
        assert_eq!(ask(subject, Then::Upstream(200)), Some(429));
        let left = |headers: &[(String, String)]| {
            let mut named = headers.iter().filter(|(name, _)| name == "ratelimit");
            let (_, state) = named.next().expect("it is shown");
            let left = state.split(";r=").nth(1).expect("what is left");
            left.split(';').next().map(str::to_owned)
        };
        let handles: Vec<_> = begun.iter().map(|(_, handle)| *handle).collect();
        // As it was when they were admitted; one that is given back is not among them.
        for (handle, status, expected) in [(0, 401, "2"), (1, 200, "2"), (2, 200, "1")] {
            let answer = subject.finish(handles[handle], Then::Upstream(status));
            assert_eq!(left(&answer).as_deref(), Some(expected));
        }
        // One has failed: two more may.
        assert_eq!(ask(subject, Then::Upstream(401)), None);
        assert_eq!(ask(subject, Then::Upstream(401)), None);
        assert_eq!(ask(subject, Then::Upstream(401)), Some(429));
    });
}

/// In `edge` the token's own refusal is an answer, too: whoever guesses tokens is shut out, and whoever has one is not.
#[test]
fn in_edge_a_token_that_is_refused_is_charged() {
    let config = json!({
        "jwt_auth": {
            "providers": { "d": {
                "issuer": "https://auth.example", "audiences": ["rag-api"], "algorithms": ["HS256"],
                "keys": [{ "secret": { "env": "JWT_SECRET_KEY" } }],
            } },
            "rules": [{ "require": { "any_of": ["d"] } }],
        },
        "rate_limit": {
            "capacity": 64, "before_auth": ["guesses"],
            "limits": [{
                "name": "guesses", "key": ["client_address"], "quota": 3, "window": "10m",
                "cost": { "when": { "status": [401] } },
            }],
        },
    });
    everywhere::<Edge>(&config.to_string(), |subject| {
        let good = || Sent::get("/").with("authorization", &format!("Bearer {}", token::token()));
        for _ in 0..3 {
            assert_eq!(subject.ask(good()).refused, None);
            let guess = Sent::get("/").with("authorization", "Bearer a.b.c");
            assert_eq!(subject.ask(guess).refused, Some(401));
        }
        assert_eq!(subject.ask(good()).refused, Some(429));
        assert_eq!(subject.ask(good().from("192.0.2.2")).refused, None);
    });
}
