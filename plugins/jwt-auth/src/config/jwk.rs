//! JWK sets in a configuration.

use portcullis_policy::config::{NonEmpty, ObjectOnly};
use serde::de::{Deserialize, Deserializer};
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

/// An entry of a set as an issuer publishes it: an object, or `null`.
#[derive(Clone, Debug)]
pub struct JwkConfig(pub Option<Map<String, Value>>);

impl<'de> Deserialize<'de> for JwkConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entry = Option::<ObjectOnly<_>>::deserialize(deserializer)?;
        Ok(Self(entry.map(|ObjectOnly(jwk)| jwk)))
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
