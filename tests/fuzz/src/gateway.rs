//! A request to a worker of a simulated gateway, byte by byte, and what comes of it.

use std::net::IpAddr;

use portcullis_jwt_auth::JwtAuth;
use portcullis_policy::{
    HeaderEdit, Headers, PeerAddress, Policy as _, Request, RequestEdits, Verdict,
};
use portcullis_sim::{Dialect, Worker, World};

/// A request that passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Passed {
    /// The headers that the upstream receives.
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    /// The provider of the caller's token.
    pub(crate) provider: Option<String>,
}

impl Passed {
    /// The value of a header; empty where it is not there.
    pub(crate) fn header(&self, name: &str) -> &[u8] {
        let mut headers = self.headers.iter();
        headers
            .find(|(known, _)| known == name)
            .map_or(&[], |(_, value)| value)
    }
}

/// A world and its first worker. The dialect goes by the input, so that both are tried.
pub(crate) fn begin(config: &str, input: &[u8]) -> (World, Worker<JwtAuth>) {
    let world = World::new(Dialect::BOTH[input.len() % 2], 1);
    let worker = worker(&world, config, 0);
    (world, worker)
}

/// One more worker of a world.
pub(crate) fn worker(world: &World, config: &str, number: u64) -> Worker<JwtAuth> {
    let worker = world.worker_taking(config, None, number);
    worker.unwrap_or_else(|error| panic!("{error}"))
}

/// Sends a GET with `target` and `headers`; `None`: it was refused. Whatever is written to an
/// upstream, a client or a log is looked at for bytes that would forge a line of it.
pub(crate) fn ask(
    worker: &Worker<JwtAuth>,
    target: &[u8],
    headers: &[(&str, &[u8])],
) -> Option<Passed> {
    let pseudo: [(&str, &[u8]); 3] = [
        (":method", b"GET"),
        (":path", target),
        (":authority", b"rag"),
    ];
    let all = || pseudo.iter().chain(headers).copied();
    let sent = Headers::from_pairs(all());
    let request = Request::new(&sent, &Nobody);
    let (verdict, flow) = worker.policy.on_request(&request, &worker.ports());
    for line in worker.telemetry.lines() {
        assert!(!line.contains(char::is_control), "in a log line: {line:?}");
    }
    match verdict {
        Verdict::Read { .. } | Verdict::Wait { .. } => panic!("no body decides"),
        Verdict::Refuse(reply) => {
            assert!((400..600).contains(&reply.status), "{reply:?}");
            for (name, value) in &reply.headers {
                assert!(is_one_line(value.as_bytes()), "{name}: {value:?}");
            }
            None
        }
        Verdict::Continue(edits) => Some(Passed {
            headers: passed(all(), &edits),
            provider: flow.provider().map(str::to_owned),
        }),
    }
}

fn passed<'a>(
    sent: impl Iterator<Item = (&'a str, &'a [u8])>,
    edits: &RequestEdits<'_>,
) -> Vec<(String, Vec<u8>)> {
    let mut headers: Vec<_> = sent
        .map(|(name, value)| (name.to_owned(), value.to_vec()))
        .collect();
    for edit in edits.headers() {
        let (name, value) = match edit {
            HeaderEdit::Set { name, value } => {
                assert!(is_one_line(value), "{name}: {}", value.escape_ascii());
                (&**name, Some(value.to_vec()))
            }
            HeaderEdit::Clear { name } => (&**name, None),
        };
        headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        headers.extend(value.map(|value| (name.to_owned(), value)));
    }
    if let Some(target) = edits.target() {
        headers.retain(|(known, _)| known != ":path");
        headers.push((":path".to_owned(), target.to_vec()));
    }
    headers
}

/// Whether bytes can be a header's value (RFC 9110 section 5.5).
pub(crate) fn is_one_line(value: &[u8]) -> bool {
    !value
        .iter()
        .any(|byte| matches!(byte, b'\0' | b'\r' | b'\n'))
}

struct Nobody;

impl PeerAddress for Nobody {
    fn peer(&self) -> Option<IpAddr> {
        None
    }
}
