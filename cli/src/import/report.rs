//! The report, line for line.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::Imported;
use super::notes::Outcome;
use crate::source::Source;

/// For people: a line for each field, then the variables, then how many.
///
/// # Errors
/// It can't be written.
pub fn human(source: &Source, imported: &Imported, out: &mut dyn Write) -> io::Result<()> {
    for note in &imported.notes {
        let at = source.position(note.place.start);
        let (words, path) = (note.outcome.words(), &note.path);
        writeln!(
            out,
            "{}:{}:{}: {path}: {words}: {}",
            source.name, at.line, at.column, note.message
        )?;
    }
    for variable in &imported.variables {
        let at = source.position(variable.place.start);
        writeln!(
            out,
            "{}:{}:{}: set {} to {}",
            source.name, at.line, at.column, variable.name, variable.set_to
        )?;
    }
    for error in &imported.errors {
        writeln!(
            out,
            "{}: the filter refuses what was taken over: {error}",
            source.name
        )?;
    }
    let count = |outcome| {
        imported
            .notes
            .iter()
            .filter(|note| note.outcome == outcome)
            .count()
    };
    let [taken, differs, left] = [Outcome::Taken, Outcome::Differs, Outcome::Left].map(count);
    writeln!(
        out,
        "{}: {taken} taken over, {differs} with a difference, {left} not",
        source.name
    )
}

/// For machines.
#[must_use]
pub fn json(source: &Source, imported: &Imported) -> Value {
    let at = |start: usize| source.position(start);
    let notes = imported.notes.iter().map(|note| {
        let at = at(note.place.start);
        json!({ "line": at.line, "column": at.column, "field": note.path, "outcome": note.outcome.words(), "message": note.message })
    });
    let variables = imported.variables.iter().map(|variable| {
        let at = at(variable.place.start);
        json!({ "line": at.line, "column": at.column, "name": variable.name, "set_to": variable.set_to })
    });
    json!({
        "file": source.name,
        "fields": notes.collect::<Vec<_>>(),
        "variables": variables.collect::<Vec<_>>(),
        "errors": imported.errors,
    })
}
