//! Which host this is, and what can be told of a request only in its own way.

use std::net::IpAddr;

use portcullis_policy::{Origin, PeerAddress, parse_peer};

use crate::abi::{self, Map, Status};

/// The hosts that differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    Envoy,
    /// nginx with ngx_wasm_module: Kong's data plane, or nginx alone.
    Kong,
}

impl Host {
    /// The host at hand. WASI tells at any time, also while a filter is configured: Envoy knows the standard output,
    /// ngx_wasm_module no descriptor at all. (Properties don't: outside of a request reading one ends Kong's worker.)
    pub(crate) fn at_hand() -> Self {
        if abi::knows_stdout() {
            Self::Envoy
        } else {
            Self::Kong
        }
    }
}

/// What the gateway knows of a request besides its headers.
impl PeerAddress for Host {
    fn peer(&self) -> Option<IpAddr> {
        parse_peer(&text("source\0address")?)
    }

    fn route(&self) -> Option<String> {
        let property = match self {
            Self::Envoy => "xds\0route_name",
            Self::Kong => "kong\0route_name",
        };
        text(property).filter(|name| !name.is_empty())
    }
}

/// The request target as the client sent it, where `:path` is something else: on Kong that is what
/// nginx has made of it, decoded, its dots resolved and its slashes merged, while what goes on to the
/// upstream is made of the original. `Ok(None)`: `:path` is it.
pub(crate) fn original_target(host: Host) -> Result<Option<Vec<u8>>, Status> {
    match host {
        Host::Envoy => Ok(None),
        Host::Kong => match abi::property("request\0path") {
            Ok(target) if !target.is_empty() => Ok(Some(target)),
            Ok(_) => Err(Status::NOT_FOUND),
            Err(status) => Err(status),
        },
    }
}

/// Whether a request on Kong may have a body that its headers do not announce, as in HTTP/2 and HTTP/3 (RFC 9113
/// section 8.1).
pub(crate) fn may_have_body_unannounced() -> bool {
    text("request\0protocol").is_none_or(|protocol| !protocol.starts_with("HTTP/1"))
}

/// Who made the response whose headers are at hand.
pub(crate) fn response_origin(host: Host) -> Origin {
    match host {
        Host::Envoy => match abi::property("response\0code_details") {
            Ok(details) => Origin::from_envoy_details(&String::from_utf8_lossy(&details)),
            Err(Status::NOT_FOUND) => Origin::from_envoy_details(""),
            Err(_) => Origin::Unknown,
        },
        // nginx's own variable. Kong's properties are read by Lua, which ends the worker in a response's phases.
        Host::Kong => match abi::property("ngx\0upstream_status") {
            Ok(statuses) => upstream_origin(&statuses),
            Err(Status::NOT_FOUND) => Origin::Gateway,
            Err(_) => Origin::Unknown,
        },
    }
}

/// Whether some of the request may have reached the upstream, in this attempt or in one before it.
pub(crate) fn reached_upstream(host: Host) -> bool {
    let is_there = |property| !matches!(abi::property(property), Err(Status::NOT_FOUND));
    match host {
        // An attempt that is held back has no address, whatever the one before it had.
        Host::Envoy => {
            is_there("upstream\0address")
                || abi::property("upstream\0request_attempt_count")
                    .is_ok_and(|count| is_more_than_one(&count))
        }
        Host::Kong => is_there("ngx\0upstream_status"),
    }
}

/// Of a number as Envoy shows it: eight bytes, the lowest first.
fn is_more_than_one(number: &[u8]) -> bool {
    number
        .iter()
        .enumerate()
        .any(|(place, byte)| if place == 0 { *byte > 1 } else { *byte > 0 })
}

/// Who answered, by nginx's `$upstream_status`: the status of each server that was tried, `502, 200`; `-` for one that
/// gave none; nothing where none was asked.
fn upstream_origin(statuses: &[u8]) -> Origin {
    let last = statuses.rsplit(|byte| matches!(byte, b',' | b':')).next();
    match last.unwrap_or_default().trim_ascii() {
        b"" => Origin::Gateway,
        b"-" => Origin::ClientGone,
        _ => Origin::Upstream,
    }
}

/// How a stream ended, at its log.
pub(crate) fn ending_origin(host: Host, response_seen: bool) -> Origin {
    match host {
        // What breaks off in mid-stream has its own details, in place of those of the head.
        Host::Envoy => response_origin(host),
        Host::Kong if !response_seen => match text("response\0code").as_deref() {
            // nginx's word for a client that closed its request.
            Some("499") => Origin::ClientGone,
            _ => Origin::Unknown,
        },
        Host::Kong => Origin::Unknown,
    }
}

/// The gRPC status of the response whose headers are at hand.
pub(crate) fn response_grpc_status() -> Option<u8> {
    grpc_status(abi::header(Map::Response, "grpc-status").ok()?)
}

/// The gRPC status in the trailers of a response that has ended. Kong shows none.
pub(crate) fn trailing_grpc_status(host: Host) -> Option<u8> {
    match host {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_envoys_is_read_from_its_lowest_byte_on() {
        for (number, is_more) in [
            (0_u64, false),
            (1, false),
            (2, true),
            (255, true),
            (256, true),
            (u64::MAX, true),
        ] {
            assert_eq!(is_more_than_one(&number.to_le_bytes()), is_more, "{number}");
        }
        assert!(!is_more_than_one(b""));
    }

    #[test]
    fn the_last_server_that_was_tried_says_who_answered() {
        for (statuses, origin) in [
            ("200", Origin::Upstream),
            ("502, 200", Origin::Upstream),
            ("502 : 503", Origin::Upstream),
            ("200, -", Origin::ClientGone),
            ("-", Origin::ClientGone),
            ("", Origin::Gateway),
        ] {
            assert_eq!(upstream_origin(statuses.as_bytes()), origin, "{statuses}");
        }
    }
}
