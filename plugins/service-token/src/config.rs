//! What a user writes.

use std::fmt;

use portcullis_policy::config::{
    Encoding, EnvName, Match, Mode, NonEmpty, ObjectOnly, OnError, SecretConfig, SecretText,
    WritableHeader,
};
use serde::{Deserialize, Deserializer, de};

/// What a backend knows this gateway by, and which requests get it.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What is sent.
    pub credential: ObjectOnly<CredentialConfig>,
    /// The requests that it is sent with: those that any of these match; every request when it is
    /// not given. To all others a client's header of that name is cleared.
    pub inject: Option<NonEmpty<InjectConfig>>,
    /// What is done with the plugin's decisions. In shadow nothing is injected, and what a client
    /// sends under the credential's name passes: the backend has to check it by itself.
    #[serde(default)]
    pub mode: Mode,
    /// What becomes of a request when the gateway does not show or change its headers. With `allow`
    /// it passes as the client sent it, the credential's header included.
    #[serde(default = "deny")]
    pub on_error: OnError,
}

/// What is sent, under which name.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CredentialConfig {
    /// How a backend knows it for real.
    pub kind: Kind,
    /// The header that holds it; `x-service-token` when it is not given.
    pub header: Option<WritableHeader>,
    /// The first is sent; all of them are known as ours when another gateway in front of this one
    /// has sent them. To rotate: add the new one on the verifying side, then put it first here.
    pub secrets: NonEmpty<ObjectOnly<SecretEntry>>,
    /// Whether a secret may be shorter than 32 bytes.
    #[serde(default)]
    pub allow_short: bool,
}

/// How a backend knows the credential for real.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It is a secret that both sides have.
    Static,
}

/// A secret and what it is called: exactly one of `env` and `value`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SecretEntry {
    /// What it is called in log lines.
    pub id: SecretId,
    /// The environment variable that holds it.
    pub env: Option<EnvName>,
    /// The secret itself.
    pub value: Option<SecretText>,
    /// How it is written.
    #[serde(default)]
    pub encoding: Encoding,
}

/// Requests that the credential is sent with.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct InjectConfig {
    /// Which requests. One whose path two parsers could read differently is matched by no path.
    #[serde(rename = "match")]
    pub matches: Match,
}

/// What a secret is called: 1 to 64 of letters, digits, `-`, `.` and `_`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretId(String);

impl SecretId {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if (1..=64).contains(&text.len()) && text.bytes().all(fits) {
            return Ok(Self(text.to_owned()));
        }
        // It may be the secret itself, written into the wrong field.
        Err("not an id; expected 1 to 64 of letters, digits, -, . and _")
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for SecretId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = SecretId;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an id in quotes, such as \"2026-11\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<SecretId, E> {
                SecretId::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for SecretId {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SecretId".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$" })
    }
}

impl SecretEntry {
    /// Its id, and where its bytes are.
    pub(crate) fn split(self) -> (SecretId, SecretConfig) {
        let secret = SecretConfig {
            env: self.env,
            value: self.value,
            encoding: self.encoding,
        };
        (self.id, secret)
    }
}

const fn deny() -> OnError {
    OnError::Deny
}
