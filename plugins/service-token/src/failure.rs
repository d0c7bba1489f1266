//! What only the injection of a credential can fail at.

use portcullis_policy::{Failure, FailureBy, Problem, SpecialFailure};

/// A request that says in a wrong way what its credential depends on.
pub(crate) const BAD_REQUEST: Problem = Problem {
    status: 400,
    kind: "bad-request",
    title: "Bad request",
};

/// The request has something in it that can't be signed: the client's doing.
pub(crate) const UNSIGNABLE: Failure = Failure::Special(&SpecialFailure {
    reason: "unsignable",
    problem: BAD_REQUEST,
    by: FailureBy::Client,
});
