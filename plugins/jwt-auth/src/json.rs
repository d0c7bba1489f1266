//! JSON as a token may hold it: one reading only, and of bounded depth.
//!
//! Parsers disagree on which of two equal keys counts (RFC 8259 section 4). A token that the
//! gateway reads in one way and the backend in another is refused.

use std::cell::Cell;
use std::fmt;

use portcullis_policy::config::{is_reserved_name, number_as_written};
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Deepest nesting, the object itself included. Claims of known issuers go four deep.
const DEEPEST: u8 = 16;

/// Reads an object: UTF-8, no key twice in any object, nothing nested deeper than [`DEEPEST`],
/// nothing behind it. A number that would not come out as it was written is
/// [kept as its text](number_as_written). How many values it can hold is bounded by the size of a token.
pub(crate) fn parse_object(bytes: &[u8]) -> Option<Value> {
    parse(bytes, Doubles::Refused)
}

/// The same for a key set: below `keys`, an object that has a key twice is read as `null`, so that
/// one odd entry does not take the others with it.
pub(crate) fn parse_key_set(bytes: &[u8]) -> Option<Value> {
    parse(bytes, Doubles::RefusedOutsideOfKeys)
}

fn parse(bytes: &[u8], doubles: Doubles) -> Option<Value> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let unread = Cell::new(text);
    let strict = Strict {
        deepest: DEEPEST,
        doubles,
        unread: &unread,
    };
    let value = strict.deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    value.is_object().then_some(value)
}

/// What becomes of an object that has a key twice.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Doubles {
    /// Nothing is read of it, nor of what it stands in.
    Refused,
    /// The same, but not below the key `keys`.
    RefusedOutsideOfKeys,
    /// It is `null`.
    Void,
}

/// A value in which nothing is nested deeper than that.
#[derive(Clone, Copy)]
struct Strict<'t> {
    deepest: u8,
    /// The text from behind the last number on: numbers come in the order in which they stand there.
    unread: &'t Cell<&'t str>,
    doubles: Doubles,
}

impl<'t> Strict<'t> {
    fn inner<E: de::Error>(self) -> Result<Self, E> {
        match self.deepest.checked_sub(1) {
            Some(deepest) => Ok(Self { deepest, ..self }),
            None => Err(E::custom("nested too deep")),
        }
    }

    /// The next number as it was written.
    fn next_number(self) -> &'t str {
        let (number, unread) = split_number(self.unread.get());
        self.unread.set(unread);
        number
    }

    /// What stands below that key.
    fn below(self, key: &str) -> Self {
        let doubles = match (self.doubles, key) {
            (Doubles::RefusedOutsideOfKeys, "keys") | (Doubles::Void, _) => Doubles::Void,
            (Doubles::Refused | Doubles::RefusedOutsideOfKeys, _) => Doubles::Refused,
        };
        Self { doubles, ..self }
    }
}

/// The first number of a JSON text, and what is behind it. The text is one that is being parsed, so
/// that outside of strings nothing but a number begins with a digit or a minus.
fn split_number(text: &str) -> (&str, &str) {
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => loop {
                match bytes.next() {
                    Some((_, b'\\')) => {
                        bytes.next();
                    }
                    Some((_, b'"')) | None => break,
                    Some(_) => {}
                }
            },
            b'-' | b'0'..=b'9' => {
                let part =
                    |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
                let rest = text.get(at..).unwrap_or_default();
                let length = rest.bytes().take_while(part).count();
                return rest.split_at_checked(length).unwrap_or_default();
            }
            _ => {}
        }
    }
    ("", "")
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;
    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        self.next_number();
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        self.next_number();
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        let written = self.next_number();
        let number = Number::from_f64(value).ok_or_else(|| E::custom("not a finite number"))?;
        Ok(if number.to_string() == written {
            Value::Number(number)
        } else {
            number_as_written(written)
        })
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut values = Vec::new();
        while let Some(value) = seq.next_element_seed(inner)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut values = Map::new();
        let mut doubled = false;
        while let Some(key) = map.next_key::<String>()? {
            if is_reserved_name(&key) {
                return Err(de::Error::custom(
                    "a name that stands for something else here",
                ));
            }
            let value = map.next_value_seed(inner.below(&key))?;
            doubled |= values.insert(key, value).is_some();
            if doubled && self.doubles != Doubles::Void {
                return Err(de::Error::custom("a key is there twice"));
            }
        }
        Ok(if doubled {
            Value::Null
        } else {
            Value::Object(values)
        })
    }
}

