//! One worker of a simulated gateway, with a policy in it.

use std::cell::RefCell;
use std::net::IpAddr;

use portcullis_policy::config::{ConfigError, parse_text};
use portcullis_policy::{
    Abilities, BodyEnd, BodyError, CallId, CallReply, Ending, Environment, HeaderEdit, Headers,
    HttpCall, LocalReply, MOST_CALLS, MetricRegistry, Origin, PeerAddress, Policy, Ports, Request,
    Response, Sent, Setup, SharedData, Splice, Timestamp, Verdict, parse_peer,
};

use crate::{Dialect, RecordingTelemetry, SeededEntropy, Turns, VirtualClock, Zone, ZoneStore};

/// What the workers of one gateway share.
#[derive(Clone)]
pub struct World {
    /// The clock.
    pub clock: VirtualClock,
    /// Shared data.
    pub zone: Zone,
    /// Environment variables.
    pub env: Env,
    seed: u64,
}

/// Environment variables.
#[derive(Clone, Debug, Default)]
pub struct Env(pub Vec<(String, String)>);

impl Environment for Env {
    fn var(&self, name: &str) -> Option<String> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.clone())
    }
}

impl World {
    /// A world on the morning of 2026-01-01.
    pub fn new(dialect: Dialect, seed: u64) -> Self {
        Self {
            clock: VirtualClock::at(Timestamp::from_unix_secs(1_767_254_400)),
            zone: Zone::new(dialect),
            env: Env::default(),
            seed,
        }
    }

    /// A worker with a policy made from `config` (JSON).
    pub fn worker<P: Policy>(&self, config: &str) -> Result<Worker<P>, ConfigError> {
        self.worker_taking(config, None, 0)
    }

    /// The same, taking turns with others: for [`interleave`](crate::interleave).
    pub fn worker_taking<P: Policy>(
        &self,
        config: &str,
        turns: Option<Turns>,
        number: u64,
    ) -> Result<Worker<P>, ConfigError> {
        let mut metrics = MetricRegistry::default();
        let config = parse_text(config.as_bytes())?;
        let policy = P::from_config(
            config,
            &mut Setup {
                environment: &self.env,
                metrics: &mut metrics,
                abilities: Abilities::NATIVE,
            },
        )?;
        let worker = Worker {
            policy,
            clock: self.clock.clone(),
            entropy: SeededEntropy::new(self.seed.wrapping_mul(31).wrapping_add(number)),
            store: SharedData(ZoneStore::new(&self.zone, turns)),
            telemetry: RecordingTelemetry::new(&metrics),
            calls: RefCell::default(),
            passed_body: RefCell::default(),
        };
        worker.policy.prepare(&worker.ports());
        Ok(worker)
    }
}

/// One worker.
pub struct Worker<P: Policy> {
    /// Its policy.
    pub policy: P,
    /// Its clock.
    pub clock: VirtualClock,
    /// Its view of shared data.
    pub store: SharedData<ZoneStore>,
    /// What it told.
    pub telemetry: RecordingTelemetry,
    /// What the upstream receives of the body of the request that was sent last.
    pub passed_body: RefCell<Vec<u8>>,
    entropy: SeededEntropy,
    calls: RefCell<Vec<(CallId, HttpCall)>>,
}

/// What came of a worker's HTTP call: a status and a body, or neither.
#[derive(Clone, Debug, Default)]
pub struct CallAnswer(pub Option<(u16, Vec<u8>)>);

impl CallReply for CallAnswer {
    fn status(&self) -> Option<u16> {
        self.0.as_ref().map(|(status, _)| *status)
    }

    fn body(&self, longest: usize) -> Result<Vec<u8>, BodyError> {
        match &self.0 {
            Some((_, body)) if body.len() > longest => Err(BodyError::TooLong),
            Some((_, body)) => Ok(body.clone()),
            None => Err(BodyError::Unavailable),
        }
    }

    fn header(&self, _: &str) -> Option<Vec<u8>> {
        None
    }
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// It passed; what the upstream receives.
    Passed(Vec<(String, String)>),
    /// It was answered.
    Refused(LocalReply),
}

