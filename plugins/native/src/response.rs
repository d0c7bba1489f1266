//! A response's head.

use std::cell::OnceCell;

use portcullis_driver::number;
use portcullis_envoy::{UPSTREAM_SERVICE_TIME, origin_by};
use portcullis_policy::{Headers, Origin, Response};

use crate::abi::{Attribute, FilterPtr, Map};

/// A response's head, read when it is asked for.
pub(crate) struct Head {
    stream: FilterPtr,
    /// Whether all headers will be wanted, so that fetching them at once is cheaper.
    fetch_all: bool,
    headers: OnceCell<Option<Headers>>,
}

impl Head {
    pub(crate) const fn of(stream: FilterPtr, fetch_all: bool) -> Self {
        Self {
            stream,
            fetch_all,
            headers: OnceCell::new(),
        }
    }

    /// Whether Envoy's router says that the upstream answered.
    pub(crate) fn is_from_upstream(&self) -> bool {
        self.first(UPSTREAM_SERVICE_TIME, |_| ()).is_some()
    }

    /// All headers, where they were read.
    pub(crate) fn read(&self) -> Option<&Headers> {
        self.headers.get()?.as_ref()
    }

    /// Reads the first value of a header.
    fn first<R>(&self, name: &str, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        match self.headers() {
            Some(headers) => headers.get(name).map(read),
            None => self.stream.header(Map::Response, name, read),
        }
    }
}

impl Response for Head {
    fn status(&self) -> Option<u16> {
        self.first(":status", number)?
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
        self.first("grpc-status", number)?
    }

    fn header(&self, name: &str) -> Option<Vec<u8>> {
        self.first(name, <[u8]>::to_vec)
    }

    fn headers(&self) -> Option<&Headers> {
        if !self.fetch_all {
            return None;
        }
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
