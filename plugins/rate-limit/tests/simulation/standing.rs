//! What whoever wants to understand a request is told of it.

use std::net::IpAddr;

use portcullis_policy::{Headers, PeerAddress, Request, Span};
use portcullis_rate_limit::{RateLimit, Standing};
use portcullis_sim::{Dialect, Worker, World};

const CONFIG: &str = r#"{"capacity":64,"limits":[
    {"name":"per_ip","key":["client_address","path"],"quota":3,"window":"1m","algorithm":"fixed_window"},
    {"name":"by_key","key":["header:x-key"],"quota":9,"window":"1h"},
    {"name":"elsewhere","match":{"paths":[{"exact":"/b"}]},"key":["constant"],"quota":1,"window":"1s"},
    {"name":"at_once","key":["constant"],"in_flight":5}]}"#;

struct Peer(IpAddr);
impl PeerAddress for Peer {
    fn peer(&self) -> Option<IpAddr> {
        Some(self.0)
    }
}

fn standings(worker: &Worker<RateLimit>, headers: &[(&str, &str)]) -> Vec<Standing> {
    let peer = Peer("192.0.2.1".parse().unwrap());
    let headers = Headers::from_pairs(headers.iter().copied());
    let request = Request::new(&headers, &peer);
    worker.policy.standings(&request, None, &worker.ports())
}

#[test]
fn a_request_stands_where_the_requests_before_it_have_left_it_and_is_charged_nothing() {
    let world = World::new(Dialect::Envoy, 1);
    let worker: Worker<RateLimit> = world.worker(CONFIG).unwrap();
    let get = [(":method", "GET"), (":path", "/a")];
    for remaining in [3, 2, 1, 0, 0] {
        for _ in 0..2 {
            let stands = standings(&worker, &get);
            let names: Vec<_> = stands.iter().map(|s| s.limit.as_str()).collect();
            assert_eq!(
                names,
                ["per_ip", "at_once"],
                "one has no key, one another path"
            );
            let per_ip = &stands[0];
            assert_eq!(per_ip.key, ["client_address", "path"]);
            assert_eq!(per_ip.value, "192.0.2.1 /a");
            assert_eq!(
                (per_ip.quota, per_ip.window),
                (3, Some(Span::from_secs(60)))
            );
            assert_eq!(per_ip.remaining, remaining);
            assert_eq!(per_ip.retry_after > Span::ZERO, remaining == 0);
            assert_eq!(
                per_ip.reset,
                Span::from_secs(60),
                "the window has just begun"
            );
            assert!(per_ip.caller.starts_with("k."));
            assert_eq!((stands[1].quota, stands[1].window), (5, None));
        }
        let _answer = worker.request("192.0.2.1", &get);
    }
}

#[test]
fn what_may_be_a_secret_is_not_told() {
    let world = World::new(Dialect::Kong, 1);
    let worker: Worker<RateLimit> = world.worker(CONFIG).unwrap();
    let stands = standings(&worker, &[(":path", "/b"), ("x-key", "hunter2")]);
    let by_key = stands.iter().find(|s| s.limit == "by_key").unwrap();
    assert_eq!((by_key.value.as_str(), by_key.remaining), ("…", 9));
    let elsewhere = stands.iter().find(|s| s.limit == "elsewhere").unwrap();
    assert_eq!((elsewhere.value.as_str(), elsewhere.remaining), ("", 1));
}
