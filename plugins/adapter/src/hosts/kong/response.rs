//! A response's head on Kong.

use std::cell::OnceCell;

use portcullis_policy::{Origin, Response};

use super::super::common;
use crate::abi::{self, Map, Status};

/// A response's head, read when it is asked for.
#[derive(Default)]
pub(crate) struct Head {
    status: OnceCell<Option<u16>>,
}

/// nginx's own variable. Kong's properties are read by Lua, which ends the worker in a response's phases.
const STATUSES: &str = "ngx\0upstream_status";

impl Response for Head {
    fn status(&self) -> Option<u16> {
        *self.status.get_or_init(common::status)
    }

    fn origin(&self) -> Origin {
        match abi::property(STATUSES) {
            Ok(statuses) => origin_by(&statuses),
            Err(Status::NOT_FOUND) => Origin::Gateway,
            Err(_) => Origin::Unknown,
        }
    }

    fn reached_upstream(&self) -> bool {
        !matches!(abi::property(STATUSES), Err(Status::NOT_FOUND))
    }

    fn grpc_status(&self) -> Option<u8> {
        common::grpc_status()
    }

    fn header(&self, name: &str) -> Option<Vec<u8>> {
        abi::header(Map::Response, name).ok()
    }
}

/// Who answered, by nginx's `$upstream_status`: the status of each server that was tried, `502, 200`; `-` for one that
/// gave none; nothing where none was asked.
fn origin_by(statuses: &[u8]) -> Origin {
    let last = statuses.rsplit(|byte| matches!(byte, b',' | b':')).next();
    match last.unwrap_or_default().trim_ascii() {
        b"" => Origin::Gateway,
        b"-" => Origin::ClientGone,
        _ => Origin::Upstream,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(origin_by(statuses.as_bytes()), origin, "{statuses}");
        }
    }
}
