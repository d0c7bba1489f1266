//! `/api/v1/rag/query`: an answer as server-sent events, `token` after `token`, then `sources`, then `done`.

use std::convert::Infallible;
use std::pin::Pin;

use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::Event;
use futures_util::stream::{self, Stream, StreamExt};
use serde_json::{Value, json};

use super::input::Input;
use crate::app::App;
use crate::problem::Problem;
use crate::search::Answer;
use crate::upstreams::{Found, PassedOn, Upstreams};

/// How many words one `token` event carries.
const WORDS_PER_EVENT: usize = 8;

/// How many passages a model is shown.
const PASSAGES: usize = 3;

type Events = Pin<Box<dyn Stream<Item = Result<Event, Infallible>> + Send>>;

pub(super) async fn query(
    State(app): State<App>,
    passed: PassedOn,
    input: Input,
) -> Result<Sse<Events>, Problem> {
    if let Some(upstreams) = &app.0.upstreams {
        return Ok(Sse::new(written(upstreams, &input.q, &passed).await?));
    }
    let answer = app.0.library.answer(&input.q).map_err(Problem::internal)?;
    let delay = app.0.event_delay;
    let events =
        stream::iter(events(&answer))
            .enumerate()
            .then(move |(n, (name, data))| async move {
                if n > 0 && !delay.is_zero() {
                    tokio::time::sleep(delay).await;
                }
                Ok(event(name, &data))
            });
    Ok(Sse::new(Box::pin(events)))
}

fn event(name: &str, data: &Value) -> Event {
    Event::default().event(name).data(data.to_string())
}

fn events(answer: &Answer<'_>) -> Vec<(&'static str, Value)> {
    let words: Vec<&str> = answer.text.split_inclusive(' ').collect();
    let mut events: Vec<_> = words
        .chunks(WORDS_PER_EVENT)
        .map(|words| ("token", json!({ "text": words.concat() })))
        .collect();
    let tokens = events.len();
    let sources: Vec<Value> = answer
        .sources
        .iter()
        .map(|hit| {
            json!({
                "id": hit.document.id,
                "title": hit.document.title,
                "collection": hit.document.collection,
                "score": hit.score,
            })
        })
        .collect();
    events.push(("sources", json!({ "sources": sources })));
    events.push(("done", json!({ "tokens": tokens })));
    events
}

/// What a model writes about the passages that are nearest to the question. If it stops in the middle, the last event is
/// an `error`.
async fn written(
    upstreams: &Upstreams,
    question: &str,
    passed: &PassedOn,
) -> Result<Events, Problem> {
    let passages = upstreams.search(question, PASSAGES, passed).await?;
    let texts: Vec<&str> = passages
        .iter()
        .map(|passage| passage.text("text"))
        .collect();
    let prompt = format!("{}\n\n{question}", texts.join("\n\n"));
    let mut tokens = 0_usize;
    let pieces = upstreams
        .generate(&prompt, passed)
        .await?
        .map(Some)
        .chain(stream::iter([None]));
    let sources: Vec<Value> = passages.iter().map(source).collect();
    let mut failed = false;
    let events = pieces.flat_map(move |piece| {
        let events = match piece {
            Some(Ok(text)) if text.is_empty() => Vec::new(),
            Some(Ok(text)) => {
                tokens = tokens.saturating_add(1);
                vec![event("token", &json!({ "text": text }))]
            }
            Some(Err(error)) => {
                failed = true;
                let code = Problem::from(error).code();
                vec![event("error", &json!({ "error": code }))]
            }
            None if failed => Vec::new(),
            None => vec![
                event("sources", &json!({ "sources": sources })),
                event("done", &json!({ "tokens": tokens })),
            ],
        };
        stream::iter(events.into_iter().map(Ok))
    });
    Ok(Box::pin(events))
}

fn source(passage: &Found) -> Value {
    json!({
        "id": passage.text("id"),
        "title": passage.text("title"),
        "collection": passage.text("collection"),
        "score": passage.score,
    })
}
