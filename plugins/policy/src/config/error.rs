//! From bytes to a configuration, or one line that says what is wrong.

use std::fmt;

use serde::de::DeserializeOwned;

use super::wording;

/// What is wrong with a configuration: where, and which rule it breaks. Never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    path: String,
    rule: String,
}

impl ConfigError {
    /// `path` as in `limits[0].quota`; `rule` names the value and what is expected of it.
    #[must_use]
    pub fn at(path: impl Into<String>, rule: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            rule: rule.into(),
        }
    }

    /// Where, as in `limits[0].quota`; empty for all of it.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Which rule is broken.
    #[must_use]
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// The same error, seen from further out: `limits` before `[0].quota`.
    #[must_use]
    pub fn within(self, outer: &str) -> Self {
        let path = match self.path.as_str() {
            "" => outer.to_owned(),
            path if path.starts_with('[') => format!("{outer}{path}"),
            path => format!("{outer}.{path}"),
        };
        Self { path, ..self }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() {
            "configuration"
        } else {
            &self.path
        };
        write!(f, "{path}: {}", self.rule)
    }
}

impl std::error::Error for ConfigError {}

/// Largest configuration that is read, in bytes. The largest that anybody has a use for (inline
/// JWKS for a few providers) stays under a tenth of it.
const LARGEST: usize = 1 << 20;

/// Reads a configuration from JSON text.
///
/// # Errors
/// [`ConfigError`] with the path of the first wrong value.
pub fn parse_text<C: DeserializeOwned>(text: &[u8]) -> Result<C, ConfigError> {
    if text.len() > LARGEST {
        return Err(ConfigError::at(
            "",
            format!("{} bytes; at most {LARGEST} are read", text.len()),
        ));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let config = serde_path_to_error::deserialize(&mut deserializer).map_err(located)?;
    deserializer
        .end()
        .map_err(|error| ConfigError::at("", error.to_string()))?;
    Ok(config)
}

/// Reads a configuration from a JSON value.
///
/// # Errors
/// [`ConfigError`] with the path of the first wrong value.
pub fn parse_value<C: DeserializeOwned>(value: serde_json::Value) -> Result<C, ConfigError> {
    serde_path_to_error::deserialize(value).map_err(located)
}

fn located(error: serde_path_to_error::Error<serde_json::Error>) -> ConfigError {
    let path = error.path().to_string();
    let path = path.trim_start_matches('.').trim_end_matches(['.', '?']);
    ConfigError::at(path, wording::plain(&error.inner().to_string()))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::config::{Duration, List};

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        #[serde(rename = "limits")]
        _limits: List<Limit>,
    }
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Limit {
        #[serde(rename = "window")]
        _window: Duration,
    }

    fn error(text: &str) -> String {
        let from_text = parse_text::<Config>(text.as_bytes())
            .unwrap_err()
            .to_string();
        if let Ok(value) = serde_json::from_str(text) {
            let from_value = parse_value::<Config>(value).unwrap_err().to_string();
            assert!(
                from_text.starts_with(&from_value),
                "{from_text} / {from_value}"
            );
        }
        from_text
    }

    #[test]
    fn an_error_says_path_value_and_rule() {
        let message = error(r#"{"limits":[{"window":"1s"},{"window":"5"}]}"#);
        assert!(
            message.starts_with(r#"limits[1].window: "5" is not a duration; expected"#),
            "{message}"
        );
        let message = error(r#"{"limits":[{"window":"1s","windw":"5s"}]}"#);
        assert!(
            message.starts_with("limits[0].windw: unknown field `windw`"),
            "{message}"
        );
        let message = error(r#"{"limits":3}"#);
        assert!(
            message.starts_with("limits: expected a list, found a number"),
            "{message}"
        );
        let message = error(r#"{"limits":["hunter2"]}"#);
        assert!(
            message.starts_with("limits[0]: invalid type: string, expected an object"),
            "{message}"
        );
        assert!(error("[").starts_with("configuration: "));
    }

    #[test]
    fn text_behind_the_configuration_is_refused() {
        assert!(error(r#"{"limits":[]} x"#).contains("trailing characters"));
    }
}
