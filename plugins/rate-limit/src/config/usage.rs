//! How answers say what they used.

use portcullis_policy::config::{Bounded, ConfigError, List, Match, Name, NonEmpty, UniqueMap};
use serde::Deserialize;

use super::words::{JsonPath, Model};

/// How answers say what they used, where a limit has `cost.tokens`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct UsageConfig {
    /// How many bytes of text are taken for a token, where something has to be estimated. Default: 4.
    #[serde(default = "usual_token")]
    pub bytes_per_token: Bounded<1, 100, u64>,
    /// What upstreams are asked for: `as_sent`, what the client asks for, or `identity`, so that answers can be read. One that is
    /// compressed can't be. Default: `identity`.
    #[serde(default)]
    pub accept_encoding: AcceptEncoding,
    /// `force`: asks for what was used in each stream of which it is told only where that is asked for (OpenAI's
    /// `stream_options.include_usage`, on paths that end with `/completions`), and takes that out of the answer again for a client that
    /// has not asked itself. Default: `as_sent`.
    #[serde(default)]
    pub include_usage: IncludeUsage,
    /// Names for metrics of what models use, each with those models that requests' bodies want, such as `gpt-4o`, or all whose names
    /// begin so: `llama3*`. What fits best counts; all others are `other`.
    #[serde(default)]
    pub models: UniqueMap<Name, NonEmpty<Model>>,
    /// Where answers say how many tokens the prompt has, beside the places that are known.
    #[serde(default)]
    pub input: List<JsonPath>,
    /// How many of these came from a cache.
    #[serde(default)]
    pub cached_input: List<JsonPath>,
    /// How many the answer has.
    #[serde(default)]
    pub output: List<JsonPath>,
    /// Where the answer's text stands.
    #[serde(default)]
    pub content: List<JsonPath>,
}

/// What upstreams are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum AcceptEncoding {
    /// Answers that are not compressed.
    #[default]
    Identity,
    /// What the client asks for.
    AsSent,
}

/// Whether streams tell what was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum IncludeUsage {
    /// Where the client asks for it.
    #[default]
    AsSent,
    /// Always.
    Force,
}

/// What is logged besides refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Log {
    /// What each request used of limits with `cost.tokens`.
    Usage,
}

/// How long bodies of certain requests may be.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct MaxBody {
    /// Which.
    #[serde(default, rename = "match")]
    pub matches: Match,
    /// Bytes.
    pub bytes: Bounded<0, 1_099_511_627_776, u64>,
}

const fn usual_token() -> Bounded<1, 100, u64> {
    Bounded::new(4)
}

/// Each is metrics of each limit.
const MOST_MODELS: usize = 32;

impl UsageConfig {
    /// # Errors
    /// What can't be done.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let models = self.models.as_slice();
        let at = |key: &str, rule: &str| Err(ConfigError::at(key, rule));
        if models.len() > MOST_MODELS {
            return at("models", "more than 32 names");
        }
        if models.iter().any(|(name, _)| name.as_str() == "other") {
            return at(
                "models.other",
                "all models are called so that have no other name",
            );
        }
        let mut known: Vec<&Model> = Vec::new();
        for (name, named) in models {
            for model in named.as_slice() {
                if known.contains(&model) {
                    let at = format!("models.{}", name.as_str());
                    let rule = format!("{:?} is there twice", model.as_str());
                    return Err(ConfigError::at(at, rule));
                }
                known.push(model);
            }
        }
        match (self.include_usage, self.accept_encoding) {
            (IncludeUsage::Force, AcceptEncoding::AsSent) => at(
                "include_usage",
                "from an answer that is compressed nothing can be taken out; expected `accept_encoding: identity`",
            ),
            _ => Ok(()),
        }
    }
}

impl Default for UsageConfig {
    fn default() -> Self {
        Self {
            bytes_per_token: usual_token(),
            accept_encoding: AcceptEncoding::default(),
            include_usage: IncludeUsage::default(),
            models: UniqueMap::default(),
            input: List::default(),
            cached_input: List::default(),
            output: List::default(),
            content: List::default(),
        }
    }
}
