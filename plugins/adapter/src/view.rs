//! What a policy sees of a request, a response and a stream's end, read when it is asked for.

use std::cell::OnceCell;

use portcullis_policy::{Ending, Headers, Origin, Response, Sent};

use crate::abi::{self, Map};
use crate::headers::decode;
use crate::host::{self, Host};

/// A response's head.
pub(crate) struct ResponseView {
    host: Host,
    fetch_all: bool,
    headers: OnceCell<Option<Headers>>,
    status: OnceCell<Option<u16>>,
}

impl ResponseView {
    /// `fetch_all`: all headers will be wanted, so that fetching them at once is cheaper.
    pub(crate) fn new(host: Host, fetch_all: bool) -> Self {
        // On Kong `:status` is not known to be among them, and they are not put back at once.
        let fetch_all = fetch_all && host == Host::Envoy;
        Self {
            host,
            fetch_all,
            headers: OnceCell::new(),
            status: OnceCell::new(),
        }
    }

    /// All headers, where they are fetched at once.
    pub(crate) fn headers(&self) -> Option<&Headers> {
        if !self.fetch_all {
            return None;
        }
        self.headers
            .get_or_init(|| decode(abi::header_pairs(Map::Response).ok()?))
            .as_ref()
    }
}

impl Response for ResponseView {
    fn status(&self) -> Option<u16> {
        match self.headers() {
            Some(headers) => std::str::from_utf8(headers.get(":status")?)
                .ok()?
                .parse()
                .ok(),
            None => *self.status.get_or_init(host::response_status),
        }
    }

    fn origin(&self) -> Origin {
        host::response_origin(self.host)
    }

    fn reached_upstream(&self) -> bool {
        host::reached_upstream(self.host)
    }

    fn end_tells_origin(&self) -> bool {
        self.host == Host::Envoy
    }

    fn grpc_status(&self) -> Option<u8> {
        match self.headers() {
            Some(headers) => host::grpc_status(headers.get("grpc-status")?.to_vec()),
            None => host::response_grpc_status(),
        }
    }

    fn headers(&self) -> Option<&Headers> {
        ResponseView::headers(self)
    }
}

/// A stream's end.
pub(crate) enum EndView {
    /// At its log.
    Logged { host: Host, response_seen: bool },
    /// At its deletion.
    Dropped {
        /// What the client has sent of its request.
        sent: Sent,
    },
    /// Of a stream that was answered here after its policy had let it pass.
    Answered,
}

impl Ending for EndView {
    fn origin(&self) -> Origin {
        match self {
            Self::Logged {
                host,
                response_seen,
            } => host::ending_origin(*host, *response_seen),
            // Nothing has gone on to the upstream: the client left, or what it sent was refused.
            Self::Dropped {
                sent: Sent::HeadOnly,
            } => Origin::ClientGone,
            Self::Dropped { sent: Sent::Whole } => Origin::Unknown,
            Self::Answered => Origin::Gateway,
        }
    }

    fn is_dropped(&self) -> bool {
        matches!(self, Self::Dropped { .. })
    }

    fn grpc_status(&self) -> Option<u8> {
        match self {
            Self::Logged { host, .. } => host::trailing_grpc_status(*host),
            Self::Dropped { .. } | Self::Answered => None,
        }
    }
}
