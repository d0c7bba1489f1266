//! What both hosts do alike.

use std::net::IpAddr;

use portcullis_driver::{Failed, number};
use portcullis_policy::{Headers, HostFailure, LocalReply, parse_peer};

use crate::abi::{self, Map};
use crate::headers::{decode, encode};

/// All of the request's headers.
pub(super) fn request_headers() -> Result<Headers, HostFailure> {
    let headers = abi::header_pairs(Map::Request).ok().and_then(decode);
    headers.ok_or(HostFailure::Headers)
}

pub(super) fn peer() -> Option<IpAddr> {
    parse_peer(&text("source\0address")?)
}

/// The name of the route, by the host's property for it.
pub(super) fn route(property: &str) -> Option<String> {
    text(property).filter(|name| !name.is_empty())
}

/// A property that is a text.
pub(super) fn text(property: &str) -> Option<String> {
    String::from_utf8(abi::property(property).ok()?).ok()
}

/// The status of the response whose headers are at hand.
pub(super) fn status() -> Option<u16> {
    number(&abi::header(Map::Response, ":status").ok()?)
}

/// The gRPC status of the response whose headers are at hand.
pub(super) fn grpc_status() -> Option<u8> {
    number(&abi::header(Map::Response, "grpc-status").ok()?)
}

/// Sends an answer with these headers beside its own.
pub(super) fn send(
    reply: &LocalReply,
    status: u16,
    more: &[(&[u8], &[u8])],
    body: &str,
    details: &str,
    grpc: Option<u8>,
) -> Result<(), Failed> {
    let own = reply.headers.iter();
    let own = own.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let headers: Vec<(&[u8], &[u8])> = own.chain(more.iter().copied()).collect();
    let headers = encode(&headers).ok_or(Failed)?;
    Ok(abi::send_local_response(
        status, details, &headers, body, grpc,
    )?)
}
