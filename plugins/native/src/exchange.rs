//! One request and its response, as Envoy shows them to native code.

use std::net::IpAddr;

use portcullis_driver::{Exchange, Failed, RequestBody};
use portcullis_policy::{
    HeaderEdit, Headers, HostFailure, LocalReply, Origin, PeerAddress, Request, RequestEdits,
    ResponseEdits, Sent, parse_peer,
};

use crate::abi::{Attribute, FilterPtr, Map};
use crate::response::{Head, number, origin};

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

    fn target(&self) -> Result<Option<Vec<u8>>, HostFailure> {
        Ok(None)
    }

    /// The stream's completion tells how it has ended.
    fn body(&self, request: &Request<'_>, ends: bool, _: bool) -> RequestBody {
        RequestBody {
            sent: if ends { request.sent() } else { Sent::HeadOnly },
            sent_at_deletion: Sent::Whole,
            is_denied: false,
        }
    }

    fn change_request(&self, edits: &RequestEdits<'_>) -> Result<(), Failed> {
        let changed = apply(self.0, Map::Request, edits.headers());
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

    fn response(&self, _: bool) -> Head {
        Head::of(self.0)
    }

    fn is_from_upstream(&self, head: &Head) -> bool {
        head.is_from_upstream()
    }

    fn change_response(&self, _: &Head, edits: &ResponseEdits<'_>) -> Result<(), Failed> {
        apply(self.0, Map::Response, edits.headers())
    }

    /// What breaks off in mid-stream has its own details, in place of those of the head.
    fn ending(&self, _: bool) -> Origin {
        origin(self.0)
    }

    fn trailing_grpc_status(&self) -> Option<u8> {
        number(&self.0.header(Map::ResponseTrailers, "grpc-status")?)
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

fn apply(stream: FilterPtr, map: Map, edits: &[HeaderEdit<'_>]) -> Result<(), Failed> {
    let mut outcome = Ok(());
    for edit in edits {
        let done = match edit {
            HeaderEdit::Set { name, value } => stream.set_header(map, name.as_bytes(), Some(value)),
            HeaderEdit::Clear { name } => stream.set_header(map, name.as_bytes(), None),
        };
        if !done {
            outcome = Err(Failed);
        }
    }
    outcome
}
