//! Which host this is, and what can be told of a request only in its own way.

use std::cell::Cell;
use std::net::IpAddr;

use portcullis_policy::{Origin, parse_peer};

use crate::abi::{self, Map, Status};

/// The hosts that differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    Envoy,
    Kong,
}

/// Finds out once which host this is. It must be asked within a request: on Kong, reading a
/// property outside of one can take the worker down.
#[derive(Default)]
pub(crate) struct Detector(Cell<Option<Host>>);

impl Detector {
    /// The host; `None` when it does not say.
    pub(crate) fn host(&self) -> Option<Host> {
        if self.0.get().is_none() {
            self.peer();
        }
        self.0.get()
    }

    /// The connection's peer. It also tells the host: Envoy shows it with its port, Kong without.
    pub(crate) fn peer(&self) -> Option<IpAddr> {
        let text = String::from_utf8(abi::property("source\0address").ok()?).ok()?;
        if self.0.get().is_none() && !text.is_empty() {
            let bare = text.parse::<IpAddr>().is_ok() || text.starts_with("unix:");
            self.0
                .set(Some(if bare { Host::Kong } else { Host::Envoy }));
        }
        parse_peer(&text)
    }
}

/// The name of the route that the gateway has chosen.
pub(crate) fn route_name(host: Option<Host>) -> Option<String> {
    let property = match host? {
        Host::Envoy => "xds\0route_name",
        Host::Kong => "kong\0route_name",
    };
    let name = String::from_utf8(abi::property(property).ok()?).ok()?;
    (!name.is_empty()).then_some(name)
}

/// The request target as the client sent it, where `:path` is something else: on Kong that is what
/// nginx has made of it, decoded, its dots resolved and its slashes merged, while what goes on to the
/// upstream is made of the original. `Ok(None)`: `:path` is it.
pub(crate) fn original_target(host: Option<Host>) -> Result<Option<Vec<u8>>, Status> {
    match host {
        Some(Host::Envoy) => Ok(None),
        Some(Host::Kong) | None => match abi::property("request\0path") {
            Ok(target) if !target.is_empty() => Ok(Some(target)),
            Ok(_) => Err(Status::NOT_FOUND),
            Err(status) => Err(status),
        },
    }
}

/// Who made the response whose headers are at hand.
pub(crate) fn response_origin(host: Option<Host>) -> Origin {
    match host {
        Some(Host::Envoy) => match abi::property("response\0code_details") {
            Ok(details) => Origin::from_envoy_details(&String::from_utf8_lossy(&details)),
            Err(Status::NOT_FOUND) => Origin::from_envoy_details(""),
            Err(_) => Origin::Unknown,
        },
        // There where the upstream has answered. Not `kong.response.source`: releases are known that
        // fail to tell it, and a neighbouring filter's answer is none of `exit` to it.
        Some(Host::Kong) => match abi::property("kong\0service\0response\0status") {
            Ok(status) if !status.is_empty() => Origin::Upstream,
            Ok(_) | Err(Status::NOT_FOUND) => Origin::Gateway,
            Err(_) => Origin::Unknown,
        },
        None => Origin::Unknown,
    }
}

/// How a stream ended, at its log.
pub(crate) fn ending_origin(host: Option<Host>, response_seen: bool) -> Origin {
    match host {
        // What breaks off in mid-stream has its own details, in place of those of the head.
        Some(Host::Envoy) => response_origin(host),
        Some(Host::Kong) if !response_seen => match text("response\0code").as_deref() {
            // nginx's word for a client that closed its request.
            Some("499") => Origin::ClientGone,
            _ => Origin::Unknown,
        },
        Some(Host::Kong) | None => Origin::Unknown,
    }
}

/// The gRPC status of the response whose headers are at hand.
pub(crate) fn response_grpc_status() -> Option<u8> {
    grpc_status(abi::header(Map::Response, "grpc-status").ok()?)
}

/// The gRPC status in the trailers of a response that has ended. Kong shows none.
pub(crate) fn trailing_grpc_status(host: Option<Host>) -> Option<u8> {
    match host? {
        Host::Envoy => grpc_status(abi::property("response\0trailers\0grpc-status").ok()?),
        Host::Kong => None,
    }
}

pub(crate) fn grpc_status(value: Vec<u8>) -> Option<u8> {
    String::from_utf8(value).ok()?.parse().ok()
}

/// The status of the response whose headers are at hand.
pub(crate) fn response_status() -> Option<u16> {
    String::from_utf8(abi::header(Map::Response, ":status").ok()?)
        .ok()?
        .parse()
        .ok()
}

fn text(property: &str) -> Option<String> {
    String::from_utf8(abi::property(property).ok()?).ok()
}