#[cfg(test)]
mod tests {
    use portcullis_policy::config::number_text;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_reads_as_serde_json_reads_it() {
        let text = r#" {"a": [1, -2, 3.5, 18446744073709551615, true, null, "\u00e4\n"], "b": {"a": {}, "c": [[]]}} "#;
        assert_eq!(
            parse_object(text.as_bytes()),
            Some(serde_json::from_str(text).unwrap())
        );
    }

    #[test]
    fn a_number_is_kept_as_it_was_written() {
        for (written, is_plain) in [
            ("0", true),
            ("-1", true),
            ("9007199254740993", true),
            ("18446744073709551615", true),
            ("18446744073709551616", false),
            ("-9223372036854775809", false),
            ("1234567890123456789012345", false),
            ("1.0", true),
            ("0.1", true),
            ("0.1000000000000000055", false),
            ("1.10", false),
            ("1e3", false),
            ("1E400000000000000000000", false),
            ("1e-400", false),
            ("-0", false),
            ("-0.0", true),
            ("1700000000.1234567", true),
        ] {
            let text = format!(r#"{{"1\"2\\":"3,-4","a":[5,{{"b":{written}}}],"c":6.5}}"#);
            let Some(value) = parse_object(text.as_bytes()) else {
                assert_eq!(written, "1E400000000000000000000");
                continue;
            };
            let number = &value["a"][1]["b"];
            assert_eq!(number_text(number).as_deref(), Some(written));
            assert_eq!(number.is_number(), is_plain, "{written}");
            assert_eq!((&value["a"][0], &value["c"]), (&json!(5), &json!(6.5)));
        }
        let spoofed = r#"{"sub":{"\u0000number":"7"}}"#;
        assert_eq!(parse_object(spoofed.as_bytes()), None);
    }

    #[test]
    fn what_has_two_readings_is_refused() {
        for wrong in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"x":{"a":1,"b":2,"a":3}}"#,
            r#"{"x":[{"a":1,"a":2}]}"#,
            r#"{"a":1}{"a":2}"#,
            r#"{"a":1} x"#,
            r#"{"a":1,}"#,
            r#"{'a':1}"#,
            r#"{"a":NaN}"#,
            r#"{"a":Infinity}"#,
            r#"{"a":1e400}"#,
            r#"{"a":01}"#,
            r#"{"a":"\ud800"}"#,
            "{\"a\":\"\n\"}",
            "\u{feff}{}",
            "[]",
            "1",
            "null",
            "\"{}\"",
            "",
        ] {
            assert_eq!(parse_object(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(parse_object(b"{\"a\":\"\xff\"}"), None);
        assert_eq!(parse_object(b"{\"a\":\"\xc0\xaf\"}"), None);
    }

    #[test]
    fn nesting_ends_at_sixteen() {
        let nested = |depth: usize| {
            let inner = depth - 1;
            format!(r#"{{"a":{}{}}}"#, "[".repeat(inner), "]".repeat(inner))
        };
        assert!(parse_object(nested(16).replace("[]", "[1]").as_bytes()).is_some());
        assert!(parse_object(nested(17).as_bytes()).is_none());
        assert!(parse_object(nested(4000).as_bytes()).is_none());
    }
}
