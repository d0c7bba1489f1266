//! `rate_limit`: requests at a time, row by row.

use portcullis_conformance::{Handle, Sent, Subject, Then, everywhere};
use portcullis_rate_limit::RateLimit;

fn at_a_time(most: u32) -> String {
    format!(
        r#"{{"capacity":64,"limits":[{{"name":"gpu","key":["client_address"],"in_flight":{most}}}]}}"#
    )
}

fn begin(subject: &mut dyn Subject) -> Option<Handle> {
    let (seen, handle) = subject.begin(Sent::get("/"));
    match seen.refused {
        None => Some(handle),
        Some(status) => {
            assert_eq!(status, 429, "{seen:?}");
            subject.finish(handle, Then::Upstream(200));
            None
        }
    }
}

#[test]
fn so_many_of_a_key_are_admitted_at_a_time() {
    everywhere::<RateLimit>(&at_a_time(2), |subject| {
        let first = begin(subject).unwrap();
        let second = begin(subject).unwrap();
        assert_eq!(begin(subject), None);
        let other = subject.ask(Sent::get("/").from("192.0.2.2"));
        assert_eq!(other.refused, None);
        subject.finish(first, Then::Upstream(200));
        let third = begin(subject).unwrap();
        assert_eq!(begin(subject), None);
        for handle in [second, third] {
            subject.finish(handle, Then::Upstream(200));
        }
        assert_eq!(subject.metric("rate_limit_allowed.limit.gpu"), 4);
        assert_eq!(subject.metric("rate_limit_limited.limit.gpu"), 2);
    });
}

#[test]
fn a_refusal_says_when_to_come_again_and_how_many_there_may_be() {
    everywhere::<RateLimit>(&at_a_time(1), |subject| {
        let first = begin(subject).unwrap();
        subject.advance_millis(7_400);
        subject.finish(first, Then::Upstream(200));
        let (passed, second) = subject.begin(Sent::get("/"));
        assert_eq!(passed.refused, None);
        let (seen, refused) = subject.begin(Sent::get("/"));
        assert_eq!(seen.refused, Some(429));
        assert_eq!(seen.header("retry-after"), Some("8"));
        let policy = r#""gpu";q=1;qu="concurrent-requests""#;
        assert_eq!(seen.header("ratelimit-policy"), Some(policy));
        assert_eq!(seen.header("ratelimit"), Some(r#""gpu";r=0;t=8"#));
        assert_eq!(seen.header("x-ratelimit-limit"), None);
        subject.finish(refused, Then::Upstream(200));
        let answer = subject.finish(second, Then::Upstream(200));
        let header = |name: &str| {
            let mut named = answer.iter().filter(|(known, _)| known == name);
            named.next().map(|(_, value)| value.as_str())
        };
        assert_eq!(header("ratelimit-policy"), Some(policy));
        assert_eq!(header("ratelimit"), Some(r#""gpu";r=0"#));
    });
}

#[test]
fn however_a_request_ends_another_is_admitted() {
    everywhere::<RateLimit>(&at_a_time(1), |subject| {
        for then in [
            Then::Upstream(200),
            Then::Upstream(503),
            Then::Grpc(0),
            Then::GrpcTrailers(14),
            Then::BadBody,
            Then::ConnectFailure,
            Then::Timeout,
            Then::Hangs,
            Then::HangsForLong,
            Then::HangsForItsCluster,
            Then::Resets,
            Then::NeverSent,
            Then::LivesLong,
            Then::BreaksOff,
            Then::ClientGone,
            Then::OtherFilter(503),
            Then::OtherFilter(403),
        ] {
            let handle = begin(subject).unwrap_or_else(|| panic!("none is left before {then:?}"));
            assert_eq!(begin(subject), None, "{then:?}");
            subject.finish(handle, then);
        }
    });
}

#[test]
fn a_stream_is_counted_for_as_long_as_it_lives() {
    everywhere::<RateLimit>(&at_a_time(1), |subject| {
        let stream = begin(subject).unwrap();
        subject.head(stream, 200);
        for second in 0..120 {
            subject.advance_millis(1_000);
            subject.tick();
            assert_eq!(begin(subject), None, "after {second} s");
        }
        subject.finish(stream, Then::Upstream(200));
        let next = begin(subject).unwrap();
        subject.finish(next, Then::Upstream(200));
    });
}

#[test]
fn a_request_that_costs_more_takes_the_place_of_several() {
    let config = r#"{"capacity":64,"limits":[{"name":"gpu","key":["constant"],"in_flight":3,
        "costs":[{"match":{"paths":[{"exact":"/large"}]},"cost":2},{"match":{"paths":[{"exact":"/none"}]},"cost":0}]}]}"#;
    everywhere::<RateLimit>(config, |subject| {
        let (seen, large) = subject.begin(Sent::get("/large"));
        assert_eq!(seen.refused, None);
        assert_eq!(subject.ask(Sent::get("/large")).refused, Some(429));
        let small = begin(subject).unwrap();
        assert_eq!(begin(subject), None);
        assert_eq!(subject.ask(Sent::get("/none")).refused, None);
        subject.finish(large, Then::Upstream(200));
        let (seen, large) = subject.begin(Sent::get("/large"));
        assert_eq!(seen.refused, None);
        for handle in [small, large] {
            subject.finish(handle, Then::Upstream(200));
        }
    });
}

#[test]
fn in_shadow_nobody_is_refused() {
    let config = at_a_time(1).replace(r#""in_flight":1"#, r#""in_flight":1,"mode":"shadow""#);
    everywhere::<RateLimit>(&config, |subject| {
        let first = begin(subject).unwrap();
        let second = begin(subject).unwrap();
        for handle in [first, second] {
            subject.finish(handle, Then::Upstream(200));
        }
        assert_eq!(subject.metric("rate_limit_shadow_limited.limit.gpu"), 1);
    });
}
