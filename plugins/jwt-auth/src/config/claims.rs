//! Claims in a configuration: which, and with which values.

use std::fmt;
use std::marker::PhantomData;

use portcullis_policy::config::ClaimPath;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

/// A value that a claim may be asked to have: text, a number, or a boolean.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
#[serde(try_from = "Value")]
pub struct ClaimValue(Value);

#[cfg(feature = "schema")]
impl schemars::JsonSchema for ClaimValue {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ClaimValue".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["string", "number", "boolean"] })
    }
}

/// Entries by claim, in the order in which they are written; a claim that comes twice is refused.
#[derive(Clone, Debug)]
pub struct ByClaim<V>(Vec<(ClaimPath, V)>);

impl TryFrom<Value> for ClaimValue {
    type Error = String;
    fn try_from(value: Value) -> Result<Self, String> {
        match value {
            Value::String(_) | Value::Number(_) | Value::Bool(_) => Ok(Self(value)),
            Value::Null | Value::Array(_) | Value::Object(_) => Err(format!(
                "{value} is not a claim's value; expected text, a number or a boolean"
            )),
        }
    }
}

impl ClaimValue {
    /// Whether `claim` is this value. Whole numbers compare exactly, others as they are in
    /// floating point: Envoy hands every number of a configuration over as such.
    #[must_use]
    pub fn is(&self, claim: &Value) -> bool {
        let whole = |value: &Value| value.is_i64() || value.is_u64();
        match (&self.0, claim) {
            (Value::Number(ours), Value::Number(theirs)) => {
                ours == theirs
                    || !(whole(&self.0) && whole(claim)) && ours.as_f64() == theirs.as_f64()
            }
            (ours, theirs) => ours == theirs,
        }
    }
}

impl<V> ByClaim<V> {
    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
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
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claims_value_keeps_its_type() {
        for (ours, theirs, same) in [
            (json!("gold"), json!("gold"), true),
            (json!("gold"), json!("Gold"), false),
            (json!("1"), json!(1), false),
            (json!(1), json!(1.0), true),
            (json!(1.0), json!(1), true),
            (
                json!(9_007_199_254_740_993_u64),
                json!(9_007_199_254_740_992_u64),
                false,
            ),
            (json!(true), json!("true"), false),
            (json!(true), json!(true), true),
        ] {
            let ours = ClaimValue::try_from(ours).unwrap();
            assert_eq!(ours.is(&theirs), same, "{ours:?} {theirs}");
        }
        for wrong in [json!(null), json!([]), json!({})] {
            assert!(ClaimValue::try_from(wrong).is_err());
        }
    }

    #[test]
    fn a_claim_that_comes_twice_is_refused() {
        let error = serde_json::from_str::<ByClaim<u8>>(r#"{"a.b":1,"a.b":2}"#).unwrap_err();
        assert!(error.to_string().contains("\"a.b\" is there twice"));
    }
}
