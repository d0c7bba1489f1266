//! Who is asked by a call of the gateway's own.

use serde::Deserialize;

use super::text::{text_as_str, text_type};

/// What `:authority` is: a host, and a port where it is not that of the scheme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority(String);
text_type!(Authority, "a host, or host:port", "pattern": "^[A-Za-z0-9.:\\[\\]-]{1,255}$");

/// Where an HTTP call goes: on Envoy a cluster's name, on Kong `host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream(String);
text_type!(Upstream, "a cluster on Envoy, host:port on Kong", "pattern": "^[!-~]{1,255}$");

text_as_str!(Authority, Upstream);

impl Authority {
    fn parse(text: &str) -> Result<Self, String> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".:[]-".contains(&byte);
        if (1..=255).contains(&text.len()) && text.bytes().all(plain) {
            return Ok(Self(text.to_ascii_lowercase()));
        }
        Err(format!(
            "{text:?} is not an authority; expected a host such as id.example.com, or host:port"
        ))
    }
}

impl Upstream {
    fn parse(text: &str) -> Result<Self, String> {
        if (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "{text:?} is not an upstream; expected a cluster's name (Envoy) or host:port (Kong)"
        ))
    }
}

/// The scheme of a URL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum UrlScheme {
    /// With TLS.
    #[default]
    Https,
    /// Without: whoever can write to that network can make tokens.
    Http,
}

impl UrlScheme {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
        }
    }
}
