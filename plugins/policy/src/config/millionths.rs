//! Numbers with a fraction: shares, factors.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

/// A number from `MIN` to `MAX`, both in millionths, with at most six decimals: `0.5`, `2`, `1.25`.
/// Kept as a whole number of millionths, so that what is computed with it is exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millionths<const MIN: u32, const MAX: u32>(u32);

/// One.
const WHOLE: f64 = 1_000_000.0;

impl<const MIN: u32, const MAX: u32> Millionths<MIN, MAX> {
    /// A default, in millionths; keep it within the bounds.
    #[must_use]
    pub const fn new(millionths: u32) -> Self {
        Self(millionths)
    }

    /// The number, in millionths.
    #[must_use]
    pub const fn millionths(self) -> u32 {
        self.0
    }

    fn parse(number: f64) -> Result<Self, String> {
        let (least, most) = (f64::from(MIN) / WHOLE, f64::from(MAX) / WHOLE);
        if !(least..=most).contains(&number) {
            return Err(format!(
                "{number} is out of range; expected {least} to {most}"
            ));
        }
        let millionths = (number * WHOLE).round();
        // What was written is the nearest number to its six decimals, as the quotient is.
        if (millionths / WHOLE - number).abs() > f64::EPSILON * number {
            return Err(format!(
                "{number} is too exact; expected at most 6 decimals"
            ));
        }
        // A whole number between two of this type.
        Ok(Self(millionths as u32))
    }
}

impl<'de, const MIN: u32, const MAX: u32> Deserialize<'de> for Millionths<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(deserializer.deserialize_any(Decimal)?).map_err(de::Error::custom)
    }
}

/// A number, or one as text: so Envoy hands over every number of its YAML that has a fraction.
struct Decimal;

impl de::Visitor<'_> for Decimal {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("f64")
    }
    fn visit_f64<E: de::Error>(self, number: f64) -> Result<f64, E> {
        Ok(number)
    }
    fn visit_u64<E: de::Error>(self, number: u64) -> Result<f64, E> {
        Ok(number as f64)
    }
    fn visit_i64<E: de::Error>(self, number: i64) -> Result<f64, E> {
        Ok(number as f64)
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<f64, E> {
        let wrong = || de::Error::invalid_type(de::Unexpected::Str(text), &self);
        // As a number is written in JSON; not `inf`, `+1` or `1e3`.
        let digits = text.strip_prefix('-').unwrap_or(text);
        let begins = digits.starts_with(|first: char| first.is_ascii_digit());
        let fits = |byte: u8| byte.is_ascii_digit() || byte == b'.';
        let is_number = begins && digits.bytes().all(fits) && !digits.ends_with('.');
        text.parse().ok().filter(|_| is_number).ok_or_else(wrong)
    }
}

#[cfg(feature = "schema")]
impl<const MIN: u32, const MAX: u32> schemars::JsonSchema for Millionths<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("From{MIN}To{MAX}Millionths").into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "number",
            "minimum": f64::from(MIN) / WHOLE,
            "maximum": f64::from(MAX) / WHOLE
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<u32, String> {
        let share: Result<Millionths<0, 2_500_000>, _> = serde_json::from_str(json);
        share
            .map(Millionths::millionths)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn decimals_are_kept_exactly() {
        for (json, millionths) in [
            ("0", 0),
            ("0.5", 500_000),
            ("0.1", 100_000),
            ("0.3", 300_000),
            ("0.000001", 1),
            ("0.999999", 999_999),
            ("1.234567", 1_234_567),
            ("2", 2_000_000),
            ("2.5", 2_500_000),
            ("\"0.5\"", 500_000),
            ("\"2\"", 2_000_000),
        ] {
            assert_eq!(parse(json), Ok(millionths), "{json}");
        }
    }

    #[test]
    fn what_is_no_such_number_is_refused() {
        for (json, error) in [
            ("2.500001", "2.500001 is out of range; expected 0 to 2.5"),
            ("-0.1", "-0.1 is out of range; expected 0 to 2.5"),
            ("1e308", "is out of range"),
            (
                "0.1234567",
                "0.1234567 is too exact; expected at most 6 decimals",
            ),
            (
                "\"2.500001\"",
                "2.500001 is out of range; expected 0 to 2.5",
            ),
            ("\"inf\"", "invalid type: string"),
            ("\"+1\"", "invalid type: string"),
            ("\"1e0\"", "invalid type: string"),
            ("\"1.\"", "invalid type: string"),
            ("\".5\"", "invalid type: string"),
            ("\"\"", "invalid type: string"),
            ("true", "invalid type: boolean"),
        ] {
            let found = parse(json).unwrap_err();
            assert!(found.contains(error), "{json}: {found}");
        }
    }
}
