//! A built filter as subject, on the test host.

use std::time::Duration;

use portcullis_sim::Dialect;
use portcullis_testhost::{
    CallFailure, CallReply, End, Exchange, Host, LogLine, Module, Outcome, Request, Response,
};

use crate::{ENV, Handle, START_UNIX_SECS, Seen, Sent, Subject, Then, module};

/// A filter, and its requests under way.
pub struct FilterSubject {
    /// The host.
    pub host: Host,
    exchanges: Vec<Option<Exchange>>,
    /// Whether the request of that exchange announces a body.
    bodies: Vec<bool>,
    /// The worker that the next request goes to.
    pub worker: usize,
}

impl FilterSubject {
    /// The filter `name`, configured with `config`.
    pub fn new(name: &str, dialect: Dialect, config: &str, workers: usize) -> Self {
        Self::of(&module(name), name, dialect, config, workers)
    }

    /// The same with one worker, and executed instructions counted.
    pub fn metered(module: &Module, name: &str, dialect: Dialect, config: &str) -> Self {
        Self::of(module, name, dialect, config, 1)
    }

    fn of(module: &Module, name: &str, dialect: Dialect, config: &str, workers: usize) -> Self {
        let builder = Host::builder(dialect)
            .workers(workers)
            .seed(1)
            .root_id(name);
        let builder = builder.now_unix_nanos(START_UNIX_SECS * 1_000_000_000);
        let builder = ENV
            .iter()
            .fold(builder, |builder, (name, value)| builder.env(name, value));
        let host = builder
            .build(module, config.as_bytes())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let closed = |line: &LogLine| line.text.contains("gets 503");
        assert!(
            host.open_door(0).is_none() && !host.logs().iter().any(closed),
            "{name} on {dialect:?}: {:?}",
            host.logs()
        );
        Self {
            host,
            exchanges: Vec::new(),
            bodies: Vec::new(),
            worker: 0,
        }
    }

    /// A request that the upstream answers with 200, of which nothing is kept; the status of a
    /// refusal.
    pub fn exchange_plain(&mut self, sent: Sent) -> Option<u16> {
        let (seen, handle) = self.begin(sent);
        self.finish(handle, Then::Upstream(200));
        self.exchanges.pop();
        self.bodies.pop();
        seen.refused
    }

    /// A request that the upstream answers with 200.
    pub fn ask(&mut self, sent: Sent) -> Seen {
        (self as &mut dyn Subject).ask(sent)
    }
}

fn text(headers: &[(String, Vec<u8>)]) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| (name.clone(), String::from_utf8_lossy(value).into_owned()))
        .collect()
}

fn seen(outcome: &Outcome) -> Seen {
    match outcome {
        Outcome::Continue { headers } => Seen {
            refused: None,
            headers: text(headers),
            body: String::new(),
        },
        Outcome::LocalReply {
            status,
            headers,
            body,
            ..
        } => Seen {
            refused: Some(u16::try_from(*status).expect("a status")),
            headers: text(headers),
            body: String::from_utf8_lossy(body).into_owned(),
        },
        Outcome::Paused => Seen {
            refused: Some(Seen::WAITS),
            headers: Vec::new(),
            body: "paused".into(),
        },
    }
}

impl Subject for FilterSubject {
    fn begin(&mut self, sent: Sent) -> (Seen, Handle) {
        let request = Request::new(&sent.method, &sent.path)
            .authority(&sent.authority)
            .peer(&sent.peer);
        let request = sent.headers.iter().fold(request, |request, (name, value)| {
            request.header(name, value)
        });
        let mut request = request;
        request.end_of_stream = !sent.announces_a_body();
        let exchange = self.host.request(self.worker, request).expect("no trap");
        let seen = seen(&exchange.outcome);
        self.exchanges.push(Some(exchange));
        self.bodies.push(sent.announces_a_body());
        (seen, self.exchanges.len() - 1)
    }

    fn send_body(&mut self, handle: Handle) {
        let exchange = self.exchanges[handle].as_mut();
        let exchange = exchange.expect("a request under way");
        self.host.request_body(exchange, 1).expect("no trap");
        self.bodies[handle] = false;
    }

    fn send_part(&mut self, handle: Handle, bytes: &[u8], ends: bool) -> Option<Seen> {
        let exchange = self.exchanges[handle].as_mut();
        let exchange = exchange.expect("a request under way");
        let waited = exchange.outcome == Outcome::Paused;
        self.host
            .request_part(exchange, bytes, ends)
            .expect("no trap");
        self.bodies[handle] = !ends;
        let is_decided = match waited {
            true => exchange.outcome != Outcome::Paused,
            false => !exchange.outcome.is_continue(),
        };
        is_decided.then(|| {
            let mut seen = seen(&exchange.outcome);
            if seen.refused.is_none() {
                seen.body = String::from_utf8_lossy(&exchange.request_body).into_owned();
            }
            seen
        })
    }

    fn head_with(
        &mut self,
        handle: Handle,
        status: u16,
        headers: &[(&str, &str)],
    ) -> Vec<(String, String)> {
        let exchange = self.exchanges[handle].as_mut();
        let exchange = exchange.expect("a request under way");
        let response = Response::upstream(status.into());
        let response = headers.iter().fold(response, |response, (name, value)| {
            response.header(name, value)
        });
        self.host.respond(exchange, response).expect("no trap");
        let head = exchange.response.as_ref();
        head.map_or(Vec::new(), |head| text(&head.headers))
    }

