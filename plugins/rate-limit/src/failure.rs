//! What only the limiter can fail at.

use portcullis_policy::{Failure, FailureBy, Problem, SpecialFailure};

/// The gateway did not show a request's body, or has no room for one more, which clients can bring about.
pub(crate) const BODY: Failure = Failure::Special(&SpecialFailure {
    reason: "body_unreadable",
    problem: Problem::UNAVAILABLE,
    by: FailureBy::Client,
});

/// The engine that counts a limit for several gateways is away, and `global.on_error` lets nothing pass meanwhile.
pub(crate) const ENGINE: Failure = Failure::Special(&SpecialFailure {
    reason: "engine_away",
    problem: Problem::UNAVAILABLE,
    by: FailureBy::Client,
});

/// The gateway does not tell the client's address.
pub(crate) const ADDRESS: Failure = Failure::Special(&SpecialFailure {
    reason: "client_address_unknown",
    problem: Problem::UNAVAILABLE,
    by: FailureBy::Gateway,
});
