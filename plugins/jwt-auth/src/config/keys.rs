//! Keys in a configuration.

use super::{Identifier, JwksConfig, RemoteJwksConfig};
use portcullis_policy::config::{EnvName, ObjectOnly, SecretConfig, SecretText};
use serde::Deserialize;

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
