//! What answers a request.

use crate::Dialect;

/// Who answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResponseOrigin {
    /// The upstream.
    Upstream,
    /// Another filter's local reply, or on Kong another plugin's exit.
    OtherFilter,
    /// Nobody: the gateway could not connect.
    ConnectFailure,
    /// Nobody: the upstream took too long.
    Timeout,
}

/// A response on its way to the filter.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status. Kong answers a connect failure with 502 where Envoy says 503, but shows the filter neither.
    pub status: u32,
    /// The headers, in order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The trailers, in order. Kong shows none.
    pub trailers: Vec<(String, Vec<u8>)>,
    /// Who answered.
    pub origin: ResponseOrigin,
    /// Envoy's `response.code_details`, if not what goes with the origin.
    pub details: Option<String>,
    /// Envoy's `response.flags`, if not what goes with the origin.
    pub flags: Option<i64>,
}

impl Response {
    /// The upstream's answer.
    pub fn upstream(status: u32) -> Response {
        Response::new(status, ResponseOrigin::Upstream)
    }

    /// Another filter's local reply.
    pub fn other_filter(status: u32) -> Response {
        Response::new(status, ResponseOrigin::OtherFilter)
    }

    /// The gateway could not connect to the upstream.
    pub fn connect_failure() -> Response {
        Response::new(503, ResponseOrigin::ConnectFailure)
    }

    /// The upstream did not answer in time.
    pub fn timeout() -> Response {
        Response::new(504, ResponseOrigin::Timeout)
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Response {
        self.headers
            .push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Adds a trailer.
    pub fn trailer(mut self, name: &str, value: impl AsRef<[u8]>) -> Response {
        self.trailers
            .push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Other details than those that go with the origin (Envoy).
    pub fn details(mut self, details: &str) -> Response {
        self.details = Some(details.to_owned());
        self
    }

    /// Other flags than those that go with the origin (Envoy).
    pub fn flags(mut self, flags: i64) -> Response {
        self.flags = Some(flags);
        self
    }

    /// The headers as filters see them: Envoy's router adds to what the upstream sent how long that took.
    pub(crate) fn shown(&self, dialect: Dialect) -> Vec<(String, Vec<u8>)> {
        const SERVICE_TIME: &str = "x-envoy-upstream-service-time";
        let mut headers = self.headers.clone();
        if dialect == Dialect::Envoy && self.origin == ResponseOrigin::Upstream {
            headers.push((SERVICE_TIME.to_owned(), b"0".to_vec()));
        }
        headers
    }

    fn new(status: u32, origin: ResponseOrigin) -> Response {
        Response {
            status,
            headers: Vec::new(),
            trailers: Vec::new(),
            origin,
            details: None,
            flags: None,
        }
    }
}
