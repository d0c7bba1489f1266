//! Whole numbers within bounds.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bounded<const MIN: u64, const MAX: u64, T>(T);

impl<const MIN: u64, const MAX: u64, T: Copy> Bounded<MIN, MAX, T> {
    /// A default; keep it within the bounds.
    #[must_use]
    pub const fn new(number: T) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> T {
        self.0
    }
}

impl<'de, const MIN: u64, const MAX: u64, T: TryFrom<u64>> Deserialize<'de>
    for Bounded<MIN, MAX, T>
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = deserializer.deserialize_any(Whole)?;
        let fitting = if (MIN..=MAX).contains(&number) {
            T::try_from(number).ok()
        } else {
            None
        };
        fitting.map(Self).ok_or_else(|| {
            de::Error::custom(format!("{number} is out of range; expected {MIN} to {MAX}"))
        })
    }
}

/// A whole number, or one as text: Envoy hands over those of its YAML so that are longer than 32 bits.
struct Whole;

impl de::Visitor<'_> for Whole {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("u64")
    }
    fn visit_u64<E: de::Error>(self, number: u64) -> Result<u64, E> {
        Ok(number)
    }
    fn visit_i64<E: de::Error>(self, number: i64) -> Result<u64, E> {
        let wrong = || de::Error::invalid_value(de::Unexpected::Signed(number), &self);
        u64::try_from(number).map_err(|_| wrong())
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
        let wrong = || de::Error::invalid_type(de::Unexpected::Str(text), &self);
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| is_number);
        number.ok_or_else(wrong)
    }
}

#[cfg(feature = "schema")]
impl<const MIN: u64, const MAX: u64, T> schemars::JsonSchema for Bounded<MIN, MAX, T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("From{MIN}To{MAX}").into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }
}
