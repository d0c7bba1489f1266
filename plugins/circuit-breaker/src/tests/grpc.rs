//! gRPC requests: statuses in the head of an answer without a body, and in trailers.

use portcullis_policy::Policy as _;

use super::*;

/// A head and an end of a gRPC answer.
struct Grpc {
    head: (Origin, Option<u8>),
    end: (Origin, Option<u8>),
}

impl Response for Grpc {
    fn status(&self) -> Option<u16> {
        Some(200)
    }
    fn origin(&self) -> Origin {
        self.head.0
    }
    fn grpc_status(&self) -> Option<u8> {
        self.head.1
    }
}

impl Ending for Grpc {
    fn origin(&self) -> Origin {
        self.end.0
    }
    fn grpc_status(&self) -> Option<u8> {
        self.end.1
    }
}

/// Failures after one request of that content type.
fn failures(content_type: &str, grpc: &Grpc) -> u64 {
    let worker = breaker(ONE);
    let headers = [
        (":method", "POST"),
        (":path", "/x"),
        ("content-type", content_type),
    ];
    let (_, mut flow) = worker.request("10.0.0.1", &headers);
    worker.policy.on_response(&mut flow, grpc, &worker.ports());
    worker.policy.on_end(&mut flow, grpc, &worker.ports());
    assert!(all_settled(&flow));
    metric(&worker, "failures.breaker.a")
}

#[test]
fn a_status_counts_in_the_head_and_in_the_trailers_and_by_who_gave_it() {
    use Origin::{ClientGone, ConnectionFailed, Gateway, TimedOut, Upstream};
    for (head, end, expected) in [
        ((Upstream, None), (Upstream, Some(0)), 0),
        ((Upstream, Some(14)), (Upstream, None), 1),
        ((Upstream, None), (Upstream, Some(14)), 1),
        ((Upstream, None), (Upstream, Some(5)), 0),
        ((Upstream, Some(5)), (Upstream, Some(5)), 0),
        // The gateway speaks gRPC to a gRPC client, with HTTP's 200.
        ((Gateway, Some(14)), (Gateway, None), 0),
        ((ConnectionFailed, Some(14)), (ConnectionFailed, None), 1),
        ((TimedOut, Some(14)), (TimedOut, None), 1),
        ((Upstream, None), (ClientGone, None), 0),
    ] {
        let grpc = Grpc { head, end };
        assert_eq!(
            failures("application/grpc", &grpc),
            expected,
            "{head:?} {end:?}"
        );
        assert_eq!(failures("application/grpc+proto", &grpc), expected);
    }
}

#[test]
fn a_client_that_does_not_speak_grpc_is_not_judged_by_it() {
    let grpc = Grpc {
        head: (Origin::Upstream, Some(14)),
        end: (Origin::Upstream, Some(14)),
    };
    assert_eq!(failures("application/json", &grpc), 0);
}
