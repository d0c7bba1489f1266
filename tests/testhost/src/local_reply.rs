//! A filter's own answer, and what each gateway makes of it.

use crate::Dialect;
use crate::headers::Headers;

/// What the filter asked for.
#[derive(Clone, Debug)]
pub(crate) struct LocalReply {
    pub(crate) status: u32,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
    pub(crate) details: String,
    pub(crate) grpc_status: Option<i32>,
}

/// What goes to the client.
pub(crate) struct Sent {
    pub(crate) status: u32,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

impl LocalReply {
    /// The answer to this request as the gateway builds it. Envoy speaks gRPC to a gRPC client: status 200, the error in headers.
    pub(crate) fn to(&self, dialect: Dialect, request: &Headers) -> Sent {
        let mut headers = self.headers.clone();
        let mut set = |name: &str, value: &[u8]| {
            if !headers
                .iter()
                .any(|(known, _)| known.eq_ignore_ascii_case(name))
            {
                headers.push((name.to_owned(), value.to_vec()));
            }
        };
        if dialect == Dialect::Envoy && is_grpc(request) {
            let code = self
                .grpc_status
                .unwrap_or_else(|| grpc_status_of(self.status));
            set("content-type", b"application/grpc");
            set("grpc-status", code.to_string().as_bytes());
            if !self.body.is_empty() {
                set("grpc-message", &self.body);
            }
            return Sent {
                status: 200,
                headers,
                body: Vec::new(),
            };
        }
        if !self.body.is_empty() {
            set("content-type", b"text/plain");
            set("content-length", self.body.len().to_string().as_bytes());
        }
        Sent {
            status: self.status,
            headers,
            body: self.body.clone(),
        }
    }
}

fn is_grpc(request: &Headers) -> bool {
    let kind = request.get("content-type");
    kind.is_some_and(|kind| kind == b"application/grpc" || kind.starts_with(b"application/grpc+"))
}

/// Envoy's translation of an HTTP status for a gRPC client (the table of the gRPC specification).
fn grpc_status_of(status: u32) -> i32 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    }
}