impl Answer {
    /// 200 for a request that passed, else the refusal's status.
    pub fn status(&self) -> u16 {
        match self {
            Answer::Passed(_) => 200,
            Answer::Refused(reply) => reply.status,
        }
    }
}

impl<P: Policy> Worker<P> {
    /// This worker's ports.
    pub fn ports(&self) -> Ports<'_> {
        Ports {
            clock: &self.clock,
            entropy: &self.entropy,
            store: &self.store,
            telemetry: &self.telemetry,
        }
    }

    /// A tick: the policy looks after what is shared, and makes the calls that are due.
    pub fn tick(&self) {
        self.policy.on_tick(&self.ports());
        self.call_next();
    }

    fn call_next(&self) {
        while self.calls.borrow().len() < MOST_CALLS {
            let Some((id, call)) = self.policy.next_call(&self.ports()) else {
                return;
            };
            let mut calls = self.calls.borrow_mut();
            assert!(calls.iter().all(|(known, _)| *known != id), "{id:?} twice");
            calls.push((id, call));
        }
    }

    /// The call that has been under way for longest.
    pub fn call(&self) -> Option<HttpCall> {
        self.calls.borrow().first().map(|(_, call)| call.clone())
    }

    /// The calls that are under way, oldest first.
    pub fn calls(&self) -> Vec<HttpCall> {
        let calls = self.calls.borrow();
        calls.iter().map(|(_, call)| call.clone()).collect()
    }

    /// Ends the call that has been under way for longest; without one, nothing happens.
    pub fn answer_call(&self, answer: &dyn CallReply) {
        self.answer_call_where(|_| true, answer);
    }

    /// Ends the first such call that is under way; without one, nothing happens.
    pub fn answer_call_where(&self, wanted: impl Fn(&HttpCall) -> bool, answer: &dyn CallReply) {
        let at = self
            .calls
            .borrow()
            .iter()
            .position(|(_, call)| wanted(call));
        if let Some(at) = at {
            let (id, _) = self.calls.borrow_mut().remove(at);
            self.policy.on_call_end(id, answer, &self.ports());
            self.call_next();
        }
    }

    /// A request from `peer` with `headers`, pseudo-headers included.
    pub fn request(&self, peer: &str, headers: &[(&str, &str)]) -> (Answer, P::Flow) {
        self.send(peer, headers, None)
    }

    /// The same with a body, which comes in two parts.
    pub fn send(
        &self,
        peer: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> (Answer, P::Flow) {
        let peer = Peer(parse_peer(peer));
        let sent = Headers::from_pairs(headers.iter().copied());
        let mut request = Request::new(&sent, &peer);
        if body.is_some() {
            request = request.with_sent(Sent::HeadOnly);
        }
        let (mut verdict, mut flow) = self.policy.on_request(&request, &self.ports());
        if let Verdict::Read { most } = verdict {
            let body = body.unwrap_or_default();
            let (first, second) = body.split_at(body.len() / 2);
            let end = match body.len() > most {
                true => BodyEnd::TooLong,
                false => {
                    self.policy.on_request_bytes(&mut flow, first);
                    self.policy.on_request_bytes(&mut flow, second);
                    BodyEnd::Whole
                }
            };
            let ports = self.ports();
            verdict = self
                .policy
                .on_request_read(&request, &mut flow, end, &ports);
        }
        let answer = match verdict {
            Verdict::Read { .. } | Verdict::Wait { .. } => panic!("it was read"),
            Verdict::Refuse(reply) => Answer::Refused(reply),
            Verdict::Continue(edits) => {
                let body = body.unwrap_or_default();
                let (mut begin, replaced) = Splice::apply(edits.body(), body).expect("in order");
                begin.extend_from_slice(&body[replaced..]);
                self.passed_body.replace(begin);
                let mut passed = apply(headers, edits.headers());
                if let Some(target) = edits.target() {
                    passed.retain(|(name, _)| name != ":path");
                    let target = String::from_utf8_lossy(target).into_owned();
                    passed.push((":path".to_owned(), target));
                }
                Answer::Passed(passed)
            }
        };
        (answer, flow)
    }

    /// The response's head; returns the headers that the policy adds to it.
    pub fn respond(
        &self,
        flow: &mut P::Flow,
        status: u16,
        origin: Origin,
    ) -> Vec<(String, String)> {
        self.respond_with(flow, status, origin, &[])
    }

    /// The same with headers of the upstream's.
    pub fn respond_with(
        &self,
        flow: &mut P::Flow,
        status: u16,
        origin: Origin,
        headers: &[(&str, &str)],
    ) -> Vec<(String, String)> {
        let head = Head {
            status: Some(status),
            origin,
            grpc: None,
            headers: Headers::from_pairs(headers.iter().copied()),
        };
        let edits = self.policy.on_response(flow, &head, &self.ports());
        apply(&[], edits.headers())
    }

    /// A part of the response's body.
    pub fn chunk(&self, flow: &mut P::Flow, bytes: &[u8]) {
        self.pass(flow, bytes);
    }

    /// The same; what of it passes on.
    pub fn pass(&self, flow: &mut P::Flow, bytes: &[u8]) -> Vec<u8> {
        if self.policy.reads_response(flow) {
            self.policy
                .on_response_bytes(flow, Some(bytes), &self.ports());
        }
        let mut passing = Vec::new();
        let differs = self.policy.trims_response(flow)
            && self.policy.trim_response(flow, bytes, false, &mut passing);
        match differs {
            true => passing,
            false => bytes.to_vec(),
        }
    }

    /// The upstream's answer to a gRPC request, and its end: the status in the head, or in trailers.
    pub fn answer_grpc(&self, mut flow: P::Flow, head: Option<u8>, trailers: Option<u8>) {
        let head = Head {
            status: Some(200),
            origin: Origin::Upstream,
            grpc: head,
            headers: Headers::from_pairs::<&str, &str>([]),
        };
        self.policy.on_response(&mut flow, &head, &self.ports());
        let log = End {
            origin: Origin::Upstream,
            grpc: trailers,
        };
        self.policy.on_end(&mut flow, &log, &self.ports());
        self.drop_flow(flow);
    }

    /// The stream's end as Envoy tells it: the log, then the deletion.
    pub fn end(&self, mut flow: P::Flow, origin: Origin) {
        let log = End { origin, grpc: None };
        self.policy.on_end(&mut flow, &log, &self.ports());
        self.drop_flow(flow);
    }

    /// The stream's end where only its deletion tells.
    pub fn drop_flow(&self, mut flow: P::Flow) {
        let deletion = End {
            origin: Origin::Lost,
            grpc: None,
        };
        self.policy.on_end(&mut flow, &deletion, &self.ports());
    }
}

