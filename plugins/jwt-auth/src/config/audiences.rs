//! Whom tokens are for.

use std::fmt;

use portcullis_policy::config::NonEmpty;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::Identifier;

/// Whom a provider's tokens are for: a list of audiences, or the word `unchecked`.
#[derive(Clone, Debug)]
pub enum Audiences {
    /// A token's `aud` is one of these, or holds one of them.
    OneOf(NonEmpty<Identifier>),
    /// `aud` is not looked at.
    Unchecked,
}

impl<'de> Deserialize<'de> for Audiences {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;
        impl<'de> Visitor<'de> for Words {
            type Value = Audiences;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of audiences, or \"unchecked\"")
            }
            fn visit_str<E: de::Error>(self, word: &str) -> Result<Audiences, E> {
                match word {
                    "unchecked" => Ok(Audiences::Unchecked),
                    _ => Err(E::custom(format!(
                        "{word:?} is not a list; expected a list of audiences, or \"unchecked\""
                    ))),
                }
            }
            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Audiences, A::Error> {
                NonEmpty::deserialize(SeqAccessDeserializer::new(seq)).map(Audiences::OneOf)
            }
            // Kong re-encodes an empty list as an empty object.
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Audiences, A::Error> {
                NonEmpty::deserialize(MapAccessDeserializer::new(map)).map(Audiences::OneOf)
            }
        }
        deserializer.deserialize_any(Words)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Audiences {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Audiences".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "anyOf": [
                { "type": "string", "enum": ["unchecked"] },
                generator.subschema_for::<NonEmpty<Identifier>>()
            ]
        })
    }
}
