//! Key sets that are fetched, in a configuration.

use std::fmt;

use portcullis_policy::config::{Authority, Duration, List, Upstream, UrlScheme};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::Target;

/// Where an issuer publishes its keys: exactly one of `path` and `discovery`.
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
    /// Connect Discovery 1.0): `true`, or where that lies, as an object with `path`. Its `issuer`
    /// must be this provider's, and its `jwks_uri` must lie on `authority` or on one of
    /// `jwks_hosts`. Default: `false`.
    #[serde(default)]
    pub discovery: DiscoveryConfig,
    /// Other hosts on which a discovered `jwks_uri` may lie, each with who is asked there.
    #[serde(default)]
    pub jwks_hosts: List<JwksHostConfig>,
    /// How often the set is fetched, at least `1s`; up to a tenth earlier, so that gateways do not
    /// all come at once. Default: `10m`.
    #[serde(default = "<Duration>::secs::<600>")]
    pub refresh: Duration,
    /// How long an answer may take, at most `60s`. Default: `3s`.
    #[serde(default = "<Duration>::secs::<3>")]
    pub timeout: Duration,
    /// How long the last good set serves on when no new one can be had. Default: `24h`.
    #[serde(default = "<Duration>::secs::<86_400>")]
    pub max_stale: Duration,
    /// How long after a fetch a token with an unknown `kid`, or with a bad signature under a known
    /// one, may cause another, at least `1s`. Default: `10s`.
    #[serde(default = "<Duration>::secs::<10>")]
    pub refetch_min_interval: Duration,
    /// For how long at most a request is held whose token needs a key that is not here yet, while the set is fetched, at most
    /// `60s`; then it is decided on with the keys that there are. Envoy only. Default: it is decided on at once.
    pub wait: Option<Duration>,
}

/// A host on which a discovered `jwks_uri` may lie.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct JwksHostConfig {
    /// The host in the `jwks_uri`, and its port if it is not the scheme's.
    pub authority: Authority,
    /// Who is asked for it: on Envoy the name of a cluster, on Kong `host:port`.
    pub upstream: Upstream,
}

/// Whether the path of a key set is found out, and from where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DiscoveryConfig {
    /// It is not.
    #[default]
    Off,
    /// From the description that lies below the issuer.
    BelowIssuer,
    /// From the description that lies there.
    At(Target),
}

impl<'de> Deserialize<'de> for DiscoveryConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Object {
            path: Target,
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = DiscoveryConfig;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false, or an object with `path`")
            }
            fn visit_bool<E: Error>(self, on: bool) -> Result<DiscoveryConfig, E> {
                Ok(if on {
                    DiscoveryConfig::BelowIssuer
                } else {
                    DiscoveryConfig::Off
                })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<DiscoveryConfig, A::Error> {
                let object = Object::deserialize(MapAccessDeserializer::new(map))?;
                Ok(DiscoveryConfig::At(object.path))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for DiscoveryConfig {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "DiscoveryConfig".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": ["boolean", "object"],
            "properties": { "path": generator.subschema_for::<Target>() },
            "required": ["path"],
            "additionalProperties": false
        })
    }
}
