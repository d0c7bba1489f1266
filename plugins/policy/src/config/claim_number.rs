//! Numbers of claims, as they were written.
//!
//! A number of JSON has any number of digits (RFC 8259 section 6), and `serde_json` keeps those of a
//! double. Two people whose ids differ behind the sixteenth digit would be one. So a number that
//! would not come out as it was written is kept as its text: as an object whose only member has a
//! name that no token may use.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// The name of the only member. Whoever reads tokens refuses names that begin so.
const WRITTEN: &str = "\0number";

/// The number that was written as `text`.
#[must_use]
pub fn number_as_written(text: &str) -> Value {
    let member = (WRITTEN.to_owned(), Value::String(text.to_owned()));
    Value::Object(Map::from_iter([member]))
}

/// Whether a member of that name could be taken for a number's text.
#[must_use]
pub fn is_reserved_name(name: &str) -> bool {
    name.starts_with('\0')
}

/// The text of a number, of either kind; `None` for anything else.
#[must_use]
pub fn number_text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Object(members) => match members.get(WRITTEN) {
            Some(Value::String(text)) => Some(Cow::Borrowed(text)),
            Some(_) | None => None,
        },
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) => None,
    }
}

/// Whether two numbers are the same, digit by digit: `1`, `1.0` and `10e-1` are, and no two that
/// only a double takes for one.
#[must_use]
pub fn is_same_number(one: &str, other: &str) -> bool {
    match (Decimal::parse(one), Decimal::parse(other)) {
        (Some(one), Some(other)) => one == other,
        (Some(_) | None, Some(_) | None) => false,
    }
}

/// A value as JSON, with its numbers as they were written. Claims are nested to a bounded depth.
#[must_use]
pub fn json_text(value: &Value) -> String {
    let mut text = String::new();
    write_json(value, &mut text);
    text
}

fn write_json(value: &Value, text: &mut String) {
    if let Some(number) = number_text(value) {
        text.push_str(&number);
        return;
    }
    match value {
        Value::Array(entries) => {
            text.push('[');
            for (at, entry) in entries.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                write_json(entry, text);
            }
            text.push(']');
        }
        Value::Object(members) => {
            text.push('{');
            for (at, (name, member)) in members.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                write_json(member, text);
            }
            text.push('}');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            text.push_str(&value.to_string());
        }
    }
}

/// A number as its digits, without zeros at either end, and the power of ten that the last stands
/// for. Zero has no digits, no sign and no power.
#[derive(Debug, Default, PartialEq, Eq)]
struct Decimal {
    is_negative: bool,
    digits: Vec<u8>,
    power: i64,
}

impl Decimal {
    fn parse(text: &str) -> Option<Self> {
        let (is_negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = whole.bytes().chain(fraction.bytes());
        let mut digits: Vec<u8> = all.skip_while(|digit| *digit == b'0').collect();
        if !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let mut power = exponent.checked_sub(i64::try_from(fraction.len()).ok()?)?;
        while digits.last() == Some(&b'0') {
            digits.pop();
            power = power.checked_add(1)?;
        }
        if digits.is_empty() {
            return Some(Self::default());
        }
        Some(Self {
            is_negative,
            digits,
            power,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_the_same_digit_by_digit() {
        for (one, other, same) in [
            ("1", "1.0", true),
            ("1", "10e-1", true),
            ("1000", "1e3", true),
            ("1000", "1E+3", true),
            ("0", "-0", true),
            ("0", "0.000e9", true),
            ("1", "-1", false),
            ("9007199254740992", "9007199254740993", false),
            ("0.1", "0.1000000000000000055", false),
            (
                "1234567890123456789012345",
                "1234567890123456789012346",
                false,
            ),
            ("1e-99999999999999999999", "0", false),
            ("x", "x", false),
        ] {
            assert_eq!(is_same_number(one, other), same, "{one} {other}");
        }
    }

    #[test]
    fn json_has_its_numbers_as_they_were_written() {
        let value = json!({ "a": [1, number_as_written("1e3"), "x\"", null, true], "b": {} });
        assert_eq!(json_text(&value), r#"{"a":[1,1e3,"x\"",null,true],"b":{}}"#);
        assert_eq!(json_text(&json!("\u{e4}")), "\"\u{e4}\"");
    }
}
