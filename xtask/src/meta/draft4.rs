//! From the draft 7 that schemars writes to the draft 4 that Kong's validator reads.
//!
//! What draft 4 has another form for is rewritten; what it does not know is left out, which makes
//! the schema laxer and never stricter: the filter itself still refuses what Kong let through.

use serde_json::{Map, Value, json};

/// Draft 4's name.
const URI: &str = "http://json-schema.org/draft-04/schema#";

/// The words that draft 4 knows.
const KEYWORDS: &[&str] = &[
    "$ref",
    "additionalItems",
    "additionalProperties",
    "allOf",
    "anyOf",
    "default",
    "definitions",
    "dependencies",
    "description",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "not",
    "oneOf",
    "pattern",
    "patternProperties",
    "properties",
    "required",
    "title",
    "type",
    "uniqueItems",
];

/// The formats that draft 4 knows. schemars also names Rust's number types, such as `uint32`.
const FORMATS: &[&str] = &["date-time", "email", "hostname", "ipv4", "ipv6", "uri"];

/// A whole schema document.
pub(super) fn root(schema: Value) -> Value {
    let mut schema = convert(schema);
    if let Value::Object(keywords) = &mut schema {
        keywords.insert("$schema".into(), URI.into());
    }
    schema
}

fn convert(schema: Value) -> Value {
    let mut schema = match schema {
        Value::Object(schema) => schema,
        Value::Bool(false) => return json!({ "not": {} }),
        // `true`, and anything that is no schema at all.
        _ => return json!({}),
    };
    constant_to_enum(&mut schema);
    exclusive_bound(
        &mut schema,
        "minimum",
        "exclusiveMinimum",
        |bound, other| bound >= other,
    );
    exclusive_bound(
        &mut schema,
        "maximum",
        "exclusiveMaximum",
        |bound, other| bound <= other,
    );
    schema.retain(|keyword, value| match keyword.as_str() {
        "format" => value
            .as_str()
            .is_some_and(|format| FORMATS.contains(&format)),
        "required" => value
            .as_array()
            .is_some_and(|required| !required.is_empty()),
        "default" => !value.is_null(),
        keyword => KEYWORDS.contains(&keyword),
    });
    for (keyword, value) in &mut schema {
        subschemas(keyword, value);
    }
    drop_null(&mut schema);
    merge_enums(&mut schema, "oneOf");
    merge_enums(&mut schema, "anyOf");
    Value::Object(schema)
}

/// Converts the schemas that a keyword holds. Names of properties are not keywords, and the values
/// of `enum` and `default` are not schemas.
fn subschemas(keyword: &str, value: &mut Value) {
    match (keyword, value) {
        ("properties" | "patternProperties" | "definitions", Value::Object(schemas)) => {
            schemas.values_mut().for_each(convert_in_place);
        }
        ("dependencies", Value::Object(dependencies)) => {
            let schemas = dependencies
                .values_mut()
                .filter(|dependency| !dependency.is_array());
            schemas.for_each(convert_in_place);
        }
        ("allOf" | "anyOf" | "oneOf" | "items", Value::Array(schemas)) => {
            schemas.iter_mut().for_each(convert_in_place);
        }
        // These two may be booleans in draft 4.
        ("additionalProperties" | "additionalItems", Value::Bool(_)) => {}
        ("items" | "not" | "additionalProperties" | "additionalItems", schema) => {
            convert_in_place(schema);
        }
        _ => {}
    }
}

fn convert_in_place(schema: &mut Value) {
    *schema = convert(schema.take());
}

/// `const: x` → `enum: [x]`.
fn constant_to_enum(schema: &mut Map<String, Value>) {
    if let Some(value) = schema.remove("const") {
        schema.insert("enum".into(), Value::Array(vec![value]));
    }
}

/// `exclusiveMinimum: 0` → `minimum: 0, exclusiveMinimum: true`; of two bounds the tighter counts.
fn exclusive_bound(
    schema: &mut Map<String, Value>,
    inclusive: &str,
    exclusive: &str,
    is_tighter: fn(f64, f64) -> bool,
) {
    let Some(bound) = schema.get(exclusive).and_then(Value::as_f64) else {
        return;
    };
    let number = schema.remove(exclusive);
    let other = schema.get(inclusive).and_then(Value::as_f64);
    if let (Some(number), true) = (number, other.is_none_or(|other| is_tighter(bound, other))) {
        schema.insert(inclusive.into(), number);
        schema.insert(exclusive.into(), true.into());
    }
}

/// A field that may be absent is not written as `null`: Kong's validator fails on a `null` in an
/// `enum`, and nobody means to write one.
fn drop_null(schema: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|r#type| r#type != "null");
        if let [only] = types.as_mut_slice() {
            let only = only.take();
            schema.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    for keyword in ["anyOf", "oneOf"] {
        let Some(Value::Array(alternatives)) = schema.get_mut(keyword) else {
            continue;
        };
        let before = alternatives.len();
        alternatives.retain(|alternative| alternative["type"] != "null");
        if alternatives.len() == before {
            continue;
        }
        if let [Value::Object(only)] = alternatives.as_mut_slice() {
            let only = std::mem::take(only);
            schema.remove(keyword);
            absorb(schema, only);
        }
    }
}

/// Puts the one schema that is left of several in the place of all. What the field says of itself
/// goes before what its type says.
fn absorb(schema: &mut Map<String, Value>, only: Map<String, Value>) {
    const ABOUT: &[&str] = &["title", "description", "default"];
    let clashes =
        |keyword: &String| schema.contains_key(keyword) && !ABOUT.contains(&keyword.as_str());
    if only.keys().any(clashes) {
        schema.insert("allOf".into(), json!([only]));
        return;
    }
    for (keyword, value) in only {
        schema.entry(keyword).or_insert(value);
    }
}

/// Alternatives that are nothing but values, each with its doc comment → one `enum` of them all.
fn merge_enums(schema: &mut Map<String, Value>, keyword: &str) {
    let Some(Value::Array(alternatives)) = schema.get(keyword) else {
        return;
    };
    let is_plain = |alternative: &Value| {
        let words = ["enum", "type", "title", "description"];
        alternative.get("enum").is_some()
            && alternative
                .as_object()
                .is_some_and(|o| o.keys().all(|k| words.contains(&k.as_str())))
    };
    if schema.contains_key("enum") || alternatives.is_empty() || !alternatives.iter().all(is_plain)
    {
        return;
    }
    let mut values: Vec<Value> = Vec::new();
    for value in alternatives
        .iter()
        .filter_map(|a| a["enum"].as_array())
        .flatten()
    {
        if !values.contains(value) {
            values.push(value.clone());
        }
    }
    let mut types = alternatives
        .iter()
        .map(|alternative| alternative.get("type"));
    let first = types.next().flatten().cloned();
    let same = types.all(|r#type| r#type == first.as_ref());
    schema.remove(keyword);
    schema.insert("enum".into(), Value::Array(values));
    if let (Some(r#type), true) = (first, same) {
        schema.entry("type").or_insert(r#type);
    }
}

#[cfg(test)]
mod tests;
