//! Secrets: read from a variable or a value, never shown.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::Deserialize;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::Environment;
use crate::config::{EnvName, refuse};

/// A secret's bytes. Overwritten when dropped; compared in constant time; shows only its length.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

/// A secret as it is written in a configuration.
#[derive(Clone)]
pub struct SecretText(Zeroizing<String>);

/// Where a secret comes from: exactly one of `env` and `value`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SecretConfig {
    /// The environment variable that holds it.
    pub env: Option<EnvName>,
    /// The secret itself.
    pub value: Option<SecretText>,
    /// How it is written.
    #[serde(default)]
    pub encoding: Encoding,
}

/// How a secret is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// As it stands.
    #[default]
    Text,
    /// Two hexadecimal digits a byte.
    Hex,
    /// RFC 4648 section 4, padded.
    Base64,
    /// RFC 4648 section 5, without padding.
    Base64url,
}

/// What a secret is for, which decides what it may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretUse {
    /// It keys a hash: any bytes.
    Key,
    /// It is sent as a header's value: visible ASCII.
    HeaderValue,
}

impl Secret {
    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether `other` holds the same bytes, in time that depends on its length only.
    #[must_use]
    pub fn matches(&self, other: &[u8]) -> bool {
        self.0.as_slice().ct_eq(other).into()
    }
}

impl SecretConfig {
    /// Fetches and decodes the secret.
    ///
    /// # Errors
    /// A message that names the rule and never the secret.
    pub fn resolve(
        &self,
        usage: SecretUse,
        environment: &dyn Environment,
    ) -> Result<Secret, String> {
        let text = match (&self.env, &self.value) {
            (Some(env), None) => {
                Zeroizing::new(environment.var(env.as_str()).ok_or_else(|| {
                    format!(
                        "the environment variable {} is not set or not shown to the filter",
                        env.as_str()
                    )
                })?)
            }
            (None, Some(value)) => value.0.clone(),
            (Some(_), Some(_)) => return Err("both `env` and `value`; expected one of them".into()),
            (None, None) => return Err("neither `env` nor `value`; expected one of them".into()),
        };
        let text = text.strip_suffix('\n').map_or(text.as_str(), |text| {
            text.strip_suffix('\r').unwrap_or(text)
        });
        if text.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return Err("the secret holds a line break or a NUL".into());
        }
        let bytes = Zeroizing::new(self.encoding.decode(text)?);
        if bytes.is_empty() {
            return Err("the secret is empty".into());
        }
        if usage == SecretUse::HeaderValue && !bytes.iter().all(u8::is_ascii_graphic) {
            return Err("the secret is sent as a header and must be visible ASCII".into());
        }
        Ok(Secret(bytes))
    }
}

impl Encoding {
    fn decode(self, text: &str) -> Result<Vec<u8>, String> {
        match self {
            Self::Text => Ok(text.as_bytes().to_vec()),
            Self::Hex => decode_hex(text).ok_or_else(|| "the secret is not hex".into()),
            Self::Base64 => STANDARD
                .decode(text)
                .map_err(|_| "the secret is not base64".into()),
            Self::Base64url => URL_SAFE_NO_PAD
                .decode(text)
                .map_err(|_| "the secret is not base64url".into()),
        }
    }
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let mut digits = text.chars().map(|digit| digit.to_digit(16));
    let mut bytes = Vec::with_capacity(text.len() / 2);
    while let Some(high) = digits.next() {
        let (high, low) = (high?, digits.next()??);
        bytes.push(u8::try_from(high << 4 | low).ok()?);
    }
    Some(bytes)
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}

impl SecretText {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl serde::de::Visitor<'_> for Text {
            type Value = SecretText;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<SecretText, E> {
                Ok(SecretText(Zeroizing::new(text.to_owned())))
            }
            refuse!(number, boolean);
        }
        deserializer.deserialize_any(Text)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for SecretText {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SecretText".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Env(&'static str);
    impl Environment for Env {
        fn var(&self, name: &str) -> Option<String> {
            (name == "SECRET").then(|| self.0.to_owned())
        }
    }

    fn resolve(json: &str, usage: SecretUse) -> Result<Secret, String> {
        let config: SecretConfig = serde_json::from_str(json).map_err(|e| e.to_string())?;
        config.resolve(usage, &Env("from-env\n"))
    }

    #[test]
    fn a_secret_comes_from_a_variable_or_a_value_in_any_encoding() {
        for (json, expected) in [
            (r#"{"env":"SECRET"}"#, "from-env"),
            (r#"{"value":"plain\r\n"}"#, "plain"),
            (r#"{"value":"6869","encoding":"hex"}"#, "hi"),
            (r#"{"value":"aGk=","encoding":"base64"}"#, "hi"),
            (r#"{"value":"aGk","encoding":"base64url"}"#, "hi"),
        ] {
            let secret = resolve(json, SecretUse::Key).unwrap();
            assert!(secret.matches(expected.as_bytes()), "{json}");
            assert!(!secret.matches(b"other"));
        }
    }

    #[test]
    fn what_is_wrong_with_a_secret_is_said_without_it() {
        for json in [
            r#"{}"#,
            r#"{"env":"SECRET","value":"hunter2"}"#,
            r#"{"env":"UNSET"}"#,
            r#"{"value":""}"#,
            r#"{"value":"\n"}"#,
            r#"{"value":"hunter2\nX-Admin: 1"}"#,
            r#"{"value":"hunter2\u0000"}"#,
            r#"{"value":"hunter2","encoding":"hex"}"#,
            r#"{"value":"686","encoding":"hex"}"#,
            r#"{"value":"hunter2!","encoding":"base64"}"#,
            r#"{"value":1234567}"#,
            r#"{"value":"hunter2 \u00e4"}"#,
        ] {
            let error = resolve(json, SecretUse::HeaderValue).unwrap_err();
            assert!(
                !error.contains("hunter2") && !error.contains("1234567"),
                "{error}"
            );
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let config: SecretConfig = serde_json::from_str(r#"{"value":"hunter2"}"#).unwrap();
        let secret = config.resolve(SecretUse::Key, &Env("")).unwrap();
        assert!(!format!("{config:?} {secret:?}").contains("hunter2"));
    }
}
