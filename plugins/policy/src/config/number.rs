//! Whole numbers within bounds.

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
        let number = u64::deserialize(deserializer)?;
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
