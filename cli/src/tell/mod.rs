//! Tells what came of requests that were tried.

pub mod human;
pub mod json;
mod notes;

use crate::trial::record::{Answer, Record};

/// What requests came to: how many had each answer, in the order in which the answers came first.
#[must_use]
pub fn outcomes(records: &[Record]) -> Vec<Outcome> {
    let mut outcomes: Vec<Outcome> = Vec::new();
    for record in records {
        let (status, cause) = (record.answer.status, record.answer.cause.clone());
        let known = outcomes
            .iter_mut()
            .find(|outcome| (outcome.status, &outcome.cause) == (status, &cause));
        match known {
            Some(outcome) => outcome.count = outcome.count.saturating_add(1),
            None => outcomes.push(Outcome {
                status,
                cause,
                count: 1,
                first: record.number,
            }),
        }
    }
    outcomes
}

/// Who gives an answer: `backend`, or who answers in its place, and why.
#[must_use]
pub fn who(answer: &Answer) -> &str {
    answer.cause.as_deref().unwrap_or("backend")
}

/// An answer that some requests had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Its status.
    pub status: u16,
    /// Who gave it, where that was not the backend.
    pub cause: Option<String>,
    /// How many had it.
    pub count: usize,
    /// The first of them.
    pub first: usize,
}
