//! JWK sets in a configuration.

use std::fmt;

use portcullis_policy::config::NonEmpty;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value};

/// A JWK set (RFC 7517 section 5).
#[derive(Clone, Debug, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct JwksConfig {
    /// The keys (RFC 7517 section 4), at most 64. One that is for another purpose, or of a kind
    /// that is not known here, is left out, and named in the log.
    pub keys: NonEmpty<JwkConfig>,
}

/// An entry of a set as an issuer publishes it: an object, or `null`. What stands there instead may
/// be a secret, so that the error must not repeat it.
#[derive(Clone, Debug)]
pub struct JwkConfig(pub Option<Map<String, Value>>);

impl<'de> Deserialize<'de> for JwkConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entry;
        impl Entry {
            fn refuse<E: Error>() -> Result<JwkConfig, E> {
                Err(E::custom(
                    "expected an object; what stands there is not repeated here",
                ))
            }
        }
        impl<'de> Visitor<'de> for Entry {
            type Value = JwkConfig;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<JwkConfig, A::Error> {
                let jwk = Map::deserialize(MapAccessDeserializer::new(map))?;
                Ok(JwkConfig(Some(jwk)))
            }
            fn visit_unit<E: Error>(self) -> Result<JwkConfig, E> {
                Ok(JwkConfig(None))
            }
            fn visit_str<E: Error>(self, _: &str) -> Result<JwkConfig, E> {
                Self::refuse()
            }
            fn visit_u64<E: Error>(self, _: u64) -> Result<JwkConfig, E> {
                Self::refuse()
            }
            fn visit_i64<E: Error>(self, _: i64) -> Result<JwkConfig, E> {
                Self::refuse()
            }
            fn visit_f64<E: Error>(self, _: f64) -> Result<JwkConfig, E> {
                Self::refuse()
            }
            fn visit_bool<E: Error>(self, _: bool) -> Result<JwkConfig, E> {
                Self::refuse()
            }
        }
        deserializer.deserialize_any(Entry)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for JwkConfig {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "JwkConfig".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["object", "null"], "additionalProperties": true })
    }
}
