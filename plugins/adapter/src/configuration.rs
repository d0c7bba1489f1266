//! A plugin's configuration as the hosts hand it over: JSON text (Kong; Envoy's `StringValue`), or
//! the protobuf encoding of a `google.protobuf.Struct` (what Envoy hands over for a `Struct`).

use std::collections::BTreeMap;

use portcullis_policy::config::{ConfigError, parse_text, parse_value};
use prost::Message as _;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Map, Number, Value};

/// Reads a configuration in either form.
pub(crate) fn parse<C: DeserializeOwned>(bytes: &[u8]) -> Result<C, ConfigError> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return parse_text(b"{}");
    }
    // Both may begin with the same bytes (a newline is also a protobuf tag), but no encoded Struct
    // is JSON: its keys follow a tag and a length.
    if serde_json::from_slice::<IgnoredAny>(bytes).is_err()
        && let Ok(message) = Struct::decode(bytes)
    {
        return parse_value(Value::Object(message.into_json()?));
    }
    parse_text(bytes)
}

/// `google.protobuf.Struct`
#[derive(Clone, PartialEq, prost::Message)]
struct Struct {
    #[prost(btree_map = "string, message", tag = "1")]
    fields: BTreeMap<String, ProtoValue>,
}

/// `google.protobuf.Value`
#[derive(Clone, PartialEq, prost::Message)]
struct ProtoValue {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6")]
    kind: Option<Kind>,
}

/// `google.protobuf.ListValue`
#[derive(Clone, PartialEq, prost::Message)]
struct List {
    #[prost(message, repeated, tag = "1")]
    values: Vec<ProtoValue>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Kind {
    #[prost(int32, tag = "1")]
    Null(i32),
    #[prost(double, tag = "2")]
    Number(f64),
    #[prost(string, tag = "3")]
    String(String),
    #[prost(bool, tag = "4")]
    Bool(bool),
    #[prost(message, tag = "5")]
    Struct(Struct),
    #[prost(message, tag = "6")]
    List(List),
}

impl Struct {
    fn into_json(self) -> Result<Map<String, Value>, ConfigError> {
        let field = |(name, value): (String, ProtoValue)| {
            let value = value.into_json().map_err(|error| error.within(&name))?;
            Ok((name, value))
        };
        self.fields.into_iter().map(field).collect()
    }
}

impl ProtoValue {
    fn into_json(self) -> Result<Value, ConfigError> {
        Ok(match self.kind {
            None | Some(Kind::Null(_)) => Value::Null,
            Some(Kind::Number(number)) => Value::Number(to_number(number)?),
            Some(Kind::String(text)) => Value::String(text),
            Some(Kind::Bool(flag)) => Value::Bool(flag),
            Some(Kind::Struct(fields)) => Value::Object(fields.into_json()?),
            Some(Kind::List(list)) => Value::Array(
                list.values
                    .into_iter()
                    .map(Self::into_json)
                    .collect::<Result<_, _>>()?,
            ),
        })
    }
}

/// A Struct knows doubles only: 100 comes as 100.0.
fn to_number(number: f64) -> Result<Number, ConfigError> {
    /// Up to there each whole number is a double of its own.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= EXACT {
        return Ok(Number::from(number as i64));
    }
    Number::from_f64(number).ok_or_else(|| ConfigError::at("", format!("{number} is not a number")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(json: &Value) -> ProtoValue {
        let kind = match json {
            Value::Null => Kind::Null(0),
            Value::Bool(flag) => Kind::Bool(*flag),
            Value::Number(number) => Kind::Number(number.as_f64().unwrap()),
            Value::String(text) => Kind::String(text.clone()),
            Value::Array(list) => Kind::List(List {
                values: list.iter().map(value).collect(),
            }),
            Value::Object(fields) => Kind::Struct(message(fields)),
        };
        ProtoValue { kind: Some(kind) }
    }

    fn message(fields: &Map<String, Value>) -> Struct {
        Struct {
            fields: fields
                .iter()
                .map(|(name, field)| (name.clone(), value(field)))
                .collect(),
        }
    }

    #[test]
    fn a_struct_reads_like_the_json_that_it_was_made_of() {
        let json = serde_json::json!({
            "limits": [{ "name": "per_ip", "quota": 100, "ratio": 0.5, "deep": { "on": true, "off": null } }],
            "empty": [], "big": 9_007_199_254_740_992_i64, "negative": -3
        });
        let bytes = message(json.as_object().unwrap()).encode_to_vec();
        assert_eq!(parse::<Value>(&bytes).unwrap(), json);
        assert_eq!(parse::<Value>(json.to_string().as_bytes()).unwrap(), json);
    }

    #[test]
    fn a_struct_whose_first_bytes_look_like_json_is_still_one() {
        // A map entry of 123 bytes: 0x0a 0x7b, a newline and an opening brace.
        let json = serde_json::json!({ "key": "v".repeat(114) });
        let bytes = message(json.as_object().unwrap()).encode_to_vec();
        assert_eq!(bytes[..2], *b"\n{");
        assert_eq!(parse::<Value>(&bytes).unwrap(), json);
    }

    #[test]
    fn json_may_begin_with_a_newline_and_nothing_is_an_empty_object() {
        assert_eq!(
            parse::<Value>(b"\n{\n \"a\": 1 }\n").unwrap(),
            serde_json::json!({ "a": 1 })
        );
        assert_eq!(parse::<Value>(b" ").unwrap(), serde_json::json!({}));
    }

    #[test]
    fn what_is_neither_is_refused_with_a_reason() {
        for bytes in [&b"{\"a\": }"[..], b"key: value", b"\xff\xff\xff", b"[1,"] {
            assert!(parse::<Map<String, Value>>(bytes).is_err(), "{bytes:?}");
        }
        let number = Struct {
            fields: [(
                "a".to_owned(),
                ProtoValue {
                    kind: Some(Kind::Number(f64::NAN)),
                },
            )]
            .into(),
        };
        let error = parse::<Value>(&number.encode_to_vec()).unwrap_err();
        assert_eq!(error.to_string(), "a: NaN is not a number");
    }
}
