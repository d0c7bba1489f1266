use portcullis_policy::Policy as _;

use super::*;

type Ends = fn(&Breaker, Flow);

#[test]
fn a_probe_that_says_nothing_of_the_upstream_is_given_back() {
    let endings: [Ends; 5] = [
        |worker, mut flow| {
            worker.respond(&mut flow, 401, Origin::Gateway);
        },
        |worker, mut flow| {
            worker.respond(&mut flow, 503, Origin::Gateway);
        },
        |worker, flow| worker.end(flow, Origin::ClientGone),
        |worker, flow| worker.end(flow, Origin::Unknown),
        |worker, mut flow| worker.policy.give_back(&mut flow, &worker.ports()),
    ];
    for (case, end) in endings.into_iter().enumerate() {
        let worker = breaker(ONE);
        trip(&worker);
        half_a_minute(&worker);
        let probe = admitted(&worker);
        refused(&worker, "/x");
        end(&worker, probe);
        assert_eq!(state(&worker), r#"{"a":"half_open"}"#, "{case}");
        let _ = admitted(&worker);
    }
}

#[test]
fn every_way_in_which_an_upstream_fails_counts() {
    type Begins = fn(&Breaker, &mut Flow);
    let fine: Begins = |worker, flow| drop(worker.respond(flow, 200, Origin::Upstream));
    let none: Begins = |_, _| {};
    let failures: [(Begins, Ends); 10] = [
        (none, |worker, mut flow| {
            worker.respond(&mut flow, 503, Origin::Unknown);
        }),
        (none, |worker, mut flow| {
            worker.respond(&mut flow, 503, Origin::ConnectionFailed);
        }),
        (none, |worker, mut flow| {
            worker.respond(&mut flow, 504, Origin::TimedOut);
        }),
        (none, |worker, mut flow| {
            worker.respond(&mut flow, 504, Origin::Idle);
        }),
        (none, |worker, flow| worker.end(flow, Origin::MaxDuration)),
        // A head is a success at its time, and ends what came before.
        (fine, |worker, flow| worker.end(flow, Origin::BrokenOff)),
        (fine, |worker, flow| worker.end(flow, Origin::TimedOut)),
        (none, |worker, flow| {
            worker.end(flow, Origin::ConnectionFailed)
        }),
        (none, |worker, flow| worker.end(flow, Origin::TimedOut)),
        // Kong, with its error_page.
        (none, |worker, flow| worker.drop_flow(flow)),
    ];
    for (case, (begin, fail)) in failures.into_iter().enumerate() {
        let worker = breaker(ONE);
        let (mut one, mut other) = (admitted(&worker), admitted(&worker));
        begin(&worker, &mut one);
        begin(&worker, &mut other);
        fail(&worker, one);
        assert_eq!(metric(&worker, "failures.breaker.a"), 1, "{case}");
        fail(&worker, other);
        assert_eq!(state(&worker), r#"{"a":"open"}"#, "{case}");
    }
}

#[test]
fn a_gateways_answer_counts_by_why_it_was_given_even_if_its_status_is_not_listed() {
    let config = |failures: &str| {
        format!(
            r#"{{"breakers":[{{"name":"a","trip":{{"consecutive_failures":1}},"failures":{failures}}}],
            "status":{{"path":"/status"}}}}"#
        )
    };
    for (failures, status, origin, expected) in [
        (r#"{"status":[500]}"#, 503, Origin::ConnectionFailed, "open"),
        (r#"{"status":[500]}"#, 504, Origin::TimedOut, "open"),
        (r#"{"status":[500]}"#, 503, Origin::Upstream, "closed"),
        (
            r#"{"connection":false}"#,
            503,
            Origin::ConnectionFailed,
            "closed",
        ),
        (r#"{"timeout":false}"#, 504, Origin::TimedOut, "closed"),
        (r#"{"connection":false}"#, 504, Origin::TimedOut, "open"),
        (r#"{"status":[429]}"#, 429, Origin::Upstream, "open"),
        (r#"{"status":[429]}"#, 429, Origin::Gateway, "closed"),
    ] {
        let worker = breaker(&config(failures));
        let mut flow = admitted(&worker);
        worker.respond(&mut flow, status, origin);
        worker.end(flow, Origin::Unknown);
        let expected = format!(r#"{{"a":"{expected}"}}"#);
        assert_eq!(state(&worker), expected, "{failures} {status} {origin:?}");
    }
}

#[test]
fn who_made_a_response_is_asked_once_and_only_where_it_matters() {
    let two = r#"{"breakers":[
        {"name":"a","trip":{"consecutive_failures":2}},
        {"name":"b","trip":{"consecutive_failures":2}}]}"#;
    let worker = breaker(two);
    for (status, asked) in [(200, 0), (404, 0), (503, 1), (200, 1), (200, 1), (200, 0)] {
        let times = Cell::new(0);
        let mut flow = admitted(&worker);
        let head = Head(Some(status), Origin::Upstream, &times);
        worker.policy.on_response(&mut flow, &head, &worker.ports());
        worker.end(flow, Origin::Unknown);
        assert_eq!(times.get(), asked, "{status}");
    }
}

struct CountedEnd<'a>(&'a Cell<u32>);
impl Ending for CountedEnd<'_> {
    fn origin(&self) -> Origin {
        self.0.set(self.0.get() + 1);
        Origin::BrokenOff
    }
}

#[test]
fn who_ended_a_stream_is_asked_once_and_not_at_all_when_all_is_settled() {
    for (status, asked) in [(200, 1), (503, 0)] {
        let worker = breaker(TWO);
        let (_, mut flow) = ask(&worker, "/search");
        worker.respond(&mut flow, status, Origin::Upstream);
        let times = Cell::new(0);
        let ending = CountedEnd(&times);
        worker.policy.on_end(&mut flow, &ending, &worker.ports());
        assert_eq!(times.get(), asked);
        assert_eq!(metric(&worker, "failures.breaker.all"), 1);
        assert_eq!(metric(&worker, "failures.breaker.search"), 1);
    }
}

#[test]
fn a_head_that_could_not_be_read_is_left_to_the_end() {
    for (origin, failures) in [
        (Origin::Unknown, 0),
        (Origin::Upstream, 0),
        (Origin::ClientGone, 0),
        (Origin::BrokenOff, 1),
        (Origin::TimedOut, 1),
    ] {
        let worker = breaker(ONE);
        let mut flow = admitted(&worker);
        let head = Head(None, Origin::Upstream, &Cell::new(0));
        worker.policy.on_response(&mut flow, &head, &worker.ports());
        assert!(!all_settled(&flow));
        let ports = worker.ports();
        worker.policy.on_end(&mut flow, &End(origin), &ports);
        worker.policy.on_end(&mut flow, &End(Origin::Lost), &ports);
        assert!(all_settled(&flow));
        assert_eq!(
            metric(&worker, "failures.breaker.a"),
            failures,
            "{origin:?}"
        );
    }
}

#[test]
fn an_upgrade_is_a_success_whatever_becomes_of_it() {
    let worker = breaker(ONE);
    let mut flow = admitted(&worker);
    worker.respond(&mut flow, 101, Origin::Upstream);
    assert!(all_settled(&flow));
    worker.end(flow, Origin::BrokenOff);
    assert_eq!(metric(&worker, "failures.breaker.a"), 0);
    assert_eq!(metric(&worker, "successes.breaker.a"), 1);
}

#[test]
fn of_two_heads_the_first_counts() {
    let worker = breaker(ONE);
    let mut flow = admitted(&worker);
    worker.respond(&mut flow, 200, Origin::Upstream);
    worker.respond(&mut flow, 503, Origin::Upstream);
    worker.end(flow, Origin::Unknown);
    assert_eq!(metric(&worker, "failures.breaker.a"), 0);
}

#[test]
fn each_request_is_settled_once_however_often_it_ends() {
    let worker = breaker(ONE);
    let mut flow = admitted(&worker);
    let ports = worker.ports();
    worker.respond(&mut flow, 503, Origin::Upstream);
    worker.respond(&mut flow, 503, Origin::Upstream);
    worker
        .policy
        .on_end(&mut flow, &End(Origin::BrokenOff), &ports);
    worker.policy.on_end(&mut flow, &End(Origin::Lost), &ports);
    worker.policy.give_back(&mut flow, &ports);
    assert_eq!(metric(&worker, "failures.breaker.a"), 1);
    assert_eq!(state(&worker), r#"{"a":"closed"}"#);
}
