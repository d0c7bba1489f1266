//! Lists and maps that lose nothing: no entry twice, and empty ones as Kong writes them.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::config::Name;

/// A list. Kong re-encodes a configuration from Lua, where an empty list is an empty object.
#[derive(Clone, Debug)]
pub struct List<T>(pub Vec<T>);

/// A list with at least one entry.
#[derive(Clone, Debug)]
pub struct NonEmpty<T>(Vec<T>);

/// Entries by name, in the order in which they are written; a name that comes twice is refused.
#[derive(Clone, Debug)]
pub struct UniqueMap<V>(Vec<(Name, V)>);

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

impl<V> UniqueMap<V> {
    /// The entries, in order.
    #[must_use]
    pub fn into_vec(self) -> Vec<(Name, V)> {
        self.0
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
                    Some(_) => Err(de::Error::custom("expected a list, found an object")),
                }
            }
            // It may be a secret that was written without its list.
            fn visit_str<E: de::Error>(self, _: &str) -> Result<Vec<T>, E> {
                Err(E::custom("expected a list, found a string"))
            }
            fn visit_u64<E: de::Error>(self, _: u64) -> Result<Vec<T>, E> {
                Err(E::custom("expected a list, found a number"))
            }
            fn visit_i64<E: de::Error>(self, _: i64) -> Result<Vec<T>, E> {
                Err(E::custom("expected a list, found a number"))
            }
            fn visit_f64<E: de::Error>(self, _: f64) -> Result<Vec<T>, E> {
                Err(E::custom("expected a list, found a number"))
            }
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

impl<'de, V: Deserialize<'de>> Deserialize<'de> for UniqueMap<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Entries<V> {
            type Value = Vec<(Name, V)>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries: Self::Value = Vec::new();
                while let Some((name, value)) = map.next_entry::<Name, V>()? {
                    if entries.iter().any(|(known, _)| *known == name) {
                        let message = format!("{:?} is there twice", name.as_str());
                        return Err(de::Error::custom(message));
                    }
                    entries.push((name, value));
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
        impl<T> Object<T> {
            fn refuse<E: de::Error>() -> Result<T, E> {
                Err(E::custom(
                    "expected an object; what stands there is not repeated here",
                ))
            }
        }
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
            type Value = T;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
            fn visit_str<E: de::Error>(self, _: &str) -> Result<T, E> {
                Self::refuse()
            }
            fn visit_u64<E: de::Error>(self, _: u64) -> Result<T, E> {
                Self::refuse()
            }
            fn visit_i64<E: de::Error>(self, _: i64) -> Result<T, E> {
                Self::refuse()
            }
            fn visit_f64<E: de::Error>(self, _: f64) -> Result<T, E> {
                Self::refuse()
            }
            fn visit_bool<E: de::Error>(self, _: bool) -> Result<T, E> {
                Self::refuse()
            }
        }
        deserializer.deserialize_any(Object(PhantomData)).map(Self)
    }
}

#[cfg(feature = "schema")]
mod schema {
    use std::borrow::Cow;

    use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

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

    impl<T: JsonSchema> JsonSchema for UniqueMap<T> {
        fn inline_schema() -> bool {
            true
        }
        fn schema_name() -> Cow<'static, str> {
            format!("MapOf{}", T::schema_name()).into()
        }
        fn json_schema(generator: &mut SchemaGenerator) -> Schema {
            json_schema!({
                "type": "object",
                "patternProperties": { "^[a-z0-9_]{1,64}$": generator.subschema_for::<T>() },
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
    fn a_name_that_comes_twice_is_refused() {
        let twice = serde_json::from_str::<UniqueMap<u8>>(r#"{"a":1,"a":2}"#).unwrap_err();
        assert!(twice.to_string().contains("\"a\" is there twice"));
    }
}
