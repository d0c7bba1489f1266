//! What was found, for a person and for machines.

mod github;
mod human;
mod json;
mod sarif;

use std::io::{self, Write};

use clap::ValueEnum;

use crate::check::Checked;
use crate::document::Place;
use crate::finding::{Code, Finding};
use crate::source::{Position, Source};

/// How it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// With the lines that are meant, for a person.
    #[default]
    Human,
    /// One JSON value.
    Json,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// Commands of GitHub's workflows, which put findings beside the lines of a change.
    Github,
}

/// A file, and what was found in it.
pub type Looked = (Source, Checked);

/// Writes all of it.
///
/// # Errors
/// It can't be written.
pub fn write(format: Format, looked: &[Looked], out: &mut dyn Write) -> io::Result<()> {
    match format {
        Format::Human => human::write(looked, out),
        Format::Json => json::write(looked, out),
        Format::Sarif => sarif::write(looked, out),
        Format::Github => github::write(looked, out),
    }
}

/// Where a finding is explained.
fn page(code: Code) -> String {
    format!("docs/check.md#{}", code.id().to_lowercase())
}

/// Where something begins, and the column behind it.
fn region(source: &Source, place: Place) -> (Position, usize) {
    let place = source.on_one_line(place);
    let start = source.position(place.start);
    let end = source.position(place.end).column;
    // Of nothing, the place where it would be.
    (start, end.max(start.column.saturating_add(1)))
}

/// Each finding, with its file.
fn all(looked: &[Looked]) -> impl Iterator<Item = (&Source, &Finding)> {
    looked.iter().flat_map(|(source, checked)| {
        checked
            .findings
            .iter()
            .map(move |finding| (source, finding))
    })
}
