//! What is seen of a request on its way.

use std::net::IpAddr;

use portcullis_policy::Timestamp;

pub use super::note::{LimitNote, Note, Stands};
use crate::requests::Asked;

/// One request, and what came of it.
#[derive(Clone, Debug)]
pub struct Record {
    /// Which one it is of its trial, from 1.
    pub number: usize,
    /// When it came.
    pub at: Timestamp,
    /// From where.
    pub client: IpAddr,
    /// Its method.
    pub method: String,
    /// Its path and query.
    pub target: String,
    /// What each filter made of it, in their order. Filters behind one that answers are not asked.
    pub steps: Vec<Step>,
    /// What goes to the backend; `None` where a filter answers.
    pub backend: Option<Sent>,
    /// What goes to the client.
    pub answer: Answer,
}

/// What a filter made of a request.
#[derive(Clone, Debug)]
pub struct Step {
    /// Which filter, by its place in the chain.
    pub filter: usize,
    /// What it found out, in its order.
    pub notes: Vec<Note>,
    /// What it found out by the answer.
    pub notes_of_answer: Vec<Note>,
}

/// A request as the backend gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its method.
    pub method: String,
    /// Its path and query.
    pub target: String,
    /// Its headers, in their order.
    pub headers: Vec<Header>,
    /// Names of headers that its client has sent, and that do not get there.
    pub removed: Vec<String>,
    /// Its body.
    pub body: Vec<u8>,
    /// Whether the body is another than its client's.
    pub is_body_changed: bool,
}

/// An answer as the client gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers, in their order.
    pub headers: Vec<Header>,
    /// Its body.
    pub body: String,
    /// Who gives it, and why: `rate_limit{per_ip}`. `None`: the backend.
    pub cause: Option<String>,
}

/// A header line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// In lower case.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Whether a filter has set it.
    pub is_set: bool,
}

impl Record {
    /// Of a request that was not asked about yet.
    pub(super) fn new(number: usize, at: Timestamp, client: IpAddr, asked: &Asked) -> Self {
        Self {
            number,
            at,
            client,
            method: asked.method.clone(),
            target: asked.target.clone(),
            steps: Vec::new(),
            backend: None,
            answer: Answer {
                status: 0,
                headers: Vec::new(),
                body: String::new(),
                cause: None,
            },
        }
    }
}

impl Step {
    /// Of a filter that was not asked yet.
    pub(super) const fn of(filter: usize) -> Self {
        Self {
            filter,
            notes: Vec::new(),
            notes_of_answer: Vec::new(),
        }
    }
}
