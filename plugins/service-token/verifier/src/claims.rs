//! The JSON of a token: its header (RFC 7515 section 4.1) and its claims (RFC 7519 section 4.1).

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A token's header. What else stands in it is passed over.
#[derive(Deserialize)]
pub(crate) struct Header {
    pub(crate) alg: String,
    pub(crate) kid: Option<String>,
    pub(crate) typ: Option<String>,
    /// Whether there is `crit`, whatever it says.
    #[serde(default, deserialize_with = "there")]
    pub(crate) crit: bool,
}

/// A token's claims, as far as they are looked at.
#[derive(Deserialize)]
pub(crate) struct Claims {
    pub(crate) iss: Option<String>,
    pub(crate) sub: Option<String>,
    pub(crate) sub_id: Option<Object<SubjectId>>,
    pub(crate) act: Option<Object<Actor>>,
    pub(crate) aud: Option<Audience>,
    pub(crate) exp: Option<Seconds>,
    pub(crate) nbf: Option<Seconds>,
    pub(crate) iat: Option<Seconds>,
    pub(crate) jti: Option<String>,
}

/// A subject identifier (RFC 9493 section 3).
#[derive(Deserialize)]
pub(crate) struct SubjectId {
    pub(crate) format: String,
    pub(crate) iss: Option<String>,
    pub(crate) sub: Option<String>,
}

/// Who acts (RFC 8693 section 4.1).
#[derive(Deserialize)]
pub(crate) struct Actor {
    pub(crate) sub: Option<String>,
}

/// For whom a token is: one, or several.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Audience {
    One(String),
    Several(Vec<String>),
}

/// A point in time, in seconds since the Unix epoch. What does not fit is as early or late as can
/// be; a fraction is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seconds(pub(crate) i64);

/// What is written as an object: serde would take a list of its fields' values for it, too.
pub(crate) struct Object<T>(pub(crate) T);

/// What `json` holds, an object.
pub(crate) fn read<'de, T: Deserialize<'de>>(json: &'de [u8]) -> Option<T> {
    serde_json::from_slice::<Object<T>>(json)
        .ok()
        .map(|object| object.0)
}

impl Audience {
    pub(crate) fn has(&self, name: &str) -> bool {
        match self {
            Self::One(one) => one == name,
            Self::Several(names) => names.iter().any(|one| one == name),
        }
    }
}

fn there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Seconds;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of seconds")
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Seconds, E> {
                Ok(Seconds(number))
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Seconds, E> {
                Ok(Seconds(i64::try_from(number).unwrap_or(i64::MAX)))
            }
            fn visit_f64<E: Error>(self, number: f64) -> Result<Seconds, E> {
                // A cast from a float goes as far as the type does.
                Ok(Seconds(number.floor() as i64))
            }
        }
        // Not `any`: with `arbitrary_precision`, which another crate may have switched on, numbers
        // come as something else.
        deserializer.deserialize_f64(Number)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfMap<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for OfMap<T> {
            type Value = Object<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_map(OfMap(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(json: &str) -> Option<i64> {
        let json = format!(r#"{{"exp":{json}}}"#);
        let claims: Claims = read(json.as_bytes())?;
        claims.exp.map(|seconds| seconds.0)
    }

    #[test]
    fn every_number_is_a_time_that_fits() {
        for (json, expected) in [
            ("0", Some(0)),
            ("1767254400", Some(1_767_254_400)),
            ("1767254400.9", Some(1_767_254_400)),
            ("-1", Some(-1)),
            ("-0.5", Some(-1)),
            ("9223372036854775807", Some(i64::MAX)),
            ("9223372036854775808", Some(i64::MAX)),
            ("18446744073709551615", Some(i64::MAX)),
            ("18446744073709551616", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("-1e300", Some(i64::MIN)),
            ("1e300", Some(i64::MAX)),
            ("1e400", None),
            ("-1e400", None),
            (r#""1767254400""#, None),
            ("null", None),
            ("[1]", None),
            ("NaN", None),
        ] {
            assert_eq!(seconds(json), expected, "{json}");
        }
    }

    #[test]
    fn only_an_object_with_each_name_once_is_read() {
        let reads = |json: &str| read::<Claims>(json.as_bytes()).is_some();
        assert!(reads("{}"));
        assert!(reads(r#"{"x":1,"x":2,"sub":"a"}"#));
        // What is passed over takes no stack, however deep it is.
        let deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(4_000), "]".repeat(4_000));
        assert!(reads(&deep));
        for json in [
            "",
            "[]",
            r#"["iss","sub",null,null,null,null,null,null,null]"#,
            r#"{"sub":"a","sub":"b"}"#,
            r#"{"act":["gate"]}"#,
            r#"{"act":"gate"}"#,
            r#"{"aud":[7]}"#,
            r#"{"sub":7}"#,
            "{} {}",
            "{\"sub\":\"\u{0}\"}",
        ] {
            assert!(!reads(json), "{json}");
        }
    }

    #[test]
    fn crit_is_seen_whatever_it_says() {
        for (json, crit) in [
            (r#"{"alg":"HS256"}"#, false),
            (r#"{"alg":"HS256","crit":null}"#, true),
            (r#"{"alg":"HS256","crit":[]}"#, true),
            (r#"{"alg":"HS256","crit":["b64"]}"#, true),
        ] {
            let header: Header = read(json.as_bytes()).unwrap();
            assert_eq!(header.crit, crit, "{json}");
        }
    }
}
