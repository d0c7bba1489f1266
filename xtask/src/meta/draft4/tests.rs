use schemars::JsonSchema;
use schemars::generate::SchemaSettings;

use super::*;

fn becomes(from: Value, to: Value) {
    assert_eq!(convert(from.clone()), to, "from {from}");
}

#[test]
fn the_root_names_draft_4() {
    let schema = root(json!({ "$schema": "http://json-schema.org/draft-07/schema#" }));
    assert_eq!(schema, json!({ "$schema": URI }));
}

#[test]
fn a_constant_is_an_enum_of_one() {
    becomes(
        json!({ "const": "a", "type": "string" }),
        json!({ "enum": ["a"], "type": "string" }),
    );
}

#[test]
fn documented_variants_are_one_enum() {
    becomes(
        json!({ "description": "Mode.", "oneOf": [
            { "const": "on", "type": "string", "description": "Acts." },
            { "enum": ["off", "shadow"], "type": "string" },
        ] }),
        json!({ "description": "Mode.", "enum": ["on", "off", "shadow"], "type": "string" }),
    );
    becomes(
        json!({ "anyOf": [{ "const": "a", "type": "string" }, { "const": 1, "type": "integer" }] }),
        json!({ "enum": ["a", 1] }),
    );
}

#[test]
fn variants_that_hold_something_stay_alternatives() {
    becomes(
        json!({ "oneOf": [
            { "const": "none", "type": "string" },
            { "type": "object", "required": ["a"], "properties": { "a": { "const": 1 } } },
        ] }),
        json!({ "oneOf": [
            { "enum": ["none"], "type": "string" },
            { "type": "object", "required": ["a"], "properties": { "a": { "enum": [1] } } },
        ] }),
    );
}

#[test]
fn an_exclusive_bound_is_a_bound_and_a_flag() {
    becomes(
        json!({ "exclusiveMinimum": 0 }),
        json!({ "minimum": 0, "exclusiveMinimum": true }),
    );
    becomes(
        json!({ "exclusiveMaximum": 1.5 }),
        json!({ "maximum": 1.5, "exclusiveMaximum": true }),
    );
    becomes(
        json!({ "minimum": 0, "exclusiveMinimum": 0, "maximum": 1, "exclusiveMaximum": 9 }),
        json!({ "minimum": 0, "exclusiveMinimum": true, "maximum": 1 }),
    );
}

#[test]
fn words_that_draft_4_does_not_know_go() {
    becomes(
        json!({
            "type": "integer", "format": "uint32", "minimum": 0, "examples": [1], "$comment": "c",
            "propertyNames": {}, "if": {}, "then": {}, "else": {}, "contains": {}, "readOnly": true,
            "writeOnly": true, "$id": "x", "contentEncoding": "base64", "default": null,
        }),
        json!({ "type": "integer", "minimum": 0 }),
    );
    becomes(json!({ "format": "ipv4" }), json!({ "format": "ipv4" }));
}

#[test]
fn names_of_properties_are_not_words_of_the_schema() {
    becomes(
        json!({
            "properties": { "const": { "const": 1 }, "format": true, "contains": { "if": {} } },
            "default": { "const": 1 },
        }),
        json!({
            "properties": { "const": { "enum": [1] }, "format": {}, "contains": {} },
            "default": { "const": 1 },
        }),
    );
}

#[test]
fn boolean_schemas_are_spelled_out_where_draft_4_has_none() {
    becomes(
        json!({
            "properties": { "a": true, "b": false }, "additionalProperties": false,
            "items": [true], "additionalItems": true, "not": true, "anyOf": [true],
            "dependencies": { "a": ["b"], "b": false },
        }),
        json!({
            "properties": { "a": {}, "b": { "not": {} } }, "additionalProperties": false,
            "items": [{}], "additionalItems": true, "not": {}, "anyOf": [{}],
            "dependencies": { "a": ["b"], "b": { "not": {} } },
        }),
    );
}

#[test]
fn an_optional_value_is_not_written_as_null() {
    becomes(
        json!({ "type": ["string", "null"] }),
        json!({ "type": "string" }),
    );
    becomes(json!({ "enum": ["a", null] }), json!({ "enum": ["a"] }));
    becomes(
        json!({ "description": "Field.", "anyOf": [
            { "description": "Type.", "type": "object", "properties": {} }, { "type": "null" },
        ] }),
        json!({ "description": "Field.", "type": "object", "properties": {} }),
    );
    becomes(
        json!({ "anyOf": [{ "type": "string" }, { "type": "integer" }, { "type": "null" }] }),
        json!({ "anyOf": [{ "type": "string" }, { "type": "integer" }] }),
    );
    becomes(
        json!({ "anyOf": [
            { "oneOf": [{ "const": "a" }, { "const": "b", "description": "B." }] }, { "type": "null" },
        ] }),
        json!({ "enum": ["a", "b"] }),
    );
}

#[test]
fn what_says_two_things_of_one_value_says_both() {
    becomes(
        json!({ "minLength": 1, "anyOf": [{ "minLength": 2 }, { "type": "null" }] }),
        json!({ "minLength": 1, "allOf": [{ "minLength": 2 }] }),
    );
}

#[test]
fn an_empty_list_of_required_fields_goes() {
    becomes(
        json!({ "required": [], "type": "object" }),
        json!({ "type": "object" }),
    );
}

/// Documented, as configuration types are.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is wanted")]
struct Sample {
    /// One of a few.
    choice: Option<Choice>,
    /// A number.
    #[serde(default)]
    count: Option<u32>,
    /// Above zero.
    #[schemars(range(min = 0.0), extend("exclusiveMinimum" = 0.0))]
    ratio: f64,
}

/// A choice.
#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "only its schema is wanted")]
enum Choice {
    /// The first.
    First,
    /// The second.
    Second,
}

#[test]
fn what_schemars_writes_of_a_type_is_draft_4() {
    let mut settings = SchemaSettings::draft07();
    settings.inline_subschemas = true;
    let schema = settings.into_generator().into_root_schema_for::<Sample>();
    assert_eq!(
        root(schema.to_value()),
        json!({
            "$schema": URI,
            "title": "Sample",
            "description": "Documented, as configuration types are.",
            "type": "object",
            "properties": {
                "choice": {
                    "description": "One of a few.", "type": "string", "enum": ["first", "second"],
                },
                "count": { "description": "A number.", "type": "integer", "minimum": 0 },
                "ratio": {
                    "description": "Above zero.", "type": "number",
                    "minimum": 0.0, "exclusiveMinimum": true,
                },
            },
            "required": ["ratio"],
            "additionalProperties": false,
        })
    );
}
