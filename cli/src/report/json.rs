//! One JSON value.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::{Looked, all, page, region};
use crate::finding::{Finding, Level};
use crate::source::Source;

pub(super) fn write(looked: &[Looked], out: &mut dyn Write) -> io::Result<()> {
    let files = looked
        .iter()
        .map(|(source, checked)| json!({ "file": source.name, "filters": checked.filters }));
    let findings = all(looked).map(|(source, finding)| shown(source, finding));
    let value = json!({
        "files": files.collect::<Vec<_>>(),
        "findings": findings.collect::<Vec<_>>(),
    });
    writeln!(out, "{value:#}")
}

fn shown(source: &Source, finding: &Finding) -> Value {
    let (start, end) = region(source, finding.place);
    let beside = finding.beside.as_ref().map(|(place, why)| {
        let at = region(source, *place).0;
        json!({ "line": at.line, "column": at.column, "message": why })
    });
    json!({
        "file": source.name,
        "line": start.line,
        "column": start.column,
        "end_column": end,
        "code": finding.code.id(),
        "level": level(finding.code.level()),
        "title": finding.code.title(),
        "message": finding.message,
        "beside": beside,
        "page": page(finding.code),
    })
}

/// As JSON and SARIF call it.
pub(super) const fn level(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warning => "warning",
    }
}
