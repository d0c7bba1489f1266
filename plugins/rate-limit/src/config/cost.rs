//! What a request takes of a quota.

use std::fmt;

use portcullis_policy::config::{Bounded, List, Millionths, NonEmpty};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use super::words::{JsonPath, QueryName};

/// So much of a quota.
pub(super) type Amount = Bounded<0, 1_000_000_000, u32>;

/// What one token, or one more of something, takes of a quota.
pub(crate) type Weight = Millionths<0, 1_000_000_000>;

/// What a request takes of a quota: a number, or an object with `when`, `field` or `tokens`.
#[derive(Clone, Debug)]
pub enum Cost {
    /// So much, whatever becomes of it.
    Always(Amount),
    /// One, where it is answered so.
    When(AnsweredConfig),
    /// As much as it says itself.
    Field(FieldConfig),
    /// What a model uses for it.
    Tokens(TokensConfig),
}

/// How a request is answered that takes something of a quota.
#[derive(Clone, Debug, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AnsweredConfig {
    /// With one of these statuses.
    pub status: NonEmpty<Bounded<200, 599, u16>>,
}

/// Where a request says how much it asks for.
#[derive(Clone, Debug, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FieldConfig {
    /// In its body: a number, or a list, whose length counts. Of `json` and `query` the larger counts.
    pub json: Option<JsonPath>,
    /// In its query: the name of a parameter.
    pub query: Option<QueryName>,
    /// What it takes where it does not say. Default: 1.
    #[serde(default = "one")]
    pub default: Amount,
    /// What it takes at most. As much is taken where it says something else than a number above 0, or says it in several ways.
    pub at_most: Bounded<1, 1_000_000_000, u32>,
    /// With `json`: what becomes of a request whose body can't be read as JSON. Default: `refuse`.
    pub unreadable: Option<Unreadable>,
}

/// What becomes of a request whose body can't be read as JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Unreadable {
    /// It is refused.
    #[default]
    Refuse,
    /// It takes as much as one may take at most.
    AtMost,
}

/// What tokens take of a quota.
#[derive(Clone, Debug, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct WeightsConfig {
    /// A token of the prompt. Default: 1.
    #[serde(default = "whole")]
    pub input: Weight,
    /// One that came from a cache. Default: as `input`.
    pub cached_input: Option<Weight>,
    /// A token of the answer. Default: 1.
    #[serde(default = "whole")]
    pub output: Weight,
    /// One that the model thought with. Default: as `output`.
    pub reasoning: Option<Weight>,
}

impl WeightsConfig {
    fn are_nothing(&self) -> bool {
        let weights = [
            Some(self.input),
            self.cached_input,
            Some(self.output),
            self.reasoning,
        ];
        weights
            .into_iter()
            .flatten()
            .all(|weight| weight.millionths() == 0)
    }
}

/// What tokens take of a quota, and what is charged before they are known.
#[derive(Clone, Debug)]
pub struct TokensConfig {
    /// What tokens take.
    pub weights: WeightsConfig,
    /// What is charged before they are known.
    pub reserve: ReserveConfig,
}

/// What a request is charged before it is known what it uses.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ReserveConfig {
    /// Tokens of the prompt: a number, or `estimate`, by the length of the request's body. Default: `estimate`.
    #[serde(default)]
    pub input: InputReserve,
    /// Tokens of the answer: a number, or where the request says how many it wants at most.
    #[serde(default)]
    pub output: OutputReserve,
    /// What becomes of a request whose body can't be read as JSON, where one is read. Default: `refuse`.
    pub unreadable: Option<Unreadable>,
}

/// Tokens of a prompt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InputReserve {
    /// By the length of the body.
    #[default]
    Estimate,
    /// So many.
    Number(Amount),
}

/// Tokens of an answer.
#[derive(Clone, Debug, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AskedOutput {
    /// Where in its body a request says how many it wants at most; of several the largest counts, and `default` for each that is not
    /// there. Default: the fields of OpenAI, Anthropic, Ollama and Gemini.
    pub from: Option<List<JsonPath>>,
    /// How many are charged where it does not say. Default: 1024.
    #[serde(default = "usual_output")]
    pub default: Amount,
    /// How many are charged at most, whatever it says. Default: 8192.
    #[serde(default = "most_output")]
    pub at_most: Bounded<1, 1_000_000_000, u32>,
    /// With `from`: whether a request that asks for more than is left goes on all the same, asking for no more than that, if that is 16
    /// tokens or more for each answer: the first of `from` that is there is lowered, or added. Default: false.
    #[serde(default)]
    pub clamp: bool,
}

