//! Values of claims in a configuration.

use portcullis_policy::config::{is_same_number, number_text};
use serde_json::{Number, Value};

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
            Value::Number(number) if !is_exact(&number) => Err(format!(
                "{number} may be another number than was written, since gateways read \
                 configurations with doubles; expected one between -2^53 and 2^53, or text"
            )),
            Value::String(_) | Value::Number(_) | Value::Bool(_) => Ok(Self(value)),
            Value::Null | Value::Array(_) | Value::Object(_) => Err(format!(
                "{value} is not a claim's value; expected text, a number or a boolean"
            )),
        }
    }
}

impl ClaimValue {
    /// Whether `claim` is this value. Numbers are compared digit by digit: `1` is `1.0`, and no
    /// number is another one that is near to it.
    #[must_use]
    pub fn is(&self, claim: &Value) -> bool {
        match (number_text(&self.0), number_text(claim)) {
            (Some(ours), Some(theirs)) => is_same_number(&ours, &theirs),
            (None, None) => self.0 == *claim,
            (None, Some(theirs)) => {
                let ours = self.0.as_str().filter(|ours| may_be_a_number(ours));
                ours.is_some_and(|ours| is_same_number(ours, &theirs))
            }
            (Some(_), None) => false,
        }
    }
}

/// Whether a text may have been written as a number: Envoy hands over those of its YAML as text that have a fraction or
/// more than 32 bits.
fn may_be_a_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = match digits.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (digits, None),
    };
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let is_plain = is_digits(whole) && (whole == "0" || !whole.starts_with('0'));
    is_plain
        && match fraction {
            Some(fraction) => is_digits(fraction),
            None => text.parse::<i32>().is_err(),
        }
}

/// Whether a number of a configuration is the one that was written. Envoy hands all of them over as
/// doubles, where 2^53 + 1 has become 2^53; JSON text has whole numbers of 64 bits as they are.
fn is_exact(number: &Number) -> bool {
    const ONE_TOO_MANY: u64 = 9_007_199_254_740_992;
    const AS_DOUBLE: f64 = 9_007_199_254_740_992.0;
    match (number.as_u64(), number.as_i64()) {
        (Some(whole), _) => whole != ONE_TOO_MANY,
        (None, Some(whole)) => whole.unsigned_abs() != ONE_TOO_MANY,
        (None, None) => number
            .as_f64()
            .is_some_and(|number| number.abs() < AS_DOUBLE),
    }
}

#[cfg(test)]
mod tests {
    use portcullis_policy::config::number_as_written;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claims_value_keeps_its_type() {
        for (ours, theirs, same) in [
            (json!("gold"), json!("gold"), true),
            (json!("gold"), json!("Gold"), false),
            (json!("1"), json!(1), false),
            // What Envoy makes of numbers in YAML.
            (json!("2147483648"), json!(2_147_483_648_u64), true),
            (json!("-2147483649"), json!(-2_147_483_649_i64), true),
            (json!("2147483647"), json!(2_147_483_647), false),
            (json!("1.5"), json!(1.5), true),
            (json!("1.50"), number_as_written("1.5"), true),
            (json!("01.5"), json!(1.5), false),
            (json!("1."), json!(1), false),
            (json!("2147483648"), json!("2147483648"), true),
            (json!("2147483648"), json!(2_147_483_649_u64), false),
            (json!(1), json!(1.0), true),
            (json!(1.0), json!(1), true),
            (
                json!(9_007_199_254_740_993_u64),
                json!(9_007_199_254_740_992_u64),
                false,
            ),
            (
                json!(0.1),
                number_as_written("0.1000000000000000055"),
                false,
            ),
            (json!(0.1), number_as_written("0.10"), true),
            (json!(1000), number_as_written("1e3"), true),
            (json!(0), number_as_written("-0"), true),
            (json!("1e3"), number_as_written("1e3"), false),
            (json!(true), json!("true"), false),
            (json!(true), json!(true), true),
        ] {
            let ours = ClaimValue::try_from(ours).unwrap();
            assert_eq!(ours.is(&theirs), same, "{ours:?} {theirs}");
        }
        for wrong in [
            json!(null),
            json!([]),
            json!({}),
            json!(9_007_199_254_740_992_u64),
            json!(-9_007_199_254_740_992_i64),
            json!(1.2e24),
        ] {
            assert!(ClaimValue::try_from(wrong).is_err());
        }
    }
}
