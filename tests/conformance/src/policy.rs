//! A policy as subject: what the adapter would show it, without a host.

use portcullis_policy::config::ConfigError;
use portcullis_policy::{HttpCall, Origin, Policy, Span, Timestamp};
use portcullis_sim::{Answer, CallAnswer, Dialect, Worker, World};

use crate::{ENV, Handle, START_UNIX_SECS, Seen, Sent, Subject, Then};

/// A policy, and its requests under way.
pub struct PolicySubject<P: Policy> {
    worker: Worker<P>,
    world: World,
    dialect: Dialect,
    flows: Vec<Option<(P::Flow, bool)>>,
    /// Whether the request of that flow announces a body.
    bodies: Vec<bool>,
    /// Whether that flow's response has begun.
    responded: Vec<bool>,
    /// Those whose bodies decide.
    waiting: Vec<Option<Waiting>>,
}

/// A request that is asked for once its body is there: a policy is shown all of it.
struct Waiting {
    peer: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

fn seen(answer: Answer) -> Seen {
    match answer {
        Answer::Passed(headers) => Seen {
            refused: None,
            headers,
            body: String::new(),
        },
        Answer::Refused(reply) => Seen {
            refused: Some(reply.status),
            headers: reply
                .headers
                .into_iter()
                .map(|(name, value)| (name.into_owned(), value))
                .collect(),
            body: reply.body,
        },
    }
}

impl<P: Policy> PolicySubject<P> {
    /// A policy made from `config`.
    pub fn new(dialect: Dialect, config: &str) -> Result<Self, ConfigError> {
        let mut world = World::new(dialect, 1);
        world.clock.set(Timestamp::from_unix_secs(START_UNIX_SECS));
        world.env.0 = ENV
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec();
        let worker = world.worker(config)?;
        Ok(Self {
            worker,
            world,
            dialect,
            flows: Vec::new(),
            bodies: Vec::new(),
            responded: Vec::new(),
            waiting: Vec::new(),
        })
    }
}

impl<P: Policy> Subject for PolicySubject<P> {
    fn begin(&mut self, sent: Sent) -> (Seen, Handle) {
        let mut headers = vec![
            (":method", sent.method.as_str()),
            (":path", sent.path.as_str()),
            (":authority", sent.authority.as_str()),
        ];
        headers.extend(
            sent.headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        );
        self.bodies.push(sent.announces_a_body());
        self.responded.push(false);
        if sent.announces_a_body() && self.worker.policy.reads_requests() {
            let headers = headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            self.waiting.push(Some(Waiting {
                peer: sent.peer.clone(),
                headers: headers.collect(),
                body: Vec::new(),
            }));
            self.flows.push(None);
            let waits = Seen {
                refused: Some(Seen::WAITS),
                headers: Vec::new(),
                body: "waits".into(),
            };
            return (waits, self.flows.len() - 1);
        }
        self.waiting.push(None);
        let (answer, flow) = self.worker.request(&sent.peer, &headers);
        let seen = seen(answer);
        self.flows.push(Some((flow, seen.refused.is_some())));
        (seen, self.flows.len() - 1)
    }

    fn send_part(&mut self, handle: Handle, bytes: &[u8], ends: bool) -> Option<Seen> {
        let waiting = self.waiting[handle].as_mut()?;
        waiting.body.extend_from_slice(bytes);
        if !ends {
            return None;
        }
        let Waiting {
            peer,
            headers,
            body,
        } = self.waiting[handle].take()?;
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let (answer, flow) = self.worker.send(&peer, &headers, Some(&body));
        let mut seen = seen(answer);
        if seen.refused.is_none() {
            seen.body = String::from_utf8_lossy(&self.worker.passed_body.borrow()).into_owned();
        }
        self.flows[handle] = Some((flow, seen.refused.is_some()));
        self.bodies[handle] = false;
        Some(seen)
    }

    fn send_body(&mut self, handle: Handle) {
        let (flow, _) = self.flows[handle].as_mut().expect("a request under way");
        let ports = self.worker.ports();
        self.worker.policy.on_request_sent(flow, &ports);
        self.bodies[handle] = false;
    }

