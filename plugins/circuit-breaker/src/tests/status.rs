use super::*;

#[test]
fn status_is_answered_to_get_and_head_with_any_query_and_is_no_refusal() {
    let worker = breaker(ONE);
    for (method, path, answered) in [
        ("GET", "/status", true),
        ("HEAD", "/status?verbose", true),
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
