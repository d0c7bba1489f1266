//! What the head of a request tells of it, and what a host hides.

use portcullis_policy::{Headers, Request, Sent};

use crate::host::{self, Host};

/// Whether the client sent more headers than the host can be asked for. `count`: as the host says it.
pub(crate) fn are_too_many(count: usize, host: Host) -> bool {
    /// Kong's list of more than these, pseudo-headers aside, is longer than the memory that it asks for: what lies behind
    /// is overwritten with bytes of the client's.
    const MOST_ON_KONG: usize = 96;
    host == Host::Kong && count > MOST_ON_KONG
}

/// Whether the host shows fewer headers than there are: a client that sends more could hide one that it forged.
pub(crate) fn is_cut(headers: &Headers, count: usize, host: Host) -> bool {
    match host {
        Host::Envoy => headers.len() < count,
        // Pseudo-headers are not counted there.
        Host::Kong => {
            let real = headers.iter().filter(|(name, _)| !name.starts_with(b":"));
            real.count() < count
        }
    }
}

/// How much of a request has come with its head.
pub(crate) struct SentWithHead {
    /// As its policy is told.
    pub(crate) told: Sent,
    /// As far as nothing more is heard of it until it is deleted.
    pub(crate) at_deletion: Sent,
    /// Whether a body that comes all the same is one that nobody sends, and that decided on the request.
    pub(crate) no_body_expected: bool,
}

impl SentWithHead {
    /// `ends`: what the host says. `observed`: whether anybody asks at the deletion.
    pub(crate) fn of(request: &Request<'_>, ends: bool, host: Host, observed: bool) -> Self {
        let announced = request.sent();
        match (host, announced) {
            // Its log tells how a stream has ended.
            (Host::Envoy, _) => Self {
                told: if ends { announced } else { Sent::HeadOnly },
                at_deletion: Sent::Whole,
                no_body_expected: false,
            },
            // Complete with the first callback for its body: Kong reads all of it before anything goes on.
            (Host::Kong, Sent::HeadOnly) => Self {
                told: Sent::HeadOnly,
                at_deletion: Sent::HeadOnly,
                no_body_expected: false,
            },
            // It may have a body that its headers do not tell of. Of one of which nothing but its head is ever heard
            // that is its client's doing; but for a body that nobody sends with such a method it is not waited.
            (Host::Kong, Sent::Whole)
                if observed
                    && request.headers().get("content-length").is_none()
                    && host::may_have_body_unannounced() =>
            {
                Self {
                    told: match request.method() {
                        "GET" | "HEAD" | "OPTIONS" => Sent::Whole,
                        _ => Sent::HeadOnly,
                    },
                    at_deletion: Sent::HeadOnly,
                    no_body_expected: request.is_cors_preflight(),
                }
            }
            (Host::Kong, Sent::Whole) => Self {
                told: Sent::Whole,
                at_deletion: Sent::Whole,
                no_body_expected: request.is_cors_preflight(),
            },
        }
    }
}
