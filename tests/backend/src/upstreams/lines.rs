//! Lines of JSON as they come, of which each may arrive in pieces and several at once.

use std::collections::VecDeque;

use futures_util::Stream;
use futures_util::stream::{StreamExt as _, try_unfold};
use reqwest::Response;
use serde::Deserialize;

use super::failed::{Failed, Upstream};

/// The longest line: one is a word and what is told of it, the last one has counts.
const MAX_LINE_BYTES: usize = 1024 * 1024;

#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    response: String,
    #[serde(default)]
    done: bool,
    /// A model that fails while it writes says so in a line.
    error: Option<String>,
}

/// The pieces of text of an answer of `/api/generate`. It ends with an error if the last line does not come.
pub(super) fn of(answer: Response) -> impl Stream<Item = Result<String, Failed>> {
    struct Reader<S> {
        bytes: S,
        rest: Vec<u8>,
        lines: VecDeque<Vec<u8>>,
    }

    let failed = |reason: String| Failed::no_answer(Upstream::Ollama, reason);
    let reader = Reader {
        bytes: Box::pin(answer.bytes_stream()),
        rest: Vec::new(),
        lines: VecDeque::new(),
    };
    try_unfold(Some(reader), move |reader| async move {
        let Some(mut reader) = reader else {
            return Ok(None);
        };
        let line = loop {
            if let Some(line) = reader.lines.pop_front() {
                break line;
            }
            let bytes = match reader.bytes.next().await {
                Some(bytes) => bytes.map_err(|error| failed(error.without_url().to_string()))?,
                None => return Err(failed("the answer broke off".to_owned())),
            };
            for byte in bytes {
                match byte {
                    b'\n' => reader.lines.push_back(std::mem::take(&mut reader.rest)),
                    byte => reader.rest.push(byte),
                }
            }
            if reader.rest.len() > MAX_LINE_BYTES {
                return Err(failed("a line without an end".to_owned()));
            }
        };
        let line: Line =
            serde_json::from_slice(&line).map_err(|error| failed(error.to_string()))?;
        if line.error.is_some() {
            return Err(failed("the model failed while it wrote".to_owned()));
        }
        Ok(Some((line.response, (!line.done).then_some(reader))))
    })
}
