//! What Kong tells of a request's body before it has come.

use portcullis_driver::RequestBody;
use portcullis_policy::{Request, Sent};

use super::super::common;

/// `observed`: whether anybody asks how the stream ended.
pub(super) fn of(request: &Request<'_>, observed: bool) -> RequestBody {
    match request.sent() {
        // Complete with the first callback for its body: Kong reads all of it before anything goes on.
        Sent::HeadOnly => RequestBody {
            sent: Sent::HeadOnly,
            sent_at_deletion: Sent::HeadOnly,
            is_denied: false,
        },
        // It may have a body that its headers do not tell of. Of one of which nothing but its head is ever heard that is its
        // client's doing; but for a body that nobody sends with such a method it is not waited.
        Sent::Whole
            if observed
                && request.headers().get("content-length").is_none()
                && may_come_unannounced() =>
        {
            RequestBody {
                sent: match request.method() {
                    "GET" | "HEAD" | "OPTIONS" => Sent::Whole,
                    _ => Sent::HeadOnly,
                },
                sent_at_deletion: Sent::HeadOnly,
                is_denied: request.is_cors_preflight(),
            }
        }
        Sent::Whole => RequestBody {
            sent: Sent::Whole,
            sent_at_deletion: Sent::Whole,
            is_denied: request.is_cors_preflight(),
        },
    }
}

/// Whether a request may have a body that its headers do not announce, as in HTTP/2 and HTTP/3 (RFC 9113 section 8.1).
fn may_come_unannounced() -> bool {
    common::text("request\0protocol").is_none_or(|protocol| !protocol.starts_with("HTTP/1"))
}
