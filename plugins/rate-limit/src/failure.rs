//! What only the limiter can fail at.

use portcullis_policy::{Failure, FailureBy, Problem, SpecialFailure};

/// The gateway does not tell the client's address.
pub(crate) const ADDRESS: Failure = Failure::Special(&SpecialFailure {
    reason: "client_address_unknown",
    problem: Problem::UNAVAILABLE,
    by: FailureBy::Gateway,
});
