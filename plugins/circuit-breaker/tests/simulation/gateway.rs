//! A worker's ports as the simulation sees through them, and the callbacks that go by them.

use std::cell::RefCell;
use std::collections::BTreeSet;

use portcullis_circuit_breaker::{CircuitBreaker, Flow};
use portcullis_policy::{
    Clock, ClockUnavailable, Expected, Headers, LocalReply, PeerAddress, Policy as _, Ports,
    Request, SharedStore, StoreError, Stored, Timestamp, Verdict,
};
use portcullis_sim::Worker;

use crate::request::{Drawn, Step};

pub(crate) type Gateway = Worker<CircuitBreaker>;

/// Sees accesses to shared data, each before anybody else has a turn.
pub(crate) trait Witness {
    /// A value was read.
    fn read(&self) {}
    /// A value was stored.
    fn stored(&self) {}
}

pub(crate) struct Nobody;
impl Witness for Nobody {}

/// Shared data under a witness's eyes, during one callback.
pub(crate) struct Watched<'a> {
    store: &'a dyn SharedStore,
    witness: &'a dyn Witness,
    stored: RefCell<BTreeSet<String>>,
    failed: RefCell<BTreeSet<String>>,
}

impl<'a> Watched<'a> {
    pub(crate) fn new(store: &'a dyn SharedStore, witness: &'a dyn Witness) -> Self {
        Self {
            store,
            witness,
            stored: RefCell::default(),
            failed: RefCell::default(),
        }
    }

    /// Whether this could not be looked at or changed. What fails after a change was for the gauge
    /// only, and is nobody's loss.
    pub(crate) fn failed(&self, key: &str) -> bool {
        self.failed.borrow().contains(key)
    }

    fn note<R>(&self, key: &str, result: &Result<R, StoreError>) {
        if matches!(result, Err(StoreError::Unavailable)) && !self.stored.borrow().contains(key) {
            self.failed.borrow_mut().insert(key.to_owned());
        }
    }
}

impl SharedStore for Watched<'_> {
    fn get(&self, key: &str) -> Result<Option<Stored>, StoreError> {
        let result = self.store.get(key);
        self.note(key, &result);
        self.witness.read();
        result
    }

    fn set(&self, key: &str, value: &[u8], expected: Expected) -> Result<(), StoreError> {
        let result = self.store.set(key, value, expected);
        self.note(key, &result);
        if result.is_ok() {
            self.stored.borrow_mut().insert(key.to_owned());
            self.witness.stored();
        }
        result
    }
}

/// A clock that may be out of order.
pub(crate) struct Faulty<'a> {
    pub(crate) clock: &'a dyn Clock,
    pub(crate) broken: bool,
}

impl Clock for Faulty<'_> {
    fn monotonic(&self) -> Result<Timestamp, ClockUnavailable> {
        self.now()
    }
    fn now(&self) -> Result<Timestamp, ClockUnavailable> {
        match self.broken {
            true => Err(ClockUnavailable),
            false => self.clock.now(),
        }
    }
}

struct NoPeer;
impl PeerAddress for NoPeer {
    fn peer(&self) -> Option<std::net::IpAddr> {
        None
    }
}

/// Sends a request; the reply where it does not pass.
pub(crate) fn ask(
    policy: &CircuitBreaker,
    sent: &Drawn,
    ports: &Ports<'_>,
) -> (Option<LocalReply>, Flow) {
    let headers = Headers::from_pairs(sent.headers());
    let request = Request::new(&headers, &NoPeer);
    let (verdict, flow) = policy.on_request(&request, ports);
    match verdict {
        Verdict::Continue(_) => (None, flow),
        Verdict::Read { .. } | Verdict::Wait { .. } => panic!("no body decides"),
        Verdict::Refuse(reply) => (Some(reply), flow),
    }
}

/// Plays a callback of a request.
pub(crate) fn play(policy: &CircuitBreaker, flow: &mut Flow, step: &Step, ports: &Ports<'_>) {
    match step {
        Step::Head(head) => drop(policy.on_response(flow, head, ports)),
        Step::End(end) => policy.on_end(flow, end, ports),
        Step::Body => policy.on_request_sent(flow, ports),
        Step::GiveBack => policy.give_back(flow, ports),
    }
}

/// Compares a reply with the problem that is expected, and its `Retry-After`.
pub(crate) fn check_reply(
    reply: &Option<LocalReply>,
    sent: &Drawn,
    expected: Option<(&str, Option<u64>)>,
) {
    match (reply, expected) {
        (None, None) => {}
        (Some(reply), Some((kind, after))) => {
            let is_so = is_reply(reply, sent, kind, after);
            assert!(is_so, "{reply:?}, not {kind} {after:?}");
        }
        _ => panic!("{reply:?}, not {expected:?}"),
    }
}

/// Whether a reply is the problem of this kind, in the client's protocol, with this `Retry-After`.
pub(crate) fn is_reply(
    reply: &LocalReply,
    sent: &Drawn,
    kind: &str,
    retry_after: Option<u64>,
) -> bool {
    let header = reply
        .headers
        .iter()
        .find(|(name, _)| name == "retry-after")
        .map(|(_, value)| value.clone());
    let named = reply
        .body
        .contains(&format!("urn:portcullis:problem/{kind}\""));
    let grpc = reply.grpc.map(|status| status.code());
    const UNAVAILABLE: u8 = 14;
    reply.status == 503
        && header == retry_after.map(|seconds| seconds.to_string())
        && match sent.speaks_grpc {
            true => grpc == Some(UNAVAILABLE),
            false => grpc.is_none() && named,
        }
}
