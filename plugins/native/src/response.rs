//! A response's head.

use std::cell::OnceCell;

use portcullis_envoy::{UPSTREAM_SERVICE_TIME, origin_by};
use portcullis_policy::{Headers, Origin, Response};

use crate::abi::{Attribute, FilterPtr, Map};

/// A response's head, read when it is asked for.
pub(crate) struct Head {
    stream: FilterPtr,
    headers: OnceCell<Option<Headers>>,
}

impl Head {
    pub(crate) const fn of(stream: FilterPtr) -> Self {
        Self {
            stream,
            headers: OnceCell::new(),
        }
    }

    /// Whether Envoy's router says that the upstream answered.
    pub(crate) fn is_from_upstream(&self) -> bool {
        self.stream
            .header(Map::Response, UPSTREAM_SERVICE_TIME)
            .is_some()
    }
}

impl Response for Head {
    fn status(&self) -> Option<u16> {
        number(&self.stream.header(Map::Response, ":status")?)
    }

    fn origin(&self) -> Origin {
        origin(self.stream)
    }

    fn origin_is_told_later(&self) -> bool {
        true
    }

    /// An attempt that is held back has no address, whatever the one before it had.
    fn reached_upstream(&self) -> bool {
        self.stream
            .text(Attribute::UpstreamAddress, |_| ())
            .is_some()
            || self
                .stream
                .number_of(Attribute::UpstreamRequestAttemptCount)
                .is_some_and(|count| count > 1)
    }

    fn grpc_status(&self) -> Option<u8> {
        number(&self.stream.header(Map::Response, "grpc-status")?)
    }

    fn headers(&self) -> Option<&Headers> {
        let headers = self
            .headers
            .get_or_init(|| self.stream.headers(Map::Response));
        headers.as_ref()
    }
}

/// Who made the response of a stream, or ended it.
pub(crate) fn origin(stream: FilterPtr) -> Origin {
    let told = stream.text(Attribute::ResponseCodeDetails, origin_by);
    told.unwrap_or_else(|| origin_by(""))
}

/// A number in decimal digits.
pub(crate) fn number<N: std::str::FromStr>(digits: &[u8]) -> Option<N> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}
