//! A response's head on Envoy.

use std::cell::OnceCell;

use portcullis_driver::number;
use portcullis_envoy::UPSTREAM_SERVICE_TIME;
use portcullis_policy::{HeaderEdit, Headers, Origin, Response};

use super::super::common;
use crate::abi::{self, Map, Status};
use crate::headers::{decode, encode_edited};

/// From so many changes on, one call that puts all headers back is cheaper than one for each.
const PUT_BACK_ALL_FROM: usize = 4;

/// A response's head, read when it is asked for.
pub(crate) struct Head {
    /// Whether all headers will be wanted, so that fetching them at once is cheaper.
    fetch_all: bool,
    headers: OnceCell<Option<Headers>>,
    status: OnceCell<Option<u16>>,
}

impl Head {
    pub(super) const fn new(fetch_all: bool) -> Self {
        Self {
            fetch_all,
            headers: OnceCell::new(),
            status: OnceCell::new(),
        }
    }

    /// Whether Envoy says in what was read already how long the upstream took, as it does unless `suppress_envoy_headers` is
    /// set: so the answer is not its own, nor that of another filter.
    pub(super) fn is_from_upstream(&self) -> bool {
        let read = self.headers.get().and_then(Option::as_ref);
        read.is_some_and(|headers| headers.get(UPSTREAM_SERVICE_TIME).is_some())
    }

    /// All headers with these changes, encoded, where it pays.
    pub(super) fn edited(&self, edits: &[HeaderEdit<'_>]) -> Option<Vec<u8>> {
        match edits.len() >= PUT_BACK_ALL_FROM {
            true => encode_edited(self.headers()?, edits),
            false => None,
        }
    }
}

impl Response for Head {
    fn status(&self) -> Option<u16> {
        match self.headers() {
            Some(headers) => number(headers.get(":status")?),
            None => *self.status.get_or_init(common::status),
        }
    }

    fn origin(&self) -> Origin {
        super::origin()
    }

    fn origin_is_told_later(&self) -> bool {
        true
    }

    /// An attempt that is held back has no address, whatever the one before it had.
    fn reached_upstream(&self) -> bool {
        !matches!(abi::property("upstream\0address"), Err(Status::NOT_FOUND))
            || abi::property("upstream\0request_attempt_count")
                .is_ok_and(|count| is_more_than_one(&count))
    }

    fn grpc_status(&self) -> Option<u8> {
        match self.headers() {
            Some(headers) => number(headers.get("grpc-status")?),
            None => common::grpc_status(),
        }
    }

    fn header(&self, name: &str) -> Option<Vec<u8>> {
        match self.headers() {
            Some(headers) => headers.get(name).map(<[u8]>::to_vec),
            None => abi::header(Map::Response, name).ok(),
        }
    }

    fn headers(&self) -> Option<&Headers> {
        if !self.fetch_all {
            return None;
        }
        self.headers
            .get_or_init(|| decode(abi::header_pairs(Map::Response).ok()?))
            .as_ref()
    }
}

/// Of a number as Envoy shows it: eight bytes, the lowest first.
fn is_more_than_one(number: &[u8]) -> bool {
    number
        .iter()
        .enumerate()
        .any(|(index, byte)| if index == 0 { *byte > 1 } else { *byte > 0 })
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
}
