//! One request and its response, as Envoy shows them to native code.

use std::net::IpAddr;

use portcullis_driver::{Exchange, Failed, number};
use portcullis_policy::{
    HeaderEdit, Headers, HostFailure, LocalReply, Origin, PeerAddress, RequestEdits, ResponseEdits,
    Splice, parse_peer,
};

use crate::abi::{Attribute, Body, FilterPtr, Map};
use crate::response::{Head, origin};

/// Under which others find what is told of a request: `%DYNAMIC_METADATA(portcullis:x-user-id)%`.
const NAMESPACE: &str = "portcullis";

/// A stream of this worker's, within an event.
#[derive(Clone, Copy)]
pub(crate) struct Entered(pub(crate) FilterPtr);

impl PeerAddress for Entered {
    fn peer(&self) -> Option<IpAddr> {
        self.0.text(Attribute::SourceAddress, parse_peer)?
    }

    fn route(&self) -> Option<String> {
        let name = self.0.text(Attribute::XdsRouteName, str::to_owned);
        name.filter(|name| !name.is_empty())
    }
}

impl Exchange for Entered {
    type Head = Head;

    fn request_headers(&self, count: usize) -> Result<Headers, HostFailure> {
        let headers = self.0.headers(Map::Request).ok_or(HostFailure::Headers)?;
        match headers.len() < count {
            true => Err(HostFailure::HeadersCut),
            false => Ok(headers),
        }
    }

    /// What was kept, and behind it what has come with the event at hand.
    fn request_body(
        &self,
        from: usize,
        _: usize,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Failed> {
        let mut known = from;
        let mut take_new = |bytes: &[u8]| {
            let (_, new) = bytes.split_at_checked(known).unwrap_or((bytes, &[]));
            known = known.saturating_sub(bytes.len());
            if !new.is_empty() {
                take(new);
            }
        };
        let kept =
            self.0.receives_what_was_kept() || self.0.body(Body::BufferedRequest, &mut take_new);
        match kept & self.0.body(Body::ReceivedRequest, &mut take_new) {
            true => Ok(()),
            false => Err(Failed),
        }
    }

    /// All of it is put where its last part is, or was: Envoy puts what it has kept before that. First it is taken away: Envoy answers by
    /// itself, with 413, where more is kept for a moment than may be.
    fn change_request_body(&self, size: usize, splices: &[Splice]) -> Result<(), Failed> {
        let stream = self.0;
        let mut body = Vec::with_capacity(size);
        self.request_body(0, size, &mut |bytes| body.extend_from_slice(bytes))?;
        let (mut changed, replaced) = Splice::apply(splices, &body).ok_or(Failed)?;
        changed.extend_from_slice(body.get(replaced..).unwrap_or_default());
        let received = stream.body_size(Body::ReceivedRequest);
        let kept = match stream.receives_what_was_kept() {
            true => 0,
            false => stream.body_size(Body::BufferedRequest),
        };
        let to = match received {
            0 => Body::BufferedRequest,
            _ => Body::ReceivedRequest,
        };
        let done = (received == 0 || stream.drain_body(Body::ReceivedRequest, received))
            && (kept == 0 || stream.drain_body(Body::BufferedRequest, kept))
            && stream.append_to_body(to, &changed);
        done.then_some(()).ok_or(Failed)
    }

    fn change_response_body(&self, size: usize, passing: &[u8]) -> Result<(), Failed> {
        let body = Body::ReceivedResponse;
        let replaced = self.0.append_to_body(body, passing) && self.0.drain_body(body, size);
        // With trailers nothing is at hand, and what is added goes on before them.
        let done = replaced || size == 0 && self.0.append_to_body(Body::BufferedResponse, passing);
        done.then_some(()).ok_or(Failed)
    }

    fn response_body(&self, _: usize, take: &mut dyn FnMut(&[u8])) -> Result<(), Failed> {
        match self.0.body(Body::ReceivedResponse, take) {
            true => Ok(()),
            false => Err(Failed),
        }
    }

    fn change_request(
        &self,
        sent: Option<&Headers>,
        edits: &RequestEdits<'_>,
    ) -> Result<(), Failed> {
        let changed = apply(self.0, Map::Request, sent, edits.headers());
        for (name, value) in edits.metadata() {
            self.0.tell(NAMESPACE, name, value);
        }
        let changed = match edits.target() {
            None => changed,
            Some(target) => match self.0.set_header(Map::Request, b":path", Some(target)) {
                true => changed,
                false => Err(Failed),
            },
        };
        // A route may be told by what was overwritten: by a header that a client had sent with another tenant's name.
        if !edits.is_empty() {
            self.0.choose_route_anew();
        }
        changed
    }

    fn response(&self, all: bool) -> Head {
        Head::of(self.0, all)
    }

    fn is_from_upstream(&self, head: &Head) -> bool {
        head.is_from_upstream()
    }

    fn change_response(&self, head: &Head, edits: &ResponseEdits<'_>) -> Result<(), Failed> {
        apply(self.0, Map::Response, head.read(), edits.headers())
    }

    /// What breaks off in mid-stream has its own details, in place of those of the head.
    fn ending(&self, _: bool) -> Origin {
        origin(self.0)
    }

    fn trailing_grpc_status(&self) -> Option<u8> {
        self.0
            .header(Map::ResponseTrailers, "grpc-status", number)?
    }

    /// Envoy makes a gRPC answer of it by itself, with the body as its message, and a status that it guesses from that of HTTP:
    /// ours stands in its place.
    fn reply(&self, reply: &LocalReply) -> Result<(), Failed> {
        let own = reply.headers.iter();
        let own = own.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let grpc = reply.grpc.map(|status| status.code().to_string());
        let grpc = grpc
            .iter()
            .map(|code| (&b"grpc-status"[..], code.as_bytes()));
        match self
            .0
            .send_response(reply.status, own.chain(grpc), &reply.body, &reply.cause)
        {
            true => Ok(()),
            false => Err(Failed),
        }
    }
}

/// Makes changes, each in its turn. `read`: all headers, where they were read. What is not among them is added: to set it, Envoy
/// would index all headers first.
fn apply(
    stream: FilterPtr,
    map: Map,
    read: Option<&Headers>,
    edits: &[HeaderEdit<'_>],
) -> Result<(), Failed> {
    // Whoever has changed them meanwhile may have brought in what is to be overwritten.
    let read = read.filter(|read| !edits.is_empty() && stream.header_count(map) == read.len());
    let mut outcome = Ok(());
    for (at, edit) in edits.iter().enumerate() {
        let name = edit.name();
        let is_new = || {
            let before = edits.get(..at).unwrap_or_default();
            read.is_some_and(|read| read.get(name).is_none())
                && before.iter().all(|edit| edit.name() != name)
                // Envoy's other name for `:authority`.
                && name != "host"
        };
        let done = match edit {
            HeaderEdit::Set { value, .. } if is_new() => {
                stream.add_header(map, name.as_bytes(), value)
            }
            HeaderEdit::Set { value, .. } => stream.set_header(map, name.as_bytes(), Some(value)),
            HeaderEdit::Clear { .. } => stream.set_header(map, name.as_bytes(), None),
        };
        if !done {
            outcome = Err(Failed);
        }
    }
    outcome
}
