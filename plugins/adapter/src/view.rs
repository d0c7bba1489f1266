//! What a policy sees of a request, a response and a stream's end, read when it is asked for.

use std::cell::OnceCell;
use std::net::IpAddr;

use portcullis_policy::{Ending, Headers, Origin, PeerAddress, Response};

use crate::abi::{self, Map};
use crate::headers::decode;
use crate::host::{self, Detector, Host};

impl PeerAddress for Detector {
    fn peer(&self) -> Option<IpAddr> {
        Detector::peer(self)
    }

    fn route(&self) -> Option<String> {
        host::route_name(self.host())
    }
}

/// A response's head.
pub(crate) struct ResponseView<'a> {
    detector: &'a Detector,
    fetch_all: bool,
    headers: OnceCell<Option<Headers>>,
}

impl<'a> ResponseView<'a> {
    /// `fetch_all`: all headers will be wanted, so that fetching them at once is cheaper.
    pub(crate) fn new(detector: &'a Detector, fetch_all: bool) -> Self {
        // On Kong `:status` is not known to be among them, and they are not put back at once.
        let fetch_all = fetch_all && detector.host() == Some(Host::Envoy);
        Self {
            detector,
            fetch_all,
            headers: OnceCell::new(),
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

impl Response for ResponseView<'_> {
    fn status(&self) -> Option<u16> {
        match self.headers() {
            Some(headers) => std::str::from_utf8(headers.get(":status")?)
                .ok()?
                .parse()
                .ok(),
            None => host::response_status(),
        }
    }

    fn origin(&self) -> Origin {
        host::response_origin(self.detector.host())
    }

    fn end_tells_origin(&self) -> bool {
        self.detector.host() == Some(Host::Envoy)
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

/// How much of a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// All of it, or it can't be known.
    All,
    /// A body is to follow its headers.
    HeadOnly,
}

impl Sent {
    /// As a policy is told.
    pub(crate) const fn known(self) -> portcullis_policy::Sent {
        match self {
            Self::All => portcullis_policy::Sent::Whole,
            Self::HeadOnly => portcullis_policy::Sent::HeadOnly,
        }
    }

    /// From the headers of a request. One that has a body is complete with the first callback for
    /// it on Kong, which reads all of it before anything goes on to the upstream.
    pub(crate) fn with(headers: &Headers) -> Self {
        let none = |length: &[u8]| length.iter().all(|digit| *digit == b'0');
        let has_body = headers.get("transfer-encoding").is_some()
            || headers
                .get("content-length")
                .is_some_and(|length| !none(length));
        match has_body {
            true => Self::HeadOnly,
            false => Self::All,
        }
    }
}

/// A stream's end.
pub(crate) enum EndView<'a> {
    /// At its log.
    Logged {
        detector: &'a Detector,
        response_seen: bool,
    },
    /// At its deletion.
    Dropped {
        /// What the client has sent of its request.
        sent: Sent,
    },
    /// Of a stream that was answered here after its policy had let it pass.
    Answered,
}

impl Ending for EndView<'_> {
    fn origin(&self) -> Origin {
        match self {
            Self::Logged {
                detector,
                response_seen,
            } => host::ending_origin(detector.host(), *response_seen),
            // Nothing has gone on to the upstream: the client left, or what it sent was refused.
            Self::Dropped {
                sent: Sent::HeadOnly,
            } => Origin::ClientGone,
            Self::Dropped { sent: Sent::All } => Origin::Unknown,
            Self::Answered => Origin::Gateway,
        }
    }

    fn is_dropped(&self) -> bool {
        matches!(self, Self::Dropped { .. })
    }

    fn grpc_status(&self) -> Option<u8> {
        match self {
            Self::Logged { detector, .. } => host::trailing_grpc_status(detector.host()),
            Self::Dropped { .. } | Self::Answered => None,
        }
    }
}
