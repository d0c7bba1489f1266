//! Lists and maps that lose nothing: no entry twice, and empty ones as Kong writes them.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::config::{expected, refuse};

/// A list. Kong re-encodes a configuration from Lua, where an empty list is an empty object.
#[derive(Clone, Debug)]
pub struct List<T>(pub Vec<T>);

/// A list with at least one entry.
#[derive(Clone, Debug)]
pub struct NonEmpty<T>(Vec<T>);

/// Entries by key, in the order in which they are written; a key that comes twice is refused.
#[derive(Clone, Debug)]
pub struct UniqueMap<K, V>(Vec<(K, V)>);

/// A value that is written as an object, for objects that hold secrets: what stands there instead
/// may be the secret itself, so that the error must not repeat it.
#[derive(Clone, Debug)]
pub struct ObjectOnly<T>(pub T);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> NonEmpty<T> {
    /// The entries.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        &self.0
    }

    /// The entries.
    #[must_use]
    pub fn into_vec(self) -> Vec<T> {
        self.0
    }
}

impl<K, V> UniqueMap<K, V> {
    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The entries, in order.
    #[must_use]
    pub fn as_slice(&self) -> &[(K, V)] {
        &self.0
    }

    /// The entries, in order.
    #[must_use]
    pub fn into_vec(self) -> Vec<(K, V)> {
        self.0
    }
}

impl<K, V> Default for UniqueMap<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = Vec<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = seq.next_element()? {
                    entries.push(entry);
                }
                Ok(entries)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<T>, A::Error> {
                match map.next_key::<IgnoredAny>()? {
                    None => Ok(Vec::new()),
                    Some(_) => Err(expected(&self, "an object")),
                }
            }
            refuse!(text, number);
        }
        deserializer.deserialize_any(Entries(PhantomData)).map(Self)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for NonEmpty<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let List(entries) = List::deserialize(deserializer)?;
        if entries.is_empty() {
            return Err(de::Error::custom(
                "the list is empty; expected at least one entry",
            ));
        }
        Ok(Self(entries))
    }
}

impl<'de, K, V> Deserialize<'de> for UniqueMap<K, V>
where
    K: Deserialize<'de> + PartialEq + AsRef<str>,
    V: Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<K, V>(PhantomData<(K, V)>);
        impl<'de, K, V> Visitor<'de> for Entries<K, V>
        where
            K: Deserialize<'de> + PartialEq + AsRef<str>,
            V: Deserialize<'de>,
        {
            type Value = Vec<(K, V)>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries: Self::Value = Vec::new();
                while let Some((key, value)) = map.next_entry::<K, V>()? {
                    if entries.iter().any(|(known, _)| *known == key) {
                        let message = format!("{:?} is there twice", key.as_ref());
                        return Err(de::Error::custom(message));
                    }
                    entries.push((key, value));
                }
                Ok(entries)
            }
        }
        deserializer.deserialize_map(Entries(PhantomData)).map(Self)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for ObjectOnly<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
            type Value = T;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
            refuse!(text, number, boolean);
        }
        deserializer.deserialize_any(Object(PhantomData)).map(Self)
    }
}

#[cfg(feature = "schema")]
mod schema {
    use std::borrow::Cow;

    use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
    use serde_json::Value;

    use super::{List, NonEmpty, ObjectOnly, UniqueMap};

    impl<T: JsonSchema> JsonSchema for List<T> {
        fn inline_schema() -> bool {
            true
        }
        fn schema_name() -> Cow<'static, str> {
            format!("ListOf{}", T::schema_name()).into()
        }
        fn json_schema(generator: &mut SchemaGenerator) -> Schema {
            json_schema!({ "type": "array", "items": generator.subschema_for::<T>() })
        }
    }

    impl<T: JsonSchema> JsonSchema for NonEmpty<T> {
        fn inline_schema() -> bool {
            true
        }
        fn schema_name() -> Cow<'static, str> {
            format!("NonEmptyListOf{}", T::schema_name()).into()
        }
        fn json_schema(generator: &mut SchemaGenerator) -> Schema {
            json_schema!({ "type": "array", "minItems": 1, "items": generator.subschema_for::<T>() })
        }
    }

    /// The pattern is that of the keys' own schema.
    impl<K: JsonSchema, V: JsonSchema> JsonSchema for UniqueMap<K, V> {
        fn inline_schema() -> bool {
            true
        }
        fn schema_name() -> Cow<'static, str> {
            format!("{}By{}", V::schema_name(), K::schema_name()).into()
        }
        fn json_schema(generator: &mut SchemaGenerator) -> Schema {
            let keys = K::json_schema(generator);
            let pattern = keys.get("pattern").and_then(Value::as_str);
            json_schema!({
                "type": "object",
                "patternProperties": { (pattern.unwrap_or_default()): generator.subschema_for::<V>() },
                "additionalProperties": false
            })
        }
    }

    impl<T: JsonSchema> JsonSchema for ObjectOnly<T> {
        fn inline_schema() -> bool {
            T::inline_schema()
        }
        fn schema_name() -> Cow<'static, str> {
            T::schema_name()
        }
        fn json_schema(generator: &mut SchemaGenerator) -> Schema {
            T::json_schema(generator)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ClaimPath, Name};

    #[test]
    fn an_empty_list_may_be_an_empty_object_but_no_other_object_is_a_list() {
        assert!(serde_json::from_str::<List<u8>>("{}").unwrap().0.is_empty());
        assert!(serde_json::from_str::<List<u8>>(r#"{"a":1}"#).is_err());
        assert!(serde_json::from_str::<NonEmpty<u8>>("{}").is_err());
        assert_eq!(
            serde_json::from_str::<NonEmpty<u8>>("[1]")
                .unwrap()
                .into_vec(),
            [1]
        );
    }

    #[test]
    fn a_text_in_place_of_a_list_is_not_repeated() {
        let error = serde_json::from_str::<List<u8>>(r#""hunter2""#).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("expected a list, found a string")
        );
    }

    #[test]
    fn a_key_that_comes_twice_is_refused() {
        fn twice<K: for<'de> Deserialize<'de> + PartialEq + AsRef<str>>(json: &str) -> String {
            let read = serde_json::from_str::<UniqueMap<K, u8>>(json);
            read.map(|map| map.into_vec().len())
                .unwrap_err()
                .to_string()
        }
        assert!(twice::<Name>(r#"{"a":1,"a":2}"#).contains("\"a\" is there twice"));
        assert!(twice::<ClaimPath>(r#"{"a.b":1,"a.b":2}"#).contains("\"a.b\" is there twice"));
    }
}