/// Tokens of an answer.
#[derive(Clone, Debug)]
pub enum OutputReserve {
    /// As many as the request asks for.
    Asked(AskedOutput),
    /// So many.
    Number(Amount),
}

impl Default for OutputReserve {
    fn default() -> Self {
        Self::Asked(AskedOutput {
            from: None,
            default: usual_output(),
            at_most: most_output(),
            clamp: false,
        })
    }
}

/// Where requests say how many tokens they want at most.
const ASKED_AT: [&str; 8] = [
    "max_completion_tokens",
    "max_tokens",
    "max_output_tokens",
    "options.num_predict",
    "generationConfig.maxOutputTokens",
    "generationConfig.max_output_tokens",
    "generation_config.maxOutputTokens",
    "generation_config.max_output_tokens",
];

/// A request that may be lowered is granted no fewer tokens for an answer: no answer is worth less, and OpenAI's responses want as many.
pub(crate) const LEAST_GRANTED: u32 = 16;

impl AskedOutput {
    fn check(&self) -> Result<(), String> {
        let from = self.from.as_ref().map(|from| from.0.as_slice());
        let is_of_many = |path: &JsonPath| path.as_str().split('.').any(|name| name == "*");
        if self.default.get() > self.at_most.get() {
            return Err("`default` is more than `at_most`".to_owned());
        }
        if from.is_some_and(<[JsonPath]>::is_empty) {
            return Err(
                "from: the list is empty; expected a path, or a number in place of the object"
                    .to_owned(),
            );
        }
        if self.clamp && self.at_most.get() < LEAST_GRANTED {
            return Err(format!(
                "`at_most` is less than the {LEAST_GRANTED} that `clamp` grants at least"
            ));
        }
        for (index, path) in from.into_iter().flatten().enumerate() {
            let mut before = from.into_iter().flatten().take(index);
            if let Some(other) = before.find(|other| path.overlaps(other.as_str())) {
                return Err(format!(
                    "from: {:?} and {:?} are one, or one lies within the other",
                    other.as_str(),
                    path.as_str()
                ));
            }
        }
        match (self.clamp, from) {
            (true, None) => {
                Err("clamp: expected `from`, with the fields that your backend goes by".to_owned())
            }
            (true, Some(from)) if from.iter().any(is_of_many) => {
                Err("from: with `clamp` a path has names alone; expected no *".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Where in its body a request says how many it wants at most.
    pub(crate) fn from(&self) -> Vec<JsonPath> {
        match &self.from {
            Some(paths) => paths.0.clone(),
            None => ASKED_AT.map(JsonPath::known).to_vec(),
        }
    }
}

const fn one() -> Amount {
    Amount::new(1)
}

const fn whole() -> Weight {
    Weight::new(1_000_000)
}

const fn usual_output() -> Amount {
    Amount::new(1_024)
}

const fn most_output() -> Bounded<1, 1_000_000_000, u32> {
    Bounded::new(8_192)
}

#[derive(serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct Object {
    /// Charged by the answer.
    when: Option<AnsweredConfig>,
    /// Charged by what the request asks for.
    field: Option<FieldConfig>,
    /// Charged by what a model uses.
    tokens: Option<WeightsConfig>,
    /// With `tokens`: what is charged before they are known.
    reserve: Option<ReserveConfig>,
}

impl Default for Cost {
    fn default() -> Self {
        Self::Always(Amount::new(1))
    }
}

impl Cost {
    /// The statuses with which a request keeps what it was charged; `None`: whatever becomes of it.
    pub(crate) fn statuses(&self) -> Option<Vec<u16>> {
        match self {
            Self::When(AnsweredConfig { status }) => {
                let statuses = status.as_slice().iter();
                Some(statuses.map(|status| status.get()).collect())
            }
            Self::Always(_) | Self::Field(_) | Self::Tokens(_) => None,
        }
    }
}

impl TryFrom<Object> for Cost {
    type Error = String;

    fn try_from(object: Object) -> Result<Self, String> {
        let Object {
            when,
            field,
            tokens,
            reserve,
        } = object;
        match (when, field, tokens, reserve) {
            (Some(when), None, None, None) => Ok(Self::When(when)),
            (None, Some(field), None, None) => match (&field.json, &field.query) {
                (None, None) => Err("field: expected `json`, `query`, or both".to_owned()),
                _ if field.default.get() > field.at_most.get() => {
                    Err("field: `default` is more than `at_most`".to_owned())
                }
                (None, Some(_)) if field.unreadable.is_some() => {
                    Err("field: `unreadable` is for bodies; expected `json`".to_owned())
                }
                _ => Ok(Self::Field(field)),
            },
            (None, None, Some(weights), _) if weights.are_nothing() => {
                Err("tokens: all are 0, so that nothing is ever charged".to_owned())
            }
            (None, None, Some(weights), reserve) => {
                let reserve = reserve.unwrap_or_default();
                let reads = matches!(reserve.input, InputReserve::Estimate)
                    || matches!(reserve.output, OutputReserve::Asked(_));
                match reserve.unreadable.is_some() && !reads {
                    true => Err("reserve: `unreadable` is for bodies, and none is read".to_owned()),
                    false => Ok(Self::Tokens(TokensConfig { weights, reserve })),
                }
            }
            (None, None, None, Some(_)) => Err("reserve: it is for `tokens`".to_owned()),
            _ => Err("expected one of `when`, `field` and `tokens`".to_owned()),
        }
    }
}

impl<'de> Deserialize<'de> for Cost {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Cost;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, or an object with `when`, `field` or `tokens`")
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
                let object = Object::deserialize(MapAccessDeserializer::new(map))?;
                Cost::try_from(object).map_err(de::Error::custom)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl<'de> Deserialize<'de> for InputReserve {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = InputReserve;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of tokens, or `estimate`")
            }
            fn visit_u64<E: de::Error>(self, amount: u64) -> Result<InputReserve, E> {
                let amount = de::value::U64Deserializer::new(amount);
                Amount::deserialize(amount).map(InputReserve::Number)
            }
            fn visit_str<E: de::Error>(self, word: &str) -> Result<InputReserve, E> {
                match word {
                    "estimate" => Ok(InputReserve::Estimate),
                    _ => Err(E::invalid_type(de::Unexpected::Str(word), &self)),
                }
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl<'de> Deserialize<'de> for OutputReserve {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = OutputReserve;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of tokens, or an object with `from`, `default` and `at_most`")
            }
            fn visit_u64<E: de::Error>(self, amount: u64) -> Result<OutputReserve, E> {
                let amount = de::value::U64Deserializer::new(amount);
                Amount::deserialize(amount).map(OutputReserve::Number)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OutputReserve, A::Error> {
                let asked = AskedOutput::deserialize(MapAccessDeserializer::new(map))?;
                asked.check().map_err(de::Error::custom)?;
                Ok(OutputReserve::Asked(asked))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

#[cfg(feature = "schema")]
mod schema {
    use std::borrow::Cow;

    use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

    use super::{Amount, AskedOutput, Cost, InputReserve, Object, OutputReserve};

    impl JsonSchema for Cost {
        fn inline_schema() -> bool {
            true
        }
        fn schema_name() -> Cow<'static, str> {
            "Cost".into()
        }
        fn json_schema(generator: &mut SchemaGenerator) -> Schema {
            json_schema!({
                "anyOf": [
                    generator.subschema_for::<Amount>(),
                    generator.subschema_for::<Object>()
                ]
            })
        }
    }

    impl JsonSchema for InputReserve {
        fn inline_schema() -> bool {
            true
        }
        fn schema_name() -> Cow<'static, str> {
            "InputReserve".into()
        }
        fn json_schema(generator: &mut SchemaGenerator) -> Schema {
            json_schema!({
                "anyOf": [
                    generator.subschema_for::<Amount>(),
                    { "type": "string", "enum": ["estimate"] }
                ]
            })
        }
    }

    impl JsonSchema for OutputReserve {
        fn inline_schema() -> bool {
            true
        }
        fn schema_name() -> Cow<'static, str> {
            "OutputReserve".into()
        }
        fn json_schema(generator: &mut SchemaGenerator) -> Schema {
            json_schema!({
                "anyOf": [
                    generator.subschema_for::<Amount>(),
                    generator.subschema_for::<AskedOutput>()
                ]
            })
        }
    }
}
