//! What a request takes of a quota.

use std::fmt;

use portcullis_policy::config::{Bounded, NonEmpty};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

/// So much of a quota.
pub(super) type Amount = Bounded<0, 1_000_000_000, u32>;

/// What a request takes of a quota: a number, or an object with `when`.
#[derive(Clone, Debug)]
pub enum Cost {
    /// So much, whatever becomes of it.
    Always(Amount),
    /// One, where it is answered so.
    When(AnsweredConfig),
}

/// How a request is answered that takes something of a quota.
#[derive(Clone, Debug, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AnsweredConfig {
    /// With one of these statuses.
    pub status: NonEmpty<Bounded<200, 599, u16>>,
}

#[derive(serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct Object {
    when: AnsweredConfig,
}

impl Default for Cost {
    fn default() -> Self {
        Self::Always(Amount::new(1))
    }
}

impl Cost {
    /// What it takes at first.
    pub(crate) fn amount(&self) -> Amount {
        match self {
            Self::Always(amount) => *amount,
            Self::When(_) => Amount::new(1),
        }
    }

    /// The statuses with which it keeps that; `None`: whatever becomes of it.
    pub(crate) fn statuses(&self) -> Option<Vec<u16>> {
        match self {
            Self::Always(_) => None,
            Self::When(AnsweredConfig { status }) => {
                let statuses = status.as_slice().iter();
                Some(statuses.map(|status| status.get()).collect())
            }
        }
    }
}

impl<'de> Deserialize<'de> for Cost {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Cost;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, or an object with `when`")
            }
            fn visit_u64<E: de::Error>(self, amount: u64) -> Result<Cost, E> {
                let amount = de::value::U64Deserializer::new(amount);
                Amount::deserialize(amount).map(Cost::Always)
            }
            fn visit_i64<E: de::Error>(self, amount: i64) -> Result<Cost, E> {
                let amount = de::value::I64Deserializer::new(amount);
                Amount::deserialize(amount).map(Cost::Always)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Cost, A::Error> {
                let Object { when } = Object::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Cost::When(when))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Cost {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Cost".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "anyOf": [
                generator.subschema_for::<Amount>(),
                generator.subschema_for::<Object>()
            ]
        })
    }
}
