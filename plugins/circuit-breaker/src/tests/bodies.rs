//! Probes whose request's body is outstanding: nobody waits for a client.

use portcullis_policy::Policy as _;

use super::*;

/// A probe, of a request with a body.
fn sending(worker: &Breaker) -> Flow {
    let headers = [
        (":method", "POST"),
        (":path", "/x"),
        ("content-length", "10"),
    ];
    let (answer, flow) = worker.request("10.0.0.1", &headers);
    assert_eq!(answer.status(), 200);
    flow
}

fn half_open() -> Breaker {
    let worker = breaker(ONE);
    trip(&worker);
    half_a_minute(&worker);
    worker
}

fn sent(worker: &Breaker, flow: &mut Flow) {
    worker.policy.on_request_sent(flow, &worker.ports());
}

#[test]
fn a_body_that_never_comes_keeps_nobody_out() {
    let worker = half_open();
    let mut never = sending(&worker);
    let mut probe = admitted(&worker);
    assert_eq!(refused(&worker, "/x").status, 503, "that one is whole");
    // What comes of the first says nothing any more, however it comes.
    sent(&worker, &mut never);
    worker.respond(&mut never, 503, Origin::Upstream);
    assert_eq!(state(&worker), r#"{"a":"half_open"}"#);
    worker.respond(&mut probe, 200, Origin::Upstream);
    assert_eq!(state(&worker), r#"{"a":"closed"}"#);
    assert_eq!(metric(&worker, "failures.breaker.a"), 3);
}

#[test]
fn of_two_with_a_body_the_later_has_the_permit_until_its_own_has_come() {
    let worker = half_open();
    let mut first = sending(&worker);
    let mut second = sending(&worker);
    sent(&worker, &mut first);
    sent(&worker, &mut second);
    assert_eq!(refused(&worker, "/x").status, 503);
    worker.respond(&mut first, 503, Origin::Upstream);
    worker.end(first, Origin::Upstream);
    assert_eq!(state(&worker), r#"{"a":"half_open"}"#);
    worker.respond(&mut second, 200, Origin::Upstream);
    assert_eq!(state(&worker), r#"{"a":"closed"}"#);
}

#[test]
fn a_lease_begins_when_the_body_has_come() {
    let worker = half_open();
    let mut slow = sending(&worker);
    worker.clock.advance(Span::from_secs(20));
    sent(&worker, &mut slow);
    worker.clock.advance(Span::from_secs(34));
    assert_eq!(refused(&worker, "/x").status, 503);
    worker.respond(&mut slow, 200, Origin::Upstream);
    assert_eq!(state(&worker), r#"{"a":"closed"}"#);
}

#[test]
fn an_upstream_that_answers_before_the_body_has_come_is_heard() {
    for (status, after) in [(413, r#"{"a":"closed"}"#), (503, r#"{"a":"open"}"#)] {
        let worker = half_open();
        let mut early = sending(&worker);
        worker.respond(&mut early, status, Origin::Upstream);
        assert_eq!(state(&worker), after);
        sent(&worker, &mut early);
        assert_eq!(state(&worker), after);
    }
}

#[test]
fn a_client_that_leaves_in_the_midst_of_its_body_frees_the_place() {
    let ends: [fn(&Breaker, Flow); 3] = [
        |worker, flow| worker.end(flow, Origin::ClientGone),
        // As Kong ends a request whose body was too large.
        |worker, flow| worker.drop_flow(flow),
        |worker, mut flow| {
            worker.respond(&mut flow, 408, Origin::Idle);
            worker.end(flow, Origin::Idle);
        },
    ];
    for end in ends {
        let worker = half_open();
        let flow = sending(&worker);
        end(&worker, flow);
        assert_eq!(state(&worker), r#"{"a":"half_open"}"#);
        let _probe = admitted(&worker);
        assert_eq!(refused(&worker, "/x").status, 503);
    }
}

#[test]
fn a_permit_that_can_not_be_confirmed_is_kept_while_nobody_takes_it() {
    let worker = half_open();
    let mut slow = sending(&worker);
    worker.store.0.fail_after(Some(0));
    sent(&worker, &mut slow);
    worker.store.0.fail_after(None);
    assert_eq!(metric(&worker, "errors.reason.store_unavailable"), 1);
    worker.respond(&mut slow, 200, Origin::Upstream);
    assert_eq!(state(&worker), r#"{"a":"closed"}"#);
}
