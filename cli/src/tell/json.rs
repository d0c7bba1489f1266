//! For a machine.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::outcomes;
use crate::loaded::Loaded;
use crate::mask::Mask;
use crate::moment::shown;
use crate::trial::record::{Header, Note, Record};

/// Writes all requests, each with what its filters made of it.
///
/// # Errors
/// It can't be written.
pub fn write(
    records: &[Record],
    loaded: &Loaded,
    mask: &Mask,
    out: &mut dyn Write,
) -> io::Result<()> {
    let requests: Vec<Value> = records
        .iter()
        .map(|record| request(record, loaded, mask))
        .collect();
    let outcomes = outcomes(records).into_iter().map(|outcome| {
        json!({
            "status": outcome.status, "from": outcome.cause, "count": outcome.count, "first": outcome.first
        })
    });
    let mut all = json!({
        "requests": requests, "outcomes": outcomes.collect::<Vec<_>>(), "stands_in": loaded.stands_in
    });
    hide(&mut all, mask);
    writeln!(out, "{all:#}")
}

/// What is a secret is none of what is written, wherever it stands.
fn hide(value: &mut Value, mask: &Mask) {
    match value {
        Value::String(text) => *text = mask.text(text),
        Value::Array(items) => items.iter_mut().for_each(|item| hide(item, mask)),
        Value::Object(fields) => fields.values_mut().for_each(|value| hide(value, mask)),
        _ => {}
    }
}

fn request(record: &Record, loaded: &Loaded, mask: &Mask) -> Value {
    let filters = record.steps.iter().filter_map(|step| {
        let configured = loaded.chain.filters.get(step.filter)?;
        let notes = |notes: &[Note]| notes.iter().map(Note::to_json).collect::<Value>();
        Some(json!({
            "filter": configured.filter.name,
            "line": loaded.source.line_of(configured.place),
            "notes": notes(&step.notes),
            "notes_of_answer": notes(&step.notes_of_answer),
        }))
    });
    let backend = record.backend.as_ref().map(|sent| {
        json!({
            "method": sent.method,
            "target": sent.target,
            "headers": headers(&sent.headers, mask),
            "removed": sent.removed,
            "body_changed": sent.is_body_changed,
        })
    });
    json!({
        "number": record.number,
        "at": shown(record.at),
        "client": record.client,
        "method": record.method,
        "target": record.target,
        "filters": filters.collect::<Vec<_>>(),
        "backend": backend,
        "answer": {
            "status": record.answer.status,
            "from": record.answer.cause,
            "headers": headers(&record.answer.headers, mask),
            "body": record.answer.body,
        },
    })
}

fn headers(headers: &[Header], mask: &Mask) -> Value {
    let headers = headers.iter().map(|header| {
        json!({
            "name": header.name, "value": mask.header(&header.name, &header.value), "set": header.is_set
        })
    });
    headers.collect()
}
