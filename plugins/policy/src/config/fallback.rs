//! Where a request goes instead of being refused.

use serde::Deserialize;

use crate::config::{ConfigError, UniqueMap, WritableHeader, text_type};
use crate::{Headers, RequestEdits, Setup};

/// What is set in a request that goes on instead of being refused, so that the gateway's routes send it elsewhere.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FallbackConfig {
    /// Headers and their values. What a client sends under these names goes no further.
    pub set: UniqueMap<WritableHeader, HeaderValue>,
}

/// A header's value: 1 to 256 visible characters of ASCII and spaces between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderValue(String);
text_type!(HeaderValue, "a header's value", "pattern": "^[!-~]([ -~]{0,254}[!-~])?$");

impl HeaderValue {
    fn parse(text: &str) -> Result<Self, String> {
        let fits = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
        match (1..=256).contains(&text.len()) && text.bytes().all(fits) && text.trim() == text {
            true => Ok(Self(text.to_owned())),
            false => Err(format!(
                "{text:?} is not a header's value; expected 1 to 256 visible characters"
            )),
        }
    }
}

/// Where a request goes instead of being refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fallback(Vec<(String, String)>);

impl Fallback {
    /// As it is configured.
    ///
    /// # Errors
    /// The gateway chooses no route anew, or nothing is set.
    pub fn new(config: &FallbackConfig, setup: &Setup<'_>) -> Result<Self, ConfigError> {
        let set = config.set.as_slice();
        if !setup.abilities.chooses_routes_anew {
            let rule = "this gateway has chosen its route before any filter runs";
            return Err(ConfigError::at("set", rule));
        }
        if set.is_empty() {
            return Err(ConfigError::at("set", "it sets nothing; expected a header"));
        }
        let set = set
            .iter()
            .map(|(name, HeaderValue(value))| (name.as_str().to_owned(), value.clone()));
        Ok(Self(set.collect()))
    }

    /// Sends a request elsewhere.
    pub fn take<'a>(&'a self, edits: &mut RequestEdits<'a>) {
        for (name, value) in &self.0 {
            edits.set(name.as_str(), value.as_bytes());
        }
    }

    /// Lets no client say that its request is to go there. Before anything is taken: two may set one header.
    pub fn guard<'a>(&'a self, sent: &Headers, edits: &mut RequestEdits<'a>) {
        for (name, _) in &self.0 {
            if sent.get(name).is_some() {
                edits.clear(name.as_str());
            }
        }
    }
}
