//! Envoy.

mod response;

use std::net::IpAddr;

use portcullis_driver::{Exchange, Failed, number};
use portcullis_envoy::origin_by;
use portcullis_policy::{
    Abilities, HeaderEdit, Headers, HostFailure, LocalReply, Origin, PeerAddress, RequestEdits,
    ResponseEdits, Splice,
};

use self::response::Head;
use super::common;
use crate::abi::{self, Body, Map, Status};
use crate::build;
use crate::worker::Nature;

/// Whatever stream is at hand in Envoy's worker.
#[derive(Clone, Copy)]
pub(super) struct Envoy;

impl Nature for Envoy {
    const KEEPS_FORMER_CONFIGURATION: bool = true;
    const SHARES_BEFORE_REQUESTS: bool = true;
    const CALLS_FROM_ANSWERS: bool = true;
    const ABILITIES: Abilities = Abilities::ENVOY;

    fn abilities() -> Abilities {
        match build::shows_responses() {
            true => Abilities::ENVOY,
            false => Abilities::ENVOY_ALONE,
        }
    }
}

impl PeerAddress for Envoy {
    fn peer(&self) -> Option<IpAddr> {
        common::peer()
    }

    fn route(&self) -> Option<String> {
        common::route("xds\0route_name")
    }
}

impl Exchange for Envoy {
    type Head = Head;

    fn request_headers(&self, count: usize) -> Result<Headers, HostFailure> {
        let headers = common::request_headers()?;
        // A client that sends more than are shown could hide one that it forged.
        match headers.len() < count {
            true => Err(HostFailure::HeadersCut),
            false => Ok(headers),
        }
    }

    fn request_body(
        &self,
        from: usize,
        size: usize,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Failed> {
        Ok(abi::body(Body::Request, from, size, take)?)
    }

    fn change_request_body(&self, size: usize, splices: &[Splice]) -> Result<(), Failed> {
        let last = splices
            .last()
            .and_then(|last| usize::try_from(last.end).ok());
        let mut begin = Vec::new();
        let needed = last.unwrap_or(0).min(size);
        abi::body(Body::Request, 0, needed, &mut |bytes| {
            begin.extend_from_slice(bytes);
        })?;
        let (changed, replaced) = Splice::apply(splices, &begin).ok_or(Failed)?;
        Ok(abi::replace_begin(Body::Request, replaced, &changed)?)
    }

    fn change_response_body(&self, size: usize, passing: &[u8]) -> Result<(), Failed> {
        Ok(abi::replace_begin(Body::Response, size, passing)?)
    }

    fn response_body(&self, size: usize, take: &mut dyn FnMut(&[u8])) -> Result<(), Failed> {
        Ok(abi::body(Body::Response, 0, size, take)?)
    }

    fn change_request(&self, _: Option<&Headers>, edits: &RequestEdits<'_>) -> Result<(), Failed> {
        let target = edits.target();
        let target = target.map(|target| abi::replace_header(Map::Request, ":path", target));
        Ok(apply(Map::Request, edits.headers()).and(target.unwrap_or(Ok(())))?)
    }

    fn response(&self, all: bool) -> Head {
        Head::new(all)
    }

    fn is_from_upstream(&self, head: &Head) -> bool {
        head.is_from_upstream()
    }

    fn change_response(&self, head: &Head, edits: &ResponseEdits<'_>) -> Result<(), Failed> {
        Ok(match head.edited(edits.headers()) {
            Some(pairs) => abi::set_header_pairs(Map::Response, &pairs),
            None => apply(Map::Response, edits.headers()),
        }?)
    }

    /// What breaks off in mid-stream has its own details, in place of those of the head.
    fn ending(&self, _: bool) -> Origin {
        origin()
    }

    fn trailing_grpc_status(&self) -> Option<u8> {
        number(&abi::property("response\0trailers\0grpc-status").ok()?)
    }

    /// Envoy makes a gRPC answer of it by itself, with the body as its message. The cause goes into the access log's
    /// response code details.
    fn reply(&self, reply: &LocalReply) -> Result<(), Failed> {
        let grpc = reply.grpc.map(|status| status.code());
        common::send(reply, reply.status, &[], &reply.body, &reply.cause, grpc)
    }
}

/// Who made the response of the stream at hand, or ended it, by its details.
fn origin() -> Origin {
    match abi::property("response\0code_details") {
        Ok(details) => origin_by(&String::from_utf8_lossy(&details)),
        Err(Status::NOT_FOUND) => origin_by(""),
        Err(_) => Origin::Unknown,
    }
}

fn apply(map: Map, edits: &[HeaderEdit<'_>]) -> Result<(), Status> {
    let mut outcome = Ok(());
    for edit in edits {
        outcome = outcome.and(match edit {
            HeaderEdit::Set { name, value } => abi::replace_header(map, name, value),
            HeaderEdit::Clear { name } => abi::remove_header(map, name),
        });
    }
    outcome
}