fn apply(headers: &[(&str, &str)], edits: &[HeaderEdit<'_>]) -> Vec<(String, String)> {
    let mut result: Vec<(String, String)> = headers
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), (*value).to_owned()))
        .collect();
    for edit in edits {
        match edit {
            HeaderEdit::Set { name, value } => {
                result.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
                result.push((
                    name.to_string(),
                    String::from_utf8_lossy(value).into_owned(),
                ));
            }
            HeaderEdit::Clear { name } => {
                result.retain(|(known, _)| !known.eq_ignore_ascii_case(name))
            }
        }
    }
    result
}

struct Peer(Option<IpAddr>);
impl PeerAddress for Peer {
    fn peer(&self) -> Option<IpAddr> {
        self.0
    }
}

struct Head {
    status: Option<u16>,
    origin: Origin,
    grpc: Option<u8>,
    headers: Headers,
}
impl Response for Head {
    fn status(&self) -> Option<u16> {
        self.status
    }
    fn origin(&self) -> Origin {
        self.origin
    }
    fn grpc_status(&self) -> Option<u8> {
        self.grpc
    }
    fn header(&self, name: &str) -> Option<Vec<u8>> {
        self.headers.get(name).map(<[u8]>::to_vec)
    }
}

struct End {
    origin: Origin,
    grpc: Option<u8>,
}
impl Ending for End {
    fn origin(&self) -> Origin {
        self.origin
    }
    fn grpc_status(&self) -> Option<u8> {
        self.grpc
    }
}
