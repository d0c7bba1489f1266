//! A filter as native code as subject, on a stand-in for Envoy's side of the dynamic-module ABI.

use std::net::IpAddr;

use portcullis_modulehost::{Envoy, Header, Outcome, Reply, Stream, set_clock, set_variable};

use crate::{ENV, Handle, START_UNIX_SECS, Seen, Sent, Subject, Then};

/// A filter, and its requests under way.
pub struct ModuleSubject {
    /// The gateway.
    pub envoy: Envoy,
    streams: Vec<Option<UnderWay>>,
    log: Vec<String>,
}

struct UnderWay {
    stream: Stream,
    refused: bool,
    /// Whether it waits for its body.
    waits: bool,
    /// Whether a body is announced and has not come.
    body: bool,
    /// Whether the response's head has come.
    responded: bool,
}

impl ModuleSubject {
    /// The filter `name`, configured with `config`.
    pub fn new(name: &str, config: &str) -> Self {
        set_clock(START_UNIX_SECS * 1_000_000_000);
        for (name, value) in ENV {
            set_variable(name, value);
        }
        portcullis_modulehost::take_log();
        let envoy = Envoy::start(name, config);
        Self {
            envoy: envoy.unwrap_or_else(|log| panic!("{name}: {log:?}")),
            streams: Vec::new(),
            log: Vec::new(),
        }
    }

    fn under_way(&mut self, handle: Handle) -> &mut UnderWay {
        self.streams[handle].as_mut().expect("a request under way")
    }

    fn hear(&mut self) {
        self.log.extend(portcullis_modulehost::take_log());
    }
}

fn texts(headers: &[Header]) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| (name.clone(), String::from_utf8_lossy(value).into_owned()))
        .collect()
}

fn with_port(peer: &str) -> String {
    match peer.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) => format!("[{address}]:50000"),
        Ok(IpAddr::V4(address)) => format!("{address}:50000"),
        Err(_) => peer.to_owned(),
    }
}

/// A response's head, and its details, and whether the upstream made it.
fn response(status: u16, more: &[(&str, String)], details: &str) -> (Vec<Header>, String, bool) {
    let mut headers = vec![(":status".to_owned(), status.to_string().into_bytes())];
    let more = more
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone().into_bytes()));
    headers.extend(more);
    let upstream = details == "via_upstream";
    if upstream {
        headers.push(("x-envoy-upstream-service-time".to_owned(), b"0".to_vec()));
    }
    (headers, details.to_owned(), upstream)
}

fn seen(outcome: Outcome, stream: &Stream) -> Seen {
    match outcome {
        Outcome::Continue => Seen {
            refused: None,
            headers: texts(stream.sent()),
            body: String::from_utf8_lossy(stream.sent_body()).into_owned(),
        },
        Outcome::Replied(Reply {
            status,
            headers,
            body,
            ..
        }) => Seen {
            refused: Some(status),
            headers: texts(&headers),
            body: String::from_utf8_lossy(&body).into_owned(),
        },
        Outcome::Held => Seen {
            refused: Some(Seen::WAITS),
            headers: Vec::new(),
            body: "held".into(),
        },
    }
}

impl Subject for ModuleSubject {
    fn begin(&mut self, sent: Sent) -> (Seen, Handle) {
        let mut headers: Vec<Header> = vec![
            (":method".to_owned(), sent.method.clone().into_bytes()),
            (":path".to_owned(), sent.path.clone().into_bytes()),
            (":authority".to_owned(), sent.authority.clone().into_bytes()),
            (":scheme".to_owned(), b"http".to_vec()),
        ];
        let own = sent.headers.iter();
        headers.extend(
            own.map(|(name, value)| (name.to_ascii_lowercase(), value.clone().into_bytes())),
        );
        let body = sent.announces_a_body();
        let (stream, outcome) = self.envoy.request(&with_port(&sent.peer), headers, !body);
        let seen = seen(outcome, &stream);
        self.hear();
        self.streams.push(Some(UnderWay {
            stream,
            refused: seen.refused.is_some(),
            waits: seen.status() == Seen::WAITS,
            body,
            responded: false,
        }));
        (seen, self.streams.len() - 1)
    }

    fn send_body(&mut self, handle: Handle) {
        let under_way = self.under_way(handle);
        under_way.stream.body();
        under_way.body = false;
        self.hear();
    }

    fn send_part(&mut self, handle: Handle, bytes: &[u8], ends: bool) -> Option<Seen> {
        let under_way = self.under_way(handle);
        let waited = under_way.waits;
        let outcome = under_way.stream.send(bytes, ends);
        under_way.body = !ends;
        under_way.waits = waited && outcome == Outcome::Held;
        let is_decided = match waited {
            true => !under_way.waits,
            false => matches!(outcome, Outcome::Replied(_)),
        };
        let decided = is_decided.then(|| seen(outcome, &under_way.stream));
        if let Some(seen) = &decided {
            under_way.refused = seen.refused.is_some();
        }
        self.hear();
        decided
    }

