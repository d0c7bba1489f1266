//! For a person.

use std::io::{self, Write};

use annotate_snippets::{AnnotationKind, Level as Shown, Renderer, Snippet};

use super::{Looked, all, page};
use crate::document::Place;
use crate::finding::{Finding, Level};
use crate::source::Source;

pub(super) fn write(looked: &[Looked], out: &mut dyn Write) -> io::Result<()> {
    for (source, checked) in looked {
        let shown = without_secrets(source, &checked.secrets);
        for finding in &checked.findings {
            writeln!(out, "{}\n", rendered(&shown, finding))?;
        }
    }
    let findings = all(looked).count();
    let filters = looked.iter().fold(0_usize, |sum, (_, checked)| {
        sum.saturating_add(checked.filters)
    });
    let amiss = looked
        .iter()
        .filter(|(_, checked)| !checked.findings.is_empty())
        .count();
    let checked = format!(
        "{} in {}",
        counted(filters, "filter"),
        counted(looked.len(), "file")
    );
    match findings {
        0 => writeln!(out, "{checked}: nothing found"),
        _ => writeln!(
            out,
            "{checked}: {} in {}",
            counted(findings, "finding"),
            counted(amiss, "file")
        ),
    }
}

fn counted(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// The file with its secrets blacked out: what is shown may be kept in a log.
fn without_secrets(source: &Source, secrets: &[Place]) -> Source {
    let is_secret = |at: usize| {
        let mut secrets = secrets.iter();
        secrets.any(|place| (place.start..place.end).contains(&at))
    };
    let mut text = String::with_capacity(source.text.len());
    for (at, letter) in source.text.char_indices() {
        match letter {
            // As many bytes, so that all places stay what they are.
            letter if is_secret(at) && !letter.is_whitespace() => {
                text.extend(std::iter::repeat_n('*', letter.len_utf8()));
            }
            letter => text.push(letter),
        }
    }
    Source {
        name: source.name.clone(),
        text,
    }
}

fn rendered(source: &Source, finding: &Finding) -> String {
    let level = match finding.code.level() {
        Level::Error => Shown::ERROR,
        Level::Warning => Shown::WARNING,
    };
    let span = |place: Place| {
        let place = source.on_one_line(place);
        place.start..place.end
    };
    let primary = AnnotationKind::Primary.span(span(finding.place));
    let mut snippet = Snippet::source(source.text.as_str())
        .path(source.name.as_str())
        .annotation(primary.label(finding.code.title()));
    if let Some((place, why)) = &finding.beside {
        snippet = snippet.annotation(
            AnnotationKind::Context
                .span(span(*place))
                .label(why.as_str()),
        );
    }
    let help = format!(
        "{}, or `portcullis explain {}`",
        page(finding.code),
        finding.code.id()
    );
    let group = level
        .primary_title(finding.message.as_str())
        .id(finding.code.id())
        .element(snippet)
        .element(Shown::HELP.message(help));
    Renderer::styled().render(&[group])
}
