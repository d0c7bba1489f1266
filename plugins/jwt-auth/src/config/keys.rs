//! Keys in a configuration.

use portcullis_policy::config::{
    Duration, EnvName, NonEmpty, ObjectOnly, SecretConfig, SecretText,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Authority, Identifier, Target, Upstream};

/// Keys that signatures are checked with: exactly one of `secret`, `public_key`, `jwks` and
/// `remote_jwks`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct KeyConfig {
    /// The secret that issuer and gateway share, for HS256, HS384 and HS512: at least as many bytes
    /// as the hash of each of those that the provider allows.
    pub secret: Option<ObjectOnly<SecretConfig>>,
    /// A public key in PEM, for all other algorithms.
    pub public_key: Option<ObjectOnly<PublicKeyConfig>>,
    /// A set of public keys (RFC 7517 section 5).
    pub jwks: Option<ObjectOnly<JwksConfig>>,
    /// Where the issuer publishes such a set.
    pub remote_jwks: Option<ObjectOnly<RemoteJwksConfig>>,
    /// The key's name in the `kid` of a token; for `secret` and `public_key`.
    pub kid: Option<Identifier>,
    /// Whether a secret may be shorter than the hash. Such a key can be guessed from a single token.
    #[serde(default)]
    pub allow_short: bool,
}

/// A public key in PEM: exactly one of `pem` and `env`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PublicKeyConfig {
    /// The PEM text: `PUBLIC KEY` (RFC 5280), or `RSA PUBLIC KEY` (RFC 8017).
    pub pem: Option<SecretText>,
    /// The environment variable that holds it.
    pub env: Option<EnvName>,
}

/// A JWK set (RFC 7517 section 5).
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct JwksConfig {
    /// The keys (RFC 7517 section 4), at most 64.
    pub keys: NonEmpty<ObjectOnly<Map<String, Value>>>,
}

/// Where an issuer publishes its keys: exactly one of `path` and `discovery: true`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RemoteJwksConfig {
    /// Who is asked: on Envoy the name of a cluster, on Kong `host:port`.
    pub upstream: Upstream,
    /// The host that is asked for: `:authority`, and on Kong the name in the certificate.
    pub authority: Authority,
    /// `https` or `http`. On Envoy the cluster decides whether there is TLS. Default: `https`.
    #[serde(default)]
    pub scheme: UrlScheme,
    /// The path of the JWK set.
    pub path: Option<Target>,
    /// Whether the path is found out from the issuer's `/.well-known/openid-configuration` (OpenID
    /// Connect Discovery 1.0). Its `issuer` must be this provider's, and its `jwks_uri` must lie on
    /// `authority`. Default: `false`.
    #[serde(default)]
    pub discovery: bool,
    /// How often the set is fetched, at least `1s`; up to a tenth earlier, so that gateways do not
    /// all come at once. Default: `10m`.
    #[serde(default = "ten_minutes")]
    pub refresh: Duration,
    /// How long an answer may take, at most `60s`. Default: `3s`.
    #[serde(default = "three_seconds")]
    pub timeout: Duration,
    /// How long the last good set serves on when no new one can be had. Default: `24h`.
    #[serde(default = "a_day")]
    pub max_stale: Duration,
    /// How long after a fetch a token with an unknown `kid` may cause another, at least `1s`.
    /// Default: `10s`.
    #[serde(default = "ten_seconds")]
    pub refetch_min_interval: Duration,
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

const fn ten_minutes() -> Duration {
    Duration::from_secs(600)
}

const fn three_seconds() -> Duration {
    Duration::from_secs(3)
}

const fn a_day() -> Duration {
    Duration::from_secs(24 * 3600)
}

const fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}

impl UrlScheme {
    /// The word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
        }
    }
}
