//! HTTP calls that a filter makes, and their answers.

use crate::Dialect;

/// A call the filter dispatched that has no answer yet. Calls of a context that is gone are cancelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingCall {
    /// Names the call; unique in the host.
    pub token: u32,
    /// The worker it was made in.
    pub worker: usize,
    /// The context it was made from: a request's, or the root's.
    pub context: u32,
    /// The target: a cluster on Envoy, an address on Kong.
    pub upstream: String,
    /// Its headers, pseudo-headers included.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Its body.
    pub body: Vec<u8>,
    /// Its timeout.
    pub timeout_ms: u32,
    pub(crate) instance: usize,
}

impl PendingCall {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let mut same = self
            .headers
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name));
        same.next().map(|(_, value)| value.as_slice())
    }
}

/// How a call goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallFailure {
    /// No answer in time.
    Timeout,
    /// The connection broke, or none came about.
    BrokenConnection,
    /// The name did not resolve.
    Resolver,
    /// No TLS session.
    TlsHandshake,
    /// The answer broke off: on Envoy the callback that has no headers at all.
    Reset,
}

/// The answer to a call.
#[derive(Clone, Debug)]
pub struct CallReply {
    kind: Kind,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

/// Headers and body as the filter sees them.
pub(crate) struct SeenReply {
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Status(u32),
    Failure(CallFailure),
}

impl CallReply {
    /// An answer with this status.
    pub fn status(status: u32) -> CallReply {
        CallReply {
            kind: Kind::Status(status),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// No answer. Envoy calls back with status 503 or 504, or with no headers at all; Kong without `:status` and with
    /// the reason in `:dispatch_status`.
    pub fn failure(failure: CallFailure) -> CallReply {
        CallReply {
            kind: Kind::Failure(failure),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> CallReply {
        self.headers
            .push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl AsRef<[u8]>) -> CallReply {
        self.body = body.as_ref().to_vec();
        self
    }

    /// The answer as the filter of that host sees it.
    pub(crate) fn seen_by(self, dialect: Dialect) -> SeenReply {
        let (mut headers, body) = match (self.kind, dialect) {
            (Kind::Status(status), _) => (head(":status", &status.to_string()), self.body),
            (Kind::Failure(CallFailure::Reset), Dialect::Envoy) => (Vec::new(), Vec::new()),
            (Kind::Failure(CallFailure::Timeout), Dialect::Envoy) => {
                (head(":status", "504"), b"upstream request timeout".to_vec())
            }
            (Kind::Failure(_), Dialect::Envoy) => {
                let body = b"upstream connect error or disconnect/reset before headers".to_vec();
                (head(":status", "503"), body)
            }
            (Kind::Failure(failure), Dialect::Kong) => {
                let reason = match failure {
                    CallFailure::Timeout => "timeout",
                    CallFailure::BrokenConnection | CallFailure::Reset => "broken connection",
                    CallFailure::Resolver => "resolver failure",
                    CallFailure::TlsHandshake => "tls handshake failure",
                };
                (head(":dispatch_status", reason), Vec::new())
            }
        };
        headers.extend(self.headers);
        SeenReply { headers, body }
    }
}

fn head(name: &str, value: &str) -> Vec<(String, Vec<u8>)> {
    vec![(name.to_owned(), value.as_bytes().to_vec())]
}
