//! How answers say what they used.

use portcullis_policy::config::{Bounded, List, Match};
use serde::Deserialize;

use super::words::JsonPath;

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

impl Default for UsageConfig {
    fn default() -> Self {
        Self {
            bytes_per_token: usual_token(),
            accept_encoding: AcceptEncoding::default(),
            input: List::default(),
            cached_input: List::default(),
            output: List::default(),
            content: List::default(),
        }
    }
}
