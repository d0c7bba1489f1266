//! Answers that the filter gives in the upstream's stead.

use std::borrow::Cow;

use crate::Request;

/// An answer to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalReply {
    /// HTTP status. For a gRPC client the gateway sends 200 and [`LocalReply::grpc`] instead.
    pub status: u16,
    /// Headers, `content-type` included.
    pub headers: Vec<(Cow<'static, str>, String)>,
    /// Body. For a gRPC client: the `grpc-message`.
    pub body: String,
    /// Set for a gRPC client.
    pub grpc: Option<GrpcStatus>,
    /// Who answers and why, for the gateway's access log and never for the client:
    /// `rate_limit{per_ip}`. Fixed words, and names of the configuration.
    pub cause: String,
}

/// The gRPC statuses that refusals map to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrpcStatus {
    /// 3
    InvalidArgument,
    /// 7
    PermissionDenied,
    /// 8
    ResourceExhausted,
    /// 13
    Internal,
    /// 14
    Unavailable,
    /// 16
    Unauthenticated,
}

impl GrpcStatus {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::InvalidArgument => 3,
            Self::PermissionDenied => 7,
            Self::ResourceExhausted => 8,
            Self::Internal => 13,
            Self::Unavailable => 14,
            Self::Unauthenticated => 16,
        }
    }

    /// That of a refusal with this status.
    #[must_use]
    pub const fn of_http(status: u16) -> Self {
        match status {
            400 => Self::InvalidArgument,
            401 => Self::Unauthenticated,
            403 => Self::PermissionDenied,
            429 => Self::ResourceExhausted,
            503 => Self::Unavailable,
            _ => Self::Internal,
        }
    }
}

/// A refusal before it is put into the words of the client's protocol (RFC 9457).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem {
    /// HTTP status.
    pub status: u16,
    /// Last part of the problem type's URI, such as `quota-exceeded`.
    pub kind: &'static str,
    /// What a person reads.
    pub title: &'static str,
}

impl Problem {
    /// The plugin can't do its work, and is told to let nothing pass then.
    pub const UNAVAILABLE: Self = Self {
        status: 503,
        kind: "unavailable",
        title: "Service unavailable",
    };

    /// The client sends more headers than the gateway shows (RFC 6585 section 5).
    pub const HEADERS_CUT: Self = Self {
        status: 431,
        kind: "too-many-headers",
        title: "Request header fields too large",
    };

    /// A body came of which the request's head told nothing (RFC 9110 section 15.5.12).
    pub const LENGTH_REQUIRED: Self = Self {
        status: 411,
        kind: "length-required",
        title: "Length required",
    };

    /// A body is longer than what may pass (RFC 9110 section 15.5.14).
    pub const CONTENT_TOO_LARGE: Self = Self {
        status: 413,
        kind: "content-too-large",
        title: "Content too large",
    };

    /// The problem as an answer to `request`: `application/problem+json`, or a gRPC status when
    /// the client speaks gRPC. It says no more than status, type, title and the request's id.
    #[must_use]
    pub fn reply(self, request: &Request<'_>) -> LocalReply {
        if request.is_grpc() {
            return LocalReply {
                status: self.status,
                headers: Vec::new(),
                body: self.title.to_owned(),
                grpc: Some(GrpcStatus::of_http(self.status)),
                cause: String::new(),
            };
        }
        self.json(request.id())
    }

    /// The problem as an answer to a request that could not be read.
    #[must_use]
    pub fn reply_blind(self) -> LocalReply {
        self.json(None)
    }

    fn json(self, request_id: Option<&str>) -> LocalReply {
        // No part of this can hold a character that JSON escapes: type and title are ours, and an
        // id that is not plain is not repeated.
        let id = request_id
            .map(|id| format!(",\"request_id\":\"{id}\""))
            .unwrap_or_default();
        let Self {
            status,
            kind,
            title,
        } = self;
        LocalReply {
            status,
            headers: vec![(
                Cow::Borrowed("content-type"),
                "application/problem+json".to_owned(),
            )],
            body: format!(
                "{{\"type\":\"urn:portcullis:problem/{kind}\",\"title\":\"{title}\",\"status\":{status}{id}}}"
            ),
            grpc: None,
            cause: String::new(),
        }
    }
}

impl LocalReply {
    /// Says who answers and why, such as `rate_limit` and `per_ip`.
    #[must_use]
    pub fn because(mut self, plugin: &str, why: &str) -> Self {
        self.cause = format!("{plugin}{{{why}}}");
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Headers, PeerAddress};

    struct Nobody;
    impl PeerAddress for Nobody {
        fn peer(&self) -> Option<std::net::IpAddr> {
            None
        }
    }

    const PROBLEM: Problem = Problem {
        status: 429,
        kind: "quota-exceeded",
        title: "Too many requests",
    };

    #[test]
    fn a_refusal_is_a_problem_document_with_the_requests_id() {
        let headers = Headers::from_pairs([("x-request-id", "abc-1")]);
        let reply = PROBLEM.reply(&Request::new(&headers, &Nobody));
        let body: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
        assert_eq!(
            body,
            serde_json::json!({
                "type": "urn:portcullis:problem/quota-exceeded", "title": "Too many requests",
                "status": 429, "request_id": "abc-1"
            })
        );
    }

    #[test]
    fn a_grpc_client_gets_a_grpc_status() {
        let headers = Headers::from_pairs([("content-type", "application/grpc")]);
        let reply = PROBLEM.reply(&Request::new(&headers, &Nobody));
        assert_eq!(reply.grpc.map(GrpcStatus::code), Some(8));
        assert_eq!(reply.body, "Too many requests");
    }
}
