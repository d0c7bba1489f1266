//! Values of claims in a configuration.

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
}
