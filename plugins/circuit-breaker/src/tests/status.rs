use super::*;

#[test]
fn status_is_answered_to_get_and_head_with_any_query_and_is_no_refusal() {
    let worker = breaker(ONE);
    for (method, path, answered) in [
        ("GET", "/status", true),
        ("HEAD", "/status?verbos=1", true),
        ("GET", "/%73tatus", true),
        ("POST", "/status", false),
        ("GET", "/status/", false),
    ] {
        let headers = [(":method", method), (":path", path)];
        match worker.request("10.0.0.1", &headers).0 {
            Answer::Refused(reply) => {
                assert!(answered, "{method} {path}");
                assert_eq!(
                    (reply.status, reply.body.as_str()),
                    (200, r#"{"a":"closed"}"#)
                );
                assert_eq!(header(&reply, "content-type"), Some("application/json"));
                assert_eq!(header(&reply, "cache-control"), Some("no-store"));
            }
            Answer::Passed(_) => assert!(!answered, "{method} {path}"),
        }
    }
    assert_eq!(worker.store.0.writes(), 0);
    assert_eq!(metric(&worker, "rejected.breaker.a"), 0);
    assert!(worker.telemetry.lines().is_empty());
}

#[test]
fn status_shows_a_breaker_whose_time_is_up_as_half_open_and_changes_nothing() {
    let worker = breaker(ONE);
    trip(&worker);
    half_a_minute(&worker);
    let writes = worker.store.0.writes();
    assert_eq!(state(&worker), r#"{"a":"half_open"}"#);
    assert_eq!(worker.store.0.writes(), writes);
    assert_eq!(metric(&worker, "state.breaker.a"), 2);
}

#[test]
fn a_state_that_can_not_be_read_is_not_made_up() {
    let worker = breaker(ONE);
    worker.store.0.fail_after(Some(0));
    assert_eq!(refused(&worker, "/status").status, 503);
    assert_eq!(metric(&worker, "errors.reason.store_unavailable"), 1);
}

/// What `?verbose` shows of the only breaker.
fn verbose(worker: &Breaker) -> String {
    let body = refused(worker, "/status?x=1&verbose").body;
    let inner = body.strip_prefix(r#"{"a":"#).unwrap();
    inner.strip_suffix('}').unwrap().to_owned()
}

#[test]
fn verbose_adds_counts_since_when_and_when_it_will_probe() {
    let worker = breaker(ONE);
    let never = r#"{"consecutive_failures":0,"mode":"enforce","state":"closed"}"#;
    assert_eq!(verbose(&worker), never);
    answered(&worker, 503);
    let one = r#"{"consecutive_failures":1,"mode":"enforce","state":"closed"}"#;
    assert_eq!(verbose(&worker), one);
    answered(&worker, 503);
    worker.clock.advance(Span::from_millis(12_500));
    let start = 1_767_254_400;
    let open = format!(
        r#"{{"mode":"enforce","probe_at":{},"reason":"consecutive_failures","retry_after":18,"since":{start},"state":"open"}}"#,
        start + 30
    );
    assert_eq!(verbose(&worker), open);
    worker.clock.advance(Span::from_millis(17_500));
    assert!(verbose(&worker).ends_with(r#""state":"half_open"}"#));
    let mut probe = admitted(&worker);
    let half_open = format!(
        r#"{{"mode":"enforce","probes_out":1,"since":{},"state":"half_open","successes":0}}"#,
        start + 30
    );
    assert_eq!(verbose(&worker), half_open);
    worker.clock.advance(Span::from_secs(1));
    worker.respond(&mut probe, 200, Origin::Upstream);
    let closed = format!(
        r#"{{"consecutive_failures":0,"mode":"enforce","since":{},"state":"closed"}}"#,
        start + 31
    );
    assert_eq!(verbose(&worker), closed);
}

#[test]
fn verbose_says_what_is_set() {
    for (setting, shown) in [
        (
            r#""mode":"shadow""#,
            r#"{"consecutive_failures":0,"mode":"shadow","state":"closed"}"#,
        ),
        (r#""mode":"off""#, r#"{"mode":"off","state":"closed"}"#),
        (
            r#""force":"open""#,
            r#"{"forced":true,"mode":"enforce","state":"open"}"#,
        ),
        (
            r#""force":"closed""#,
            r#"{"forced":true,"mode":"enforce","state":"closed"}"#,
        ),
        (
            r#""force":"open","mode":"off""#,
            r#"{"forced":true,"mode":"off","state":"closed"}"#,
        ),
    ] {
        let config = ONE.replace(r#""name":"a""#, &format!(r#""name":"a",{setting}"#));
        assert_eq!(verbose(&breaker(&config)), shown, "{setting}");
    }
}

#[test]
fn verbose_shows_what_each_window_holds() {
    let ratio = r#""above":0.5,"window":"10s","minimum_requests":100"#;
    let trip = format!(
        r#""trip":{{"failure_ratio":{{{ratio}}},"slow_ratio":{{{ratio},"slower_than":"1s"}}}}"#
    );
    let config = ONE.replace(r#""trip":{"consecutive_failures":2}"#, &trip);
    let worker = breaker(&config);
    let mut slow = admitted(&worker);
    worker.clock.advance(Span::from_secs(2));
    worker.respond(&mut slow, 200, Origin::Upstream);
    worker.end(slow, Origin::Upstream);
    answered(&worker, 503);
    let seen = r#"{"failure_ratio":{"failures":1,"requests":2},"mode":"enforce","slow_ratio":{"requests":2,"slow":1},"state":"closed"}"#;
    assert_eq!(verbose(&worker), seen);
    worker.clock.advance(Span::from_secs(10));
    assert!(verbose(&worker).contains(r#""failure_ratio":{"failures":0,"requests":0}"#));
}
