//! A value as YAML.

use serde_json::{Map, Value};

/// What stands first in a map, in this order; all else follows by name.
const FIRST: [&str; 14] = [
    "_format_version",
    "name",
    "ready",
    "jwt_auth",
    "rate_limit",
    "circuit_breaker",
    "service_token",
    "realm",
    "providers",
    "issuer",
    "match",
    "key",
    "quota",
    "window",
];

/// A value as a document.
#[must_use]
pub fn write(value: &Value) -> String {
    let mut out = String::new();
    block(value, 0, &mut out);
    out
}

fn sorted(map: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut fields: Vec<_> = map.iter().collect();
    let rank = |name: &str| {
        FIRST
            .iter()
            .position(|first| *first == name)
            .unwrap_or(FIRST.len())
    };
    fields.sort_by_key(|(name, _)| rank(name));
    fields
}

/// What is written behind its name, in the same line.
fn inline(value: &Value) -> Option<String> {
    match value {
        Value::Object(map) if map.is_empty() => Some("{}".to_owned()),
        Value::Array(items)
            if items
                .iter()
                .all(|item| !item.is_object() && !item.is_array()) =>
        {
            let items: Option<Vec<String>> = items.iter().map(inline).collect();
            Some(format!("[{}]", items?.join(", ")))
        }
        Value::Object(_) | Value::Array(_) => None,
        Value::String(text) => Some(scalar(text)),
        other => Some(other.to_string()),
    }
}

/// A text without quotes where nothing takes it for anything else.
fn scalar(text: &str) -> String {
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_./:@+".contains(c))
        && !text.ends_with(':')
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
        );
    let is_duration = text.ends_with(['s', 'm', 'h'])
        && text.len() > 1
        && text.chars().rev().skip(1).all(|c| c.is_ascii_digit());
    match is_plain || is_duration {
        true => text.to_owned(),
        false => Value::from(text).to_string(),
    }
}

fn block(value: &Value, depth: usize, out: &mut String) {
    let pad = "  ".repeat(depth);
    let deeper = depth.saturating_add(1);
    match value {
        Value::Object(map) => {
            for (name, value) in sorted(map) {
                out.push_str(&pad);
                out.push_str(&scalar(name));
                out.push(':');
                field(value, deeper, out);
            }
        }
        Value::Array(items) => {
            for item in items {
                let mut text = String::new();
                match inline(item) {
                    Some(line) => text = format!("{pad}  {line}\n"),
                    None => block(item, deeper, &mut text),
                }
                // The mark stands where the first line's white space ends.
                let behind = pad.len().saturating_add(2);
                out.push_str(&pad);
                out.push_str("- ");
                out.push_str(text.get(behind..).unwrap_or_default());
            }
        }
        scalar => {
            out.push_str(&inline(scalar).unwrap_or_default());
            out.push('\n');
        }
    }
}

fn field(value: &Value, depth: usize, out: &mut String) {
    if let Value::String(text) = value
        && text.ends_with('\n')
        && text.trim_end().contains('\n')
        && !text.starts_with([' ', '\n'])
        && !text.ends_with("\n\n")
    {
        out.push_str(" |\n");
        for line in text.lines() {
            out.push_str(&"  ".repeat(depth));
            out.push_str(line);
            out.push('\n');
        }
        return;
    }
    match inline(value) {
        Some(line) => {
            out.push(' ');
            out.push_str(&line);
            out.push('\n');
        }
        None => {
            out.push('\n');
            block(value, depth, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_written_is_read_again_as_it_was() {
        let value = json!({
            "b": [{ "name": "x", "l": [1, "no", "2h", "header:x"] }, { "c": { "d: e": "a # b" } }],
            "pem": "-----BEGIN\nx\n-----END\n", "e": {}, "l": [], "t": "~", "n": null, "nested": [["a"], [[1]]],
        });
        let text = write(&value);
        let read = crate::document::read(&text).unwrap().remove(0);
        assert_eq!(read.to_json(), value, "{text}");
    }
}
