//! What only Kong's data plane does, seen from a real filter.

use portcullis_conformance::{FilterSubject, Sent, Subject};
use portcullis_sim::Dialect;
use portcullis_testhost::Response;

const SERVICE_TOKEN: &str =
    r#"{"credential":{"kind":"static","secrets":[{"id":"a","env":"INTER_SERVICE_SECRET"}]}}"#;
const LIMIT: &str =
    r#"{"capacity":64,"limits":[{"name":"l","key":["client_address"],"quota":3,"window":"1m"}]}"#;
const BREAKER: &str = r#"{"breakers":[{"name":"b","trip":{"consecutive_failures":2}}]}"#;

#[test]
fn a_header_hidden_behind_a_hundred_others_does_not_pass() {
    for dialect in Dialect::BOTH {
        let mut subject = FilterSubject::new("service_token", dialect, SERVICE_TOKEN, 1);
        let many = (0..120).fold(Sent::get("/"), |sent, n| sent.with(&format!("x-{n}"), "v"));
        let seen = subject.ask(many.with("x_service_token", "forged"));
        let forged = seen.headers.iter().any(|(_, value)| value == "forged");
        assert!(!forged, "{dialect:?}");
        assert_eq!(seen.refused.is_some(), dialect == Dialect::Kong);
    }
}

#[test]
fn a_response_without_a_request_changes_nothing() {
    for (name, config) in [
        ("rate_limit", LIMIT),
        ("circuit_breaker", BREAKER),
        ("service_token", SERVICE_TOKEN),
    ] {
        for dialect in Dialect::BOTH {
            let mut subject = FilterSubject::new(name, dialect, config, 1);
            for _ in 0..5 {
                let finished = subject
                    .host
                    .response_without_request(0, Response::other_filter(503))
                    .expect("no trap");
                if let Some(head) = finished.response {
                    assert!(head.header("ratelimit").is_none());
                }
            }
            assert_eq!(
                subject.ask(Sent::get("/")).refused,
                None,
                "{name} on {dialect:?}"
            );
        }
    }
}

#[test]
fn four_workers_hold_one_limit_and_a_reload_keeps_it_on_envoy_and_empties_it_on_kong() {
    for dialect in Dialect::BOTH {
        let mut subject = FilterSubject::new("rate_limit", dialect, LIMIT, 4);
        let admitted = |subject: &mut FilterSubject| {
            (0..12)
                .filter(|n| {
                    subject.worker = n % 4;
                    subject.ask(Sent::get("/")).refused.is_none()
                })
                .count()
        };
        assert_eq!(admitted(&mut subject), 3);
        subject.host.reload(LIMIT.as_bytes()).expect("accepted");
        assert_eq!(
            admitted(&mut subject),
            if dialect == Dialect::Envoy { 0 } else { 3 }
        );
    }
}

#[test]
fn torn_reads_and_evictions_trap_nowhere_and_a_limit_that_is_not_evicted_holds() {
    let mut subject = FilterSubject::new("rate_limit", Dialect::Kong, LIMIT, 4);
    subject.host.zone().tear_reads(0.5, 7);
    let admitted = (0..40).filter(|n| {
        subject.worker = n % 4;
        subject.ask(Sent::get("/")).refused.is_none()
    });
    assert_eq!(admitted.count(), 3);
    assert!(subject.host.zone().torn_reads() > 0);
    subject.host.zone().clear();
    assert_eq!(subject.ask(Sent::get("/")).refused, None);
}

#[test]
fn no_property_is_asked_for_that_the_host_does_not_know() {
    let mut subject = FilterSubject::new("circuit_breaker", Dialect::Kong, BREAKER, 1);
    for _ in 0..3 {
        let (_, handle) = subject.begin(Sent::get("/"));
        subject.finish(handle, portcullis_conformance::Then::Upstream(503));
    }
    let complaints: Vec<_> = subject
        .host
        .logs()
        .iter()
        .filter(|line| line.from_host)
        .map(|l| l.text.clone())
        .collect();
    assert!(complaints.is_empty(), "{complaints:?}");
}