    fn head_with(
        &mut self,
        handle: Handle,
        status: u16,
        headers: &[(&str, &str)],
    ) -> Vec<(String, String)> {
        self.responded[handle] = true;
        let (flow, _) = self.flows[handle].as_mut().expect("a request under way");
        self.worker
            .respond_with(flow, status, Origin::Upstream, headers)
    }

    fn answer_part(&mut self, handle: Handle, bytes: &[u8]) -> Vec<u8> {
        let (flow, _) = self.flows[handle].as_mut().expect("a request under way");
        self.worker.pass(flow, bytes)
    }

    fn finish(&mut self, handle: Handle, then: Then) -> Vec<(String, String)> {
        let (mut flow, refused) = self.flows[handle].take().expect("a request under way");
        if refused {
            self.worker.end(flow, Origin::Gateway);
            return Vec::new();
        }
        if self.bodies[handle] && then.has_body() {
            let ports = self.worker.ports();
            self.worker.policy.on_request_sent(&mut flow, &ports);
        }
        let (status, origin, end) = match then {
            Then::Grpc(code) => {
                self.worker.answer_grpc(flow, Some(code), None);
                return Vec::new();
            }
            Then::GrpcTrailers(code) => {
                let shown = (self.dialect == Dialect::Envoy).then_some(code);
                self.worker.answer_grpc(flow, None, shown);
                return Vec::new();
            }
            Then::BadBody if self.dialect == Dialect::Kong => {
                self.worker.end(flow, Origin::ClientGone);
                return Vec::new();
            }
            Then::BadBody => (400, Origin::Gateway, Origin::Gateway),
            Then::Upstream(status) => (status, Origin::Upstream, Origin::Upstream),
            Then::BreaksOff => (200, Origin::Upstream, Origin::BrokenOff),
            Then::OtherFilter(status) => (status, Origin::Gateway, Origin::Gateway),
            Then::LivesLong => (200, Origin::Upstream, Origin::MaxDuration),
            Then::NeverSent if self.dialect == Dialect::Kong => {
                self.worker.end(flow, Origin::ClientGone);
                return Vec::new();
            }
            Then::NeverSent => (408, Origin::Idle, Origin::Idle),
            // Kong tells of these by the stream's deletion only.
            Then::ConnectFailure
            | Then::Timeout
            | Then::Hangs
            | Then::HangsForLong
            | Then::HangsForItsCluster
            | Then::Resets
                if self.dialect == Dialect::Kong =>
            {
                self.worker.drop_flow(flow);
                return Vec::new();
            }
            Then::ConnectFailure => (503, Origin::ConnectionFailed, Origin::ConnectionFailed),
            Then::Timeout => (504, Origin::TimedOut, Origin::TimedOut),
            Then::Hangs => (504, Origin::Idle, Origin::Idle),
            Then::HangsForLong | Then::HangsForItsCluster => {
                (504, Origin::MaxDuration, Origin::MaxDuration)
            }
            Then::Resets => (503, Origin::Reset, Origin::Reset),
            Then::ClientGone => {
                self.worker.end(flow, Origin::ClientGone);
                return Vec::new();
            }
        };
        // Kong does not tell at the end.
        let end = if self.dialect == Dialect::Kong {
            Origin::Unknown
        } else {
            end
        };
        let headers = match self.responded[handle] {
            true => Vec::new(),
            false => self.worker.respond(&mut flow, status, origin),
        };
        self.worker.end(flow, end);
        headers
    }

    fn advance_millis(&mut self, millis: u64) {
        self.world.clock.advance(Span::from_millis(millis));
    }

    fn tick(&mut self) {
        self.worker.tick();
    }

    fn call(&self) -> Option<[String; 4]> {
        let call = self.worker.call()?;
        Some([
            call.upstream,
            call.scheme.to_owned(),
            call.authority,
            call.path,
        ])
    }

    fn answer_call_to(&mut self, path: &str, answer: Option<(u16, &str)>) {
        let answer = answer.map(|(status, body)| (status, body.as_bytes().to_vec()));
        let wanted = |call: &HttpCall| call.path.starts_with(path);
        self.worker.answer_call_where(wanted, &CallAnswer(answer));
    }

    fn metric(&mut self, name: &str) -> u64 {
        self.worker.telemetry.metric(name)
    }

    fn logs(&self) -> Vec<String> {
        self.worker.telemetry.lines()
    }

    fn is_kong(&self) -> bool {
        self.dialect == Dialect::Kong
    }
}
