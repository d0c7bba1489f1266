//! Lines of JSON as they come, of which each may arrive in pieces and several at once.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::Stream;
use futures_util::stream::{StreamExt as _, try_unfold};
use reqwest::Response;
use serde::Deserialize;

use super::failed::{Failed, Upstream};

/// The longest line: one is a word and what is told of it, the last one has counts.
const MAX_LINE_BYTES: usize = 1024 * 1024;

/// How long an answer may take to end after its last line.
const END_TIMEOUT: Duration = Duration::from_secs(1);

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
        done: bool,
    }

    let failed = |reason: String| Failed::no_answer(Upstream::Ollama, reason);
    let reader = Reader {
        bytes: Box::pin(answer.bytes_stream()),
        rest: Vec::new(),
        lines: VecDeque::new(),
        done: false,
    };
    try_unfold(reader, move |mut reader| async move {
        if reader.done {
            // To its end, or a gateway in between would take this for a client that left.
            let end = async { while let Some(Ok(_)) = reader.bytes.next().await {} };
            let _ = tokio::time::timeout(END_TIMEOUT, end).await;
            return Ok(None);
        }
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
        reader.done = line.done;
        Ok(Some((line.response, reader)))
    })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use futures_util::stream;

    use super::*;

    const LINES: [&str; 2] = [
        "{\"response\":\"Probes\"}\n{\"respon",
        "se\":\" decide.\",\"done\":true}\n",
    ];

    /// The text of an answer of these lines, after which comes the rest.
    async fn said(
        rest: impl Stream<Item = Result<&'static str, Infallible>> + Send + 'static,
    ) -> String {
        let body = reqwest::Body::wrap_stream(stream::iter(LINES.map(Ok)).chain(rest));
        let answer = Response::from(axum::http::Response::new(body));
        let pieces: Vec<String> = of(answer)
            .map(|piece| piece.unwrap_or_default())
            .collect()
            .await;
        pieces.concat()
    }

    #[tokio::test]
    async fn an_answer_is_read_to_its_end_though_its_last_line_is_there() {
        let ended = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ended);
        let rest = stream::once(async { Ok("\n") }).chain(stream::once(async move {
            end.store(true, Ordering::Relaxed);
            Ok("")
        }));
        assert_eq!(said(rest).await, "Probes decide.");
        assert!(ended.load(Ordering::Relaxed));
    }

    #[tokio::test]
    async fn an_answer_that_does_not_end_after_its_last_line_is_whole() {
        assert_eq!(said(stream::pending()).await, "Probes decide.");
    }
}
