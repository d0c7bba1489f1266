//! Streams that say what was used only where that is asked for: those of OpenAI's completions, and of whoever speaks as it does.

use portcullis_policy::Request;
use serde_json::json;

use crate::body::Places;
use crate::rewrite::{Rewrite, Target};

/// How that is asked for.
#[derive(Debug)]
pub(crate) struct Forcing {
    stream: Target,
    include_usage: Target,
}

impl Forcing {
    pub(crate) fn new(places: &mut Places) -> Self {
        Self {
            stream: Target::new("stream", places),
            include_usage: Target::new("stream_options.include_usage", places),
        }
    }

    /// Asks for it. Whether that is done, and the client has not done so itself.
    pub(crate) fn ask(&self, request: &Request<'_>, rewrite: &mut Rewrite<'_>) -> bool {
        /// Others refuse what they don't know.
        const PATH: &str = "/completions";
        let is_theirs = request
            .path()
            .is_ok_and(|path| path.as_str().ends_with(PATH));
        let stream = self.stream.value(rewrite.document());
        let asked = self.include_usage.value(rewrite.document());
        is_theirs
            && stream.is_plain()
            && stream.truth == Some(true)
            && asked.truth != Some(true)
            && rewrite.set(&self.include_usage, &json!(true))
    }
}
