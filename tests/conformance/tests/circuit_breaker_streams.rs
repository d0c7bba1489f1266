//! `circuit_breaker`: answers that begin and then say nothing, row by row, on the hosts that show bodies.

use portcullis_circuit_breaker::CircuitBreaker;
use portcullis_conformance::{Handle, Sent, Subject, Then, module, where_bodies_are_shown};
use portcullis_sim::Dialect;
use portcullis_testhost::{Host, Request};

const EVENTS: [(&str, &str); 1] = [("content-type", "text/event-stream")];
const WORD: &[u8] = b"data: {\"choices\":[{\"delta\":{\"content\":\"word\"}}]}\n\n";

const STALL: &str = r#"{"breakers":[{"name":"model","trip":{"consecutive_failures":3},"failures":{"stall":"5s"}}]}"#;
const SLOW: &str = r#"{"breakers":[{"name":"model","trip":{"slow_first_token":{"above":0.5,"slower_than":"10s","window":"1m","minimum_requests":4}}}]}"#;

fn begun(subject: &mut dyn Subject) -> Option<Handle> {
    let (seen, handle) = subject.begin(Sent::get("/v1/chat"));
    match seen.refused {
        None => {
            subject.head_with(handle, 200, &EVENTS);
            Some(handle)
        }
        Some(status) => {
            assert_eq!(status, 503);
            subject.finish(handle, Then::Upstream(200));
            None
        }
    }
}

fn pass(subject: &mut dyn Subject, secs: u64) {
    for _ in 0..secs * 10 {
        subject.advance_millis(100);
        subject.tick();
    }
}

#[test]
fn a_model_that_answers_at_once_and_then_says_nothing_opens_its_breaker() {
    where_bodies_are_shown::<CircuitBreaker>(STALL, |subject| {
        let streams: Vec<_> = (0..3).map(|_| begun(subject).unwrap()).collect();
        pass(subject, 5);
        let steady = begun(subject).expect("it is closed");
        subject.finish(steady, Then::ClientGone);
        pass(subject, 1);
        assert!(begun(subject).is_none());
        assert_eq!(subject.metric("circuit_breaker_stalled.breaker.model"), 3);
        for handle in streams {
            subject.finish(handle, Then::Upstream(200));
        }
    });
}

#[test]
fn one_that_is_slow_and_steady_does_not() {
    where_bodies_are_shown::<CircuitBreaker>(STALL, |subject| {
        let streams: Vec<_> = (0..3).map(|_| begun(subject).unwrap()).collect();
        for _ in 0..10 {
            pass(subject, 4);
            for handle in &streams {
                subject.answer_part(*handle, WORD);
            }
        }
        for handle in streams {
            subject.finish(handle, Then::Upstream(200));
        }
        let next = begun(subject).expect("it is closed");
        subject.finish(next, Then::Upstream(200));
    });
}

#[test]
fn the_first_token_counts_and_not_the_head() {
    where_bodies_are_shown::<CircuitBreaker>(SLOW, |subject| {
        let streams: Vec<_> = (0..4).map(|_| begun(subject).unwrap()).collect();
        for handle in &streams {
            subject.answer_part(*handle, b": ping\n\n");
        }
        pass(subject, 11);
        assert!(begun(subject).is_none());
        assert_eq!(subject.metric("circuit_breaker_slow.breaker.model"), 4);
        for handle in streams {
            subject.finish(handle, Then::Upstream(200));
        }
    });
}

#[test]
fn on_kong_what_goes_by_answers_bodies_is_refused_aloud() {
    for (config, key) in [(STALL, "failures.stall"), (SLOW, "trip.slow_first_token")] {
        let host = Host::builder(Dialect::Kong).root_id("circuit_breaker");
        let mut host = host
            .build(&module("circuit_breaker"), config.as_bytes())
            .unwrap();
        let said = |line: &str| line.contains(&format!("breakers[0].{key}"));
        assert!(
            host.logs().iter().any(|line| said(&line.text)),
            "{:?}",
            host.logs()
        );
        let answer = host.request(0, Request::get("/")).unwrap();
        assert_eq!(answer.outcome.local_status(), Some(503));
    }
}