    fn head_with(
        &mut self,
        handle: Handle,
        status: u16,
        headers: &[(&str, &str)],
    ) -> Vec<(String, String)> {
        let under_way = self.under_way(handle);
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect();
        let (headers, details, upstream) = response(status, &headers, "via_upstream");
        let received = under_way.stream.respond(headers, &details, upstream);
        under_way.responded = true;
        self.hear();
        texts(&received)
    }

    fn answer_part(&mut self, handle: Handle, bytes: &[u8]) -> Vec<u8> {
        let passed = self.under_way(handle).stream.answer_part(bytes);
        self.hear();
        passed
    }

    fn finish(&mut self, handle: Handle, then: Then) -> Vec<(String, String)> {
        const BEFORE: &str = "upstream_reset_before_response_started";
        let mut under_way = self.streams[handle].take().expect("a request under way");
        let connection_failure = format!("{BEFORE}{{connection_failure}}");
        let reset = format!("{BEFORE}{{remote_reset}}");
        let mut trailers = Vec::new();
        let mut end = None;
        let answer = match then {
            Then::Upstream(status) => Some(response(status, &[], "via_upstream")),
            Then::Grpc(code) => {
                let status = [("grpc-status", code.to_string())];
                Some(response(200, &status, "via_upstream"))
            }
            Then::GrpcTrailers(code) => {
                trailers = vec![("grpc-status".to_owned(), code.to_string().into_bytes())];
                Some(response(200, &[], "via_upstream"))
            }
            Then::BadBody => Some(response(400, &[], "http1.codec_error")),
            Then::ConnectFailure => Some(response(503, &[], &connection_failure)),
            Then::Timeout => Some(response(504, &[], "response_timeout")),
            Then::Hangs => Some(response(504, &[], "stream_idle_timeout")),
            Then::HangsForLong => Some(response(504, &[], "max_duration_timeout")),
            Then::HangsForItsCluster => {
                Some(response(504, &[], "upstream_max_stream_duration_reached"))
            }
            Then::Resets => Some(response(503, &[], &reset)),
            Then::NeverSent => Some(response(408, &[], "stream_idle_timeout")),
            Then::LivesLong => {
                end = Some("max_duration_timeout");
                Some(response(200, &[], "via_upstream"))
            }
            Then::BreaksOff => {
                end = Some("upstream_reset_after_response_started{connection_termination}");
                Some(response(200, &[], "via_upstream"))
            }
            Then::ClientGone => {
                end = Some("downstream_remote_disconnect");
                None
            }
            Then::OtherFilter(status) => Some(response(status, &[], "another_filter")),
        };
        let mut received = Vec::new();
        if !under_way.refused {
            if under_way.body && then.has_body() {
                under_way.stream.body();
            }
            if let (Some((headers, details, upstream)), false) = (answer, under_way.responded) {
                received = texts(&under_way.stream.respond(headers, &details, upstream));
            }
            if end.is_none() {
                under_way.stream.respond_whole(trailers);
            }
        }
        under_way
            .stream
            .end(if under_way.refused { None } else { end });
        self.envoy.settle();
        self.hear();
        received
    }

    fn advance_millis(&mut self, millis: u64) {
        portcullis_modulehost::advance_millis(millis);
    }

    fn tick(&mut self) {
        self.envoy.tick();
        self.hear();
    }

    fn call(&self) -> Option<[String; 4]> {
        let call = self.envoy.calls().first()?;
        let header = |name: &str| call.headers.get(name).cloned().unwrap_or_default();
        Some([
            call.cluster.clone(),
            header(":scheme"),
            header("host"),
            header(":path"),
        ])
    }

    fn answer_call_to(&mut self, path: &str, answer: Option<(u16, &str)>) {
        let mut calls = self.envoy.calls().iter();
        let call = calls.find(|call| {
            call.headers
                .get(":path")
                .is_some_and(|to| to.starts_with(path))
        });
        if let Some(id) = call.map(|call| call.id) {
            let answer = answer.map(|(status, body)| (status, body.as_bytes()));
            self.envoy.answer(id, answer);
            self.hear();
        }
    }

    fn metric(&mut self, name: &str) -> u64 {
        self.envoy.tick();
        let metrics = self.envoy.metrics();
        *metrics
            .get(name)
            .unwrap_or_else(|| panic!("no metric {name} in {metrics:?}"))
    }

    fn logs(&self) -> Vec<String> {
        self.log.clone()
    }

    fn is_kong(&self) -> bool {
        false
    }
}
