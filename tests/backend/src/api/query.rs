//! `/api/v1/rag/query`: an answer as server-sent events, `token` after `token`, then `sources`, then `done`.

use std::convert::Infallible;

use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::Event;
use futures_util::stream::{self, Stream, StreamExt};
use serde_json::{Value, json};

use super::input::Input;
use crate::backend::App;
use crate::problem::Problem;
use crate::search::Answer;

/// How many words one `token` event carries.
const WORDS_PER_EVENT: usize = 8;

pub(super) async fn query(
    State(app): State<App>,
    input: Input,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let answer = app.0.library.answer(&input.q).map_err(Problem::internal)?;
    let delay = app.0.event_delay;
    let events =
        stream::iter(events(&answer))
            .enumerate()
            .then(move |(n, (name, data))| async move {
                if n > 0 && !delay.is_zero() {
                    tokio::time::sleep(delay).await;
                }
                Ok(Event::default().event(name).data(data.to_string()))
            });
    Ok(Sse::new(events))
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
