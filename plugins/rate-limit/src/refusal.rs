//! The line of a request that is refused.

use portcullis_policy::config::Mode;
use portcullis_policy::{LogLine, Problem, Request};

use crate::NAME;

/// The line of a request that does not pass, or in shadow would not. `limit`: which limit refuses it, if it is one.
pub(crate) fn refusal(
    mode: Mode,
    reason: &str,
    limit: Option<&str>,
    problem: Problem,
    request: &Request<'_>,
) -> LogLine {
    let event = match mode {
        Mode::Enforce => "refused",
        Mode::Shadow | Mode::Off => "shadow_refused",
    };
    let line = LogLine::new(NAME, event).with("reason", reason);
    let line = match limit {
        Some(limit) => line.with("limit", limit),
        None => line,
    };
    line.with("status", problem.status.to_string())
        .with("method", request.method())
        .with("path", request.target_without_query())
        .with_id_of(request)
}
