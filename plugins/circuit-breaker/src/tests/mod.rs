//! The plugin as its workers run it, in a simulated gateway.

mod bodies;
mod control;
mod deadlines;
mod failing;
mod forced;
mod grpc;
mod heads;
#[cfg(not(target_arch = "wasm32"))]
mod model;
mod modes;
mod ratios;
mod settling;
mod states;
mod status;
mod streams;
#[cfg(not(target_arch = "wasm32"))]
mod workers;

use std::cell::Cell;

use portcullis_policy::{Ending, LocalReply, Origin, Response, Span};
use portcullis_sim::{Answer, Dialect, Worker, World};

use crate::admitted::Progress;
use crate::{CircuitBreaker, Flow};

type Breaker = Worker<CircuitBreaker>;

const ONE: &str = r#"{"breakers":[{"name":"a","trip":{"consecutive_failures":2}}],
    "status":{"path":"/status"}}"#;

const TWO: &str = r#"{"breakers":[
    {"name":"all","trip":{"consecutive_failures":3}},
    {"name":"search","match":{"paths":[{"prefix":"/search"}]},"trip":{"consecutive_failures":1}}],
    "status":{"path":"/status"}}"#;

fn world() -> World {
    World::new(Dialect::Envoy, 1)
}

fn breaker(config: &str) -> Breaker {
    world().worker(config).unwrap()
}

fn ask(worker: &Breaker, path: &str) -> (Answer, Flow) {
    let headers = [(":method", "GET"), (":authority", "h"), (":path", path)];
    worker.request("10.0.0.1", &headers)
}

/// Admits a request to `/x`.
fn admitted(worker: &Breaker) -> Flow {
    let (answer, flow) = ask(worker, "/x");
    assert_eq!(answer.status(), 200);
    flow
}

fn refused(worker: &Breaker, path: &str) -> LocalReply {
    match ask(worker, path) {
        (Answer::Refused(reply), flow) => {
            assert!(all_settled(&flow));
            reply
        }
        (Answer::Passed(_), _) => panic!("{path} passed"),
    }
}

fn all_settled(flow: &Flow) -> bool {
    flow.admitted
        .iter()
        .all(|admitted| admitted.progress == Progress::Settled)
}

/// A request that the upstream answers with `status`.
fn answered(worker: &Breaker, status: u16) {
    let mut flow = admitted(worker);
    worker.respond(&mut flow, status, Origin::Upstream);
    worker.end(flow, Origin::Unknown);
}

fn trip(worker: &Breaker) {
    answered(worker, 503);
    answered(worker, 503);
    assert_eq!(state(worker), r#"{"a":"open"}"#);
}

fn half_a_minute(worker: &Breaker) {
    worker.clock.advance(Span::from_secs(30));
}

fn state(worker: &Breaker) -> String {
    refused(worker, "/status").body
}

fn metric(worker: &Breaker, name: &str) -> u64 {
    worker.telemetry.metric(&format!("circuit_breaker_{name}"))
}

fn header<'r>(reply: &'r LocalReply, name: &str) -> Option<&'r str> {
    let found = reply.headers.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.as_str())
}

struct End(Origin);
impl Ending for End {
    fn origin(&self) -> Origin {
        self.0
    }
}

struct Head<'a>(Option<u16>, Origin, &'a Cell<u32>);
impl Response for Head<'_> {
    fn status(&self) -> Option<u16> {
        self.0
    }
    fn origin(&self) -> Origin {
        self.2.set(self.2.get() + 1);
        self.1
    }
}