    fn answer_part(&mut self, handle: Handle, bytes: &[u8]) -> Vec<u8> {
        let exchange = self.exchanges[handle].as_mut();
        let exchange = exchange.expect("a request under way");
        self.host
            .response_part(exchange, bytes, false)
            .expect("no trap")
    }

    fn finish(&mut self, handle: Handle, then: Then) -> Vec<(String, String)> {
        let mut exchange = self.exchanges[handle].take().expect("a request under way");
        let (response, end) = match then {
            Then::Upstream(status) => (Some(Response::upstream(status.into())), End::Complete),
            Then::Grpc(status) => {
                let response = Response::upstream(200).header("grpc-status", status.to_string());
                (Some(response), End::Complete)
            }
            Then::GrpcTrailers(status) => {
                let response = Response::upstream(200).trailer("grpc-status", status.to_string());
                (Some(response), End::Complete)
            }
            // Kong answers by an error page, past the filter.
            Then::BadBody => match self.host.dialect() {
                Dialect::Envoy => {
                    let refusal = Response::other_filter(400).details("http1.codec_error");
                    (Some(refusal), End::Complete)
                }
                Dialect::Kong => (None, End::Dropped),
            },
            Then::NeverSent => match self.host.dialect() {
                Dialect::Envoy => {
                    let late = Response::other_filter(408).details("stream_idle_timeout");
                    (Some(late), End::Complete)
                }
                Dialect::Kong => (None, End::Dropped),
            },
            Then::Hangs => (
                Some(Response::timeout().details("stream_idle_timeout")),
                End::Complete,
            ),
            Then::HangsForLong => (
                Some(Response::timeout().details("max_duration_timeout")),
                End::Complete,
            ),
            Then::HangsForItsCluster => (
                Some(Response::timeout().details("upstream_max_stream_duration_reached")),
                End::Complete,
            ),
            Then::Resets => {
                let details = "upstream_reset_before_response_started{remote_reset}";
                (
                    Some(Response::connect_failure().details(details)),
                    End::Complete,
                )
            }
            Then::LivesLong => (Some(Response::upstream(200)), End::MaxDuration),
            Then::BreaksOff => (Some(Response::upstream(200)), End::UpstreamReset),
            Then::ConnectFailure => (Some(Response::connect_failure()), End::Complete),
            Then::Timeout => (Some(Response::timeout()), End::Complete),
            Then::OtherFilter(status) => {
                (Some(Response::other_filter(status.into())), End::Complete)
            }
            Then::ClientGone => (None, End::ClientGone),
        };
        // All of the body is there before the upstream answers.
        if self.bodies[handle] && then.has_body() && exchange.outcome.is_continue() {
            self.host.request_body(&mut exchange, 1).expect("no trap");
        }
        if let (Some(response), true) = (response, exchange.outcome.is_continue()) {
            self.host.respond(&mut exchange, response).expect("no trap");
        }
        let finished = self.host.finish(exchange, end).expect("no trap");
        finished
            .response
            .map(|head| text(&head.headers))
            .unwrap_or_default()
    }

    fn advance_millis(&mut self, millis: u64) {
        self.host.advance(Duration::from_millis(millis));
    }

    fn tick(&mut self) {
        self.host.tick(self.worker).expect("no trap");
    }

    fn call(&self) -> Option<[String; 4]> {
        let call = self.host.pending_calls().first()?;
        let header = |name: &str| {
            let value = call.header(name).unwrap_or_default();
            String::from_utf8_lossy(value).into_owned()
        };
        Some([
            call.upstream.clone(),
            header(":scheme"),
            header(":authority"),
            header(":path"),
        ])
    }

    fn answer_call_to(&mut self, path: &str, answer: Option<(u16, &str)>) {
        let mut calls = self.host.pending_calls().iter();
        let begins = |call: &[u8]| call.starts_with(path.as_bytes());
        let token = calls
            .find(|call| call.header(":path").is_some_and(begins))
            .map(|call| call.token);
        let reply = match answer {
            Some((status, body)) => CallReply::status(status.into()).body(body),
            None => CallReply::failure(CallFailure::BrokenConnection),
        };
        if let Some(token) = token {
            self.host.reply_to_call(token, reply).expect("no trap");
            if self.is_kong() {
                // What it leads to is asked for with the next tick.
                self.tick();
            }
        }
    }

    fn metric(&mut self, name: &str) -> u64 {
        for worker in 0..self.host.workers() {
            self.host.tick(worker).expect("no trap");
        }
        let value = self
            .host
            .metric(name)
            .unwrap_or_else(|| panic!("no metric {name} in {:?}", self.host.metrics()));
        u64::try_from(value).expect("not negative")
    }

    fn logs(&self) -> Vec<String> {
        self.host
            .logs()
            .iter()
            .map(|line| line.text.clone())
            .collect()
    }

    fn is_kong(&self) -> bool {
        self.host.dialect() == Dialect::Kong
    }
}
