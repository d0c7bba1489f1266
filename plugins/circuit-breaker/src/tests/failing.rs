use portcullis_policy::{
    Clock, ClockUnavailable, Headers, HostFailure, PeerAddress, Policy as _, Ports, Request,
    Timestamp, Verdict,
};

use super::*;

#[test]
fn when_the_store_fails_on_error_decides() {
    let worker = breaker(ONE);
    worker.store.0.fail_after(Some(0));
    answered(&worker, 503);
    assert_eq!(metric(&worker, "errors.reason.store_unavailable"), 1);

    let worker = breaker(&ONE.replace(r#""status""#, r#""on_error":"deny","status""#));
    worker.store.0.fail_after(Some(0));
    let reply = refused(&worker, "/x");
    assert_eq!(reply.status, 503);
    assert!(reply.body.contains("urn:portcullis:problem/unavailable"));
    assert_eq!(
        worker.telemetry.lines(),
        ["plugin=circuit_breaker event=refused reason=store_unavailable"]
    );
    let headers = [
        (":method", "GET"),
        (":path", "/x"),
        ("x-request-id", "id-1"),
    ];
    assert_eq!(worker.request("10.0.0.1", &headers).0.status(), 503);
    assert_eq!(
        worker.telemetry.lines()[1],
        "plugin=circuit_breaker event=refused reason=store_unavailable request_id=id-1"
    );
    // A closed breaker's failure that can't be written down is counted, and lost.
    worker.store.0.fail_after(None);
    let mut flow = admitted(&worker);
    worker.store.0.fail_after(Some(0));
    worker.respond(&mut flow, 503, Origin::Upstream);
    worker.store.0.fail_after(None);
    worker.end(flow, Origin::Unknown);
    assert_eq!(metric(&worker, "errors.reason.store_unavailable"), 3);
    assert_eq!(state(&worker), r#"{"a":"closed"}"#);
}

struct NoClock;
impl Clock for NoClock {
    fn monotonic(&self) -> Result<Timestamp, ClockUnavailable> {
        self.now()
    }
    fn now(&self) -> Result<Timestamp, ClockUnavailable> {
        Err(ClockUnavailable)
    }
}

#[test]
fn a_closed_breaker_needs_no_clock_and_an_open_one_without_a_clock_is_an_error() {
    for (on_error, passes) in [("allow", true), ("deny", false)] {
        let config = ONE.replace(
            r#""status""#,
            &format!(r#""on_error":"{on_error}","status""#),
        );
        let worker = breaker(&config);
        let peer = Nobody;
        let headers = Headers::from_pairs([(":method", "GET"), (":path", "/x")]);
        let request = Request::new(&headers, &peer);
        let ports = Ports {
            clock: &NoClock,
            ..worker.ports()
        };
        let ask = || {
            matches!(
                worker.policy.on_request(&request, &ports).0,
                Verdict::Continue(_)
            )
        };
        assert!(ask());
        assert_eq!(metric(&worker, "errors.reason.clock_unavailable"), 0);
        trip(&worker);
        assert_eq!(ask(), passes);
        assert_eq!(metric(&worker, "errors.reason.clock_unavailable"), 1);
    }
}

struct Nobody;
impl PeerAddress for Nobody {
    fn peer(&self) -> Option<std::net::IpAddr> {
        None
    }
}

#[test]
fn when_the_gateway_fails_on_error_decides() {
    for (on_error, mode, refuses, counted) in [
        ("allow", "enforce", false, 1),
        ("deny", "enforce", true, 1),
        ("deny", "shadow", false, 1),
        ("deny", "off", false, 0),
    ] {
        let config = ONE.replace(
            r#""status""#,
            &format!(r#""on_error":"{on_error}","mode":"{mode}","status""#),
        );
        let worker = breaker(&config);
        let reply = worker
            .policy
            .on_host_failure(HostFailure::Edit, &worker.ports());
        assert_eq!(reply.map(|reply| reply.status), refuses.then_some(503));
        assert_eq!(metric(&worker, "errors.reason.edit_failed"), counted);
    }
}

#[test]
fn a_client_that_hides_headers_is_refused_whatever_on_error_says() {
    for (on_error, mode, status) in [
        ("allow", "enforce", Some(431)),
        ("deny", "enforce", Some(431)),
        ("deny", "shadow", None),
    ] {
        let config = ONE.replace(
            r#""status""#,
            &format!(r#""on_error":"{on_error}","mode":"{mode}","status""#),
        );
        let worker = breaker(&config);
        let cut = HostFailure::HeadersCut;
        let reply = worker.policy.on_host_failure(cut, &worker.ports());
        assert_eq!(reply.map(|reply| reply.status), status);
        assert_eq!(metric(&worker, "errors.reason.headers_cut"), 1);
    }
}
