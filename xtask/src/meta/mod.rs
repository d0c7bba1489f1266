//! `<filter>.meta.json`: what Kong reads beside a filter.

mod draft4;
mod labels;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::filters::Filter;

/// The file's name.
#[must_use]
pub fn file_name(filter: &Filter) -> String {
    format!("{}.meta.json", filter.name)
}

/// The file's content: the schema of the configuration, and how to find labels in metrics' names.
#[must_use]
pub fn meta_json(filter: &Filter) -> Value {
    let mut settings = SchemaSettings::draft07();
    // Kong's validator does not follow every reference.
    settings.inline_subschemas = true;
    let schema = (filter.config)(settings.into_generator());
    let patterns: Vec<Value> = filter
        .labels
        .iter()
        .map(|label| json!({ "label": label.name(), "pattern": label.pattern() }))
        .collect();
    json!({
        "config_schema": draft4::root(schema.to_value()),
        "metrics": { "label_patterns": patterns },
    })
}

/// The file's text, the same however the crates that it is made with were built.
#[must_use]
pub fn meta_text(filter: &Filter) -> String {
    format!("{:#}\n", sorted(meta_json(filter)))
}

/// Keys in alphabetical order: whether serde_json keeps another one depends on which crates are
/// built along with this one.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut members: Vec<(String, Value)> = object.into_iter().collect();
            members.sort_by(|a, b| a.0.cmp(&b.0));
            members
                .into_iter()
                .map(|(key, value)| (key, sorted(value)))
                .collect::<Map<_, _>>()
                .into()
        }
        Value::Array(values) => values.into_iter().map(sorted).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filters::FILTERS;

    #[test]
    fn every_filter_has_a_schema_of_draft_4_that_refuses_unknown_keys() {
        for filter in FILTERS {
            let meta = meta_json(filter);
            let schema = &meta["config_schema"];
            assert_eq!(schema["$schema"], "http://json-schema.org/draft-04/schema#");
            assert_eq!(schema["type"], "object", "{}", filter.name);
            assert_eq!(schema["additionalProperties"], false, "{}", filter.name);
            let text = meta_text(filter);
            for foreign in ["\"const\":", "\"$ref\":", "\"examples\":", "null"] {
                assert!(!text.contains(foreign), "{}: {foreign}", filter.name);
            }
        }
    }

    #[test]
    fn labels_come_in_the_order_of_the_filter() {
        let edge = FILTERS.last().unwrap();
        let meta = meta_json(edge);
        let patterns = meta["metrics"]["label_patterns"].as_array().unwrap();
        let labels: Vec<_> = patterns
            .iter()
            .map(|p| p["label"].as_str().unwrap())
            .collect();
        assert_eq!(
            labels,
            ["breaker", "provider", "to", "limit", "reason", "result"]
        );
    }

    #[test]
    fn keys_are_sorted_at_every_depth_and_lists_are_not() {
        let text = sorted(json!({ "b": [2, { "z": 1, "a": 2 }, 1], "a": 0 })).to_string();
        assert_eq!(text, r#"{"a":0,"b":[2,{"a":2,"z":1},1]}"#);
    }
}
