//! Entries by claim.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use crate::config::ClaimPath;

/// Entries by claim, in the order in which they are written; a claim that comes twice is refused.
#[derive(Clone, Debug)]
pub struct ByClaim<V>(Vec<(ClaimPath, V)>);

impl<V> ByClaim<V> {
    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The entries, in order.
    #[must_use]
    pub fn as_slice(&self) -> &[(ClaimPath, V)] {
        &self.0
    }

    /// The entries, in order.
    #[must_use]
    pub fn into_vec(self) -> Vec<(ClaimPath, V)> {
        self.0
    }
}

impl<V> Default for ByClaim<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for ByClaim<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Entries<V> {
            type Value = Vec<(ClaimPath, V)>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries: Self::Value = Vec::new();
                while let Some((path, value)) = map.next_entry::<ClaimPath, V>()? {
                    if entries.iter().any(|(known, _)| *known == path) {
                        let message = format!("{:?} is there twice", path.as_str());
                        return Err(de::Error::custom(message));
                    }
                    entries.push((path, value));
                }
                Ok(entries)
            }
        }
        deserializer.deserialize_map(Entries(PhantomData)).map(Self)
    }
}

#[cfg(feature = "schema")]
impl<V: schemars::JsonSchema> schemars::JsonSchema for ByClaim<V> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("ByClaimOf{}", V::schema_name()).into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "object",
            "patternProperties": { "^[!-~]{1,128}$": generator.subschema_for::<V>() },
            "additionalProperties": false
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_that_comes_twice_is_refused() {
        let error = serde_json::from_str::<ByClaim<u8>>(r#"{"a.b":1,"a.b":2}"#).unwrap_err();
        assert!(error.to_string().contains("\"a.b\" is there twice"));
    }
}
