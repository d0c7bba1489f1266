//! For a person.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use super::notes::told;
use super::{Outcome, outcomes};
use crate::loaded::Loaded;
use crate::mask::Mask;
use crate::moment::{shown, shown_span};
use crate::trial::record::{Answer, Header, Note, Record, Sent, Step};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();

/// Writes each request whose answer is of another kind than all before it in full, and of the others how many there were.
///
/// # Errors
/// It can't be written.
pub fn write(
    records: &[Record],
    loaded: &Loaded,
    mask: &Mask,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut seen: Vec<(u16, Option<String>)> = Vec::new();
    let mut rest = records;
    while let Some(first) = rest.first() {
        let kind = kind(first);
        let is_new = !seen.contains(&kind);
        let alike = |record: &&Record| self::kind(record) == kind;
        let count = match is_new {
            true => 1,
            false => rest.iter().take_while(alike).count(),
        };
        let (now, then) = rest.split_at_checked(count).unwrap_or((rest, &[]));
        match is_new {
            true => in_full(first, loaded, mask, out)?,
            false => in_short(now, out)?,
        }
        seen.push(kind);
        rest = then;
    }
    if !loaded.given.are_real && records.iter().any(is_signed_by_another) {
        writeln!(
            out,
            "hint: secrets are assumed to be there, and no other than that signs a good token: --env takes those of this process, \
             --token makes a good one\n"
        )?;
    }
    if !loaded.stands_in.is_empty() {
        writeln!(
            out,
            "hint: tokens of {} are signed by a key that stands in for the issuer's, and no others are good here\n",
            loaded.stands_in.join(", ")
        )?;
    }
    if let [first, .., last] = records {
        let span = last.at.since(first.at);
        writeln!(
            out,
            "{BOLD}{} requests in {}{BOLD:#}",
            records.len(),
            shown_span(span)
        )?;
        for outcome in outcomes(records) {
            let since = records
                .get(outcome.first.saturating_sub(1))
                .map_or(span, |record| record.at.since(first.at));
            let Outcome {
                status,
                count,
                first,
                ..
            } = outcome;
            let who = by(outcome.cause.as_deref());
            let color = color(status);
            writeln!(
                out,
                "  {count:>6} × {color}{status}{color:#} from {who}, first request {first}, after {}",
                shown_span(since)
            )?;
        }
    }
    Ok(())
}

fn is_signed_by_another(record: &Record) -> bool {
    let mut notes = record.steps.iter().flat_map(|step| &step.notes);
    notes.any(|note| matches!(note, Note::Denied { reason, .. } if reason == "signature"))
}

fn kind(record: &Record) -> (u16, Option<String>) {
    (record.answer.status, record.answer.cause.clone())
}

fn color(status: u16) -> Style {
    if status < 400 { GOOD } else { BAD }
}

fn by(cause: Option<&str>) -> &str {
    cause.unwrap_or("the backend")
}

/// Requests whose answers are like one that was shown.
fn in_short(records: &[Record], out: &mut dyn Write) -> io::Result<()> {
    let (Some(first), Some(last)) = (records.first(), records.last()) else {
        return Ok(());
    };
    let numbers = match first.number == last.number {
        true => format!("request {}", first.number),
        false => format!("requests {} to {}", first.number, last.number),
    };
    let Answer { status, cause, .. } = &first.answer;
    let color = color(*status);
    writeln!(
        out,
        "{BOLD}{numbers}{BOLD:#}: {color}{status}{color:#} from {}\n",
        by(cause.as_deref())
    )
}

/// Writes all of a request.
///
/// # Errors
/// It can't be written.
pub fn in_full(
    record: &Record,
    loaded: &Loaded,
    mask: &Mask,
    out: &mut dyn Write,
) -> io::Result<()> {
    writeln!(
        out,
        "{BOLD}request {}{BOLD:#}: {} {}  {DIM}{} from {}{DIM:#}",
        record.number,
        record.method,
        mask.text(&record.target),
        shown(record.at),
        record.client
    )?;
    for step in &record.steps {
        let Some(configured) = loaded.chain.filters.get(step.filter) else {
            continue;
        };
        let line = loaded.source.line_of(configured.place);
        let name = configured.filter.name;
        writeln!(out, "  {name} {DIM}({}:{line}){DIM:#}", loaded.source.name)?;
        let Step { filter, notes, .. } = step;
        write_notes(notes, *filter, loaded, mask, out)?;
        if notes.is_empty() {
            writeln!(out, "    nothing of it is about this request")?;
        }
    }
    if let Some(backend) = &record.backend {
        write_backend(backend, mask, out)?;
    }
    write_answer(record, loaded, mask, out)?;
    writeln!(out)
}

fn write_notes(
    notes: &[Note],
    filter: usize,
    loaded: &Loaded,
    mask: &Mask,
    out: &mut dyn Write,
) -> io::Result<()> {
    for note in notes {
        let told = told(note, filter, loaded, mask);
        let color = if told.is_against { BAD } else { Style::new() };
        writeln!(out, "    {color}{}{color:#}: {}", told.about, told.says)?;
    }
    Ok(())
}

fn write_backend(backend: &Sent, mask: &Mask, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "  to the backend: {} {}",
        backend.method,
        mask.text(&backend.target)
    )?;
    write_headers(&backend.headers, "  (set)", mask, out)?;
    for name in &backend.removed {
        writeln!(out, "    {DIM}{name}  (taken out){DIM:#}")?;
    }
    if backend.is_body_changed {
        let body = String::from_utf8_lossy(&backend.body);
        writeln!(out, "    the body is changed: {}", mask.text(&body))?;
    }
    Ok(())
}

fn write_answer(
    record: &Record,
    loaded: &Loaded,
    mask: &Mask,
    out: &mut dyn Write,
) -> io::Result<()> {
    let Answer {
        status,
        headers,
        body,
        cause,
    } = &record.answer;
    let color = color(*status);
    writeln!(
        out,
        "  the answer: {color}{status}{color:#} from {}",
        by(cause.as_deref())
    )?;
    write_headers(headers, "", mask, out)?;
    if !body.is_empty() {
        writeln!(out, "    {}", mask.text(body.trim_end()))?;
    }
    for step in &record.steps {
        write_notes(&step.notes_of_answer, step.filter, loaded, mask, out)?;
    }
    Ok(())
}

fn write_headers(
    headers: &[Header],
    if_set: &str,
    mask: &Mask,
    out: &mut dyn Write,
) -> io::Result<()> {
    for Header {
        name,
        value,
        is_set,
    } in headers
    {
        let set = if *is_set { if_set } else { "" };
        writeln!(out, "    {name}: {}{set}", mask.header(name, value))?;
    }
    Ok(())
}
