//! What a filter tells while it decides.

use portcullis_rate_limit::Standing;
use serde_json::{Map, Value};

/// Something that a filter has told.
#[derive(Clone, Debug)]
pub(super) enum Heard {
    /// The rule of `jwt_auth` with this index is the first that matches.
    Rule(Option<usize>),
    /// It is a CORS preflight, which passes without a token.
    Preflight,
    /// The request is answered here.
    Answered,
    /// A metric was added to.
    Counted(String, u32),
    /// A line for the log.
    Line(String),
    /// Where the request stands with the limits that it matches: before it was decided on, and afterwards.
    Stands(Vec<(Standing, Standing)>),
    /// So much of a limit is left for the request's key once it has ended.
    Left(String, u32),
    /// The breakers by their names, as they are before the request.
    Breakers(Map<String, Value>),
    /// It has called a URL of which it was not said what it answers.
    Unanswered(String),
}
