//! What both hosts do alike.

use std::net::IpAddr;

use portcullis_driver::{Failed, MetricId};
use portcullis_policy::{
    ClockUnavailable, EntropyUnavailable, Headers, HostFailure, HttpCall, LocalReply, MetricKind,
    NoReply, Timestamp, parse_peer,
};

use crate::abi::{self, Map, MetricType, Status};
use crate::headers::{decode, encode};

impl From<Status> for Failed {
    fn from(_: Status) -> Self {
        Self
    }
}

pub(super) fn now() -> Result<Timestamp, ClockUnavailable> {
    abi::time_nanos()
        .map(Timestamp::from_unix_nanos)
        .map_err(|_| ClockUnavailable)
}

pub(super) fn fill_random(bytes: &mut [u8]) -> Result<(), EntropyUnavailable> {
    match abi::random(bytes) {
        true => Ok(()),
        false => Err(EntropyUnavailable),
    }
}

pub(super) fn define_metric(kind: MetricKind, name: &str) -> Option<MetricId> {
    let kind = match kind {
        MetricKind::Counter => MetricType::Counter,
        MetricKind::Gauge => MetricType::Gauge,
    };
    abi::define_metric(kind, name).ok().map(MetricId)
}

/// Starts a GET.
pub(super) fn start_call(call: &HttpCall) -> Result<u32, NoReply> {
    let headers: [(&[u8], &[u8]); 5] = [
        (b":method", b"GET"),
        (b":scheme", call.scheme.as_bytes()),
        (b":authority", call.authority.as_bytes()),
        (b":path", call.path.as_bytes()),
        (b"accept", b"application/json"),
    ];
    let headers = encode(&headers).ok_or(NoReply::Unanswered)?;
    let timeout = call.timeout.as_nanos() / 1_000_000;
    let timeout = u32::try_from(timeout).unwrap_or(u32::MAX).max(1);
    abi::http_call(&call.upstream, &headers, timeout).map_err(|status| {
        // The request is whole: what Envoy says so of is the cluster.
        if status == Status::BAD_ARGUMENT {
            NoReply::NoSuchUpstream
        } else {
            NoReply::Unanswered
        }
    })
}

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
    number(abi::header(Map::Response, ":status").ok()?)
}

/// The gRPC status of the response whose headers are at hand.
pub(super) fn grpc_status() -> Option<u8> {
    number(abi::header(Map::Response, "grpc-status").ok()?)
}

/// A number in decimal digits.
pub(super) fn number<N: std::str::FromStr>(digits: impl AsRef<[u8]>) -> Option<N> {
    std::str::from_utf8(digits.as_ref()).ok()?.parse().ok()
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
