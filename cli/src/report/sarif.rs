//! SARIF 2.1.0.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::json::level;
use super::{Looked, all, page, region};
use crate::document::Place;
use crate::finding::{Code, Finding};
use crate::source::Source;

pub(super) fn write(looked: &[Looked], out: &mut dyn Write) -> io::Result<()> {
    let results = all(looked).map(|(source, finding)| result(source, finding));
    let artifacts = looked
        .iter()
        .map(|(source, _)| json!({ "location": { "uri": uri(&source.name) } }));
    let value = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "portcullis",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": Code::ALL.map(rule),
            } },
            "columnKind": "unicodeCodePoints",
            "artifacts": artifacts.collect::<Vec<_>>(),
            "results": results.collect::<Vec<_>>(),
        }],
    });
    writeln!(out, "{value:#}")
}

fn rule(code: Code) -> Value {
    json!({
        "id": code.id(),
        "shortDescription": { "text": code.title() },
        "help": { "text": format!("See {}.", page(code)) },
        "defaultConfiguration": { "level": level(code.level()) },
    })
}

fn result(source: &Source, finding: &Finding) -> Value {
    let mut result = json!({
        "ruleId": finding.code.id(),
        "ruleIndex": Code::ALL.iter().position(|code| *code == finding.code),
        "level": level(finding.code.level()),
        "message": { "text": finding.message },
        "locations": [{ "physicalLocation": location(source, finding.place) }],
    });
    if let (Some((place, why)), Some(fields)) = (&finding.beside, result.as_object_mut()) {
        let beside = json!([{
            "physicalLocation": location(source, *place),
            "message": { "text": why },
        }]);
        fields.insert("relatedLocations".to_owned(), beside);
    }
    result
}

fn location(source: &Source, place: Place) -> Value {
    let (start, end) = region(source, place);
    json!({
        "artifactLocation": { "uri": uri(&source.name) },
        "region": { "startLine": start.line, "startColumn": start.column, "endLine": start.line, "endColumn": end },
    })
}

/// A path as a reference: what may not stand in one is written by its bytes.
fn uri(path: &str) -> String {
    let mut uri = String::new();
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                uri.push(char::from(byte));
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}
