//! Requests that go elsewhere instead of being refused, row by row, on the hosts that choose a route anew.

use portcullis_circuit_breaker::CircuitBreaker;
use portcullis_conformance::{Sent, Subject, Then, module, where_bodies_are_shown};
use portcullis_edge::Edge;
use portcullis_rate_limit::RateLimit;
use portcullis_sim::Dialect;
use portcullis_testhost::{Host, Request};

const TIER: &str = "x-model-tier";
const BREAKER: &str = r#"{"breakers":[{"name":"model","trip":{"consecutive_failures":2},"on_open":{"set":{"x-model-tier":"small"}}}]}"#;
const LIMIT: &str = r#"{"limits":[
    {"name":"large","key":["client_address"],"quota":2,"window":"1h","on_exceeded":{"set":{"x-model-tier":"small"}}},
    {"name":"all","key":["client_address"],"quota":4,"window":"1h"}]}"#;

/// The tier that a request goes to, whatever its client says; the status of a refusal.
fn ask(subject: &mut dyn Subject, then: Then) -> Result<Option<String>, u16> {
    let (seen, handle) = subject.begin(Sent::get("/").with(TIER, "forged"));
    subject.finish(handle, then);
    match seen.refused {
        None => Ok(seen.header(TIER).map(str::to_owned)),
        Some(status) => Err(status),
    }
}

#[test]
fn where_a_breaker_is_open_requests_go_elsewhere_and_no_client_says_that_they_do() {
    let small = Ok(Some("small".to_owned()));
    where_bodies_are_shown::<CircuitBreaker>(BREAKER, |subject| {
        assert_eq!(ask(subject, Then::Upstream(503)), Ok(None));
        assert_eq!(ask(subject, Then::Upstream(503)), Ok(None));
        for _ in 0..3 {
            // What becomes of it there says nothing of this upstream.
            assert_eq!(ask(subject, Then::Upstream(200)), small);
        }
        assert_eq!(subject.metric("circuit_breaker_elsewhere.breaker.model"), 3);
        assert_eq!(subject.metric("circuit_breaker_rejected.breaker.model"), 0);
        subject.advance_millis(31_000);
        assert_eq!(ask(subject, Then::Upstream(200)), Ok(None));
    });
}

#[test]
fn where_a_budget_is_spent_requests_go_elsewhere_until_another_limit_refuses_them() {
    let small = Ok(Some("small".to_owned()));
    where_bodies_are_shown::<RateLimit>(LIMIT, |subject| {
        for expected in [Ok(None), Ok(None), small.clone(), small.clone(), Err(429)] {
            assert_eq!(ask(subject, Then::Upstream(200)), expected);
        }
        assert_eq!(subject.metric("rate_limit_elsewhere.limit.large"), 2);
        assert_eq!(subject.metric("rate_limit_limited.limit.large"), 0);
        assert_eq!(subject.metric("rate_limit_limited.limit.all"), 1);
    });
}

/// One header for both, as a user would have it: what the limits say goes before what no client may say.
#[test]
fn in_edge_the_breaker_takes_nothing_back_that_a_limit_has_said() {
    let part = |config: &str| serde_json::from_str::<serde_json::Value>(config).unwrap();
    let config = serde_json::json!({ "rate_limit": part(LIMIT), "circuit_breaker": part(BREAKER) });
    where_bodies_are_shown::<Edge>(&config.to_string(), |subject| {
        for expected in [None, None, Some("small"), Some("small")] {
            let expected = Ok(expected.map(str::to_owned));
            assert_eq!(ask(subject, Then::Upstream(200)), expected);
        }
    });
}

#[test]
fn on_kong_whose_route_is_settled_it_is_refused_aloud() {
    for (name, config, key) in [
        ("circuit_breaker", BREAKER, "breakers[0].on_open.set"),
        ("rate_limit", LIMIT, "limits[0].on_exceeded.set"),
    ] {
        let host = Host::builder(Dialect::Kong).root_id(name);
        let mut host = host.build(&module(name), config.as_bytes()).unwrap();
        let logs = host.logs();
        assert!(logs.iter().any(|line| line.text.contains(key)), "{logs:?}");
        let answer = host.request(0, Request::get("/")).unwrap();
        assert_eq!(answer.outcome.local_status(), Some(503));
    }
}
