//! Limits that several gateways share, in a configuration.

use portcullis_policy::config::{
    Authority, Bounded, ConfigError, Duration, Millionths, Name, Upstream, UrlScheme,
};
use serde::Deserialize;

/// Who counts a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// This gateway, for itself.
    #[default]
    Local,
    /// The engine of `global`, for all gateways that ask it.
    Global,
}

/// The engine that counts limits with `scope: global`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct GlobalConfig {
    /// What it speaks.
    pub engine: EngineName,
    /// Who is asked: on Envoy the name of a cluster, on Kong `host:port`.
    pub upstream: Upstream,
    /// The host that is asked for: `:authority`.
    pub authority: Authority,
    /// `http` or `https`. On Envoy the cluster decides whether there is TLS. Default: `http`.
    #[serde(default = "http")]
    pub scheme: UrlScheme,
    /// What the counts belong to: gateways with one domain share them.
    pub domain: Name,
    /// How long an answer may take, and a request waits for it at most: `10ms` to `10s`. Default: `200ms`.
    #[serde(default = "default_timeout")]
    pub timeout: Duration,
    /// How much a gateway withdraws at a time.
    #[serde(default)]
    pub lease: LeaseConfig,
    /// What becomes of a request while it is not known whether anything is left for its key.
    #[serde(default)]
    pub first_request: FirstRequest,
    /// What becomes of a request that what is held does not suffice for, while the engine is away.
    #[serde(default)]
    pub on_error: EngineAway,
    /// `on_error: local`: the part of each quota that this gateway admits by itself meanwhile. Default: `0.25`.
    pub local_share: Option<Millionths<1, 1_000_000>>,
}

/// What an engine speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum EngineName {
    /// Redis, behind Webdis.
    Redis,
    /// Envoy's rate limit service (`envoy.service.ratelimit.v3`), by gRPC. Envoy only.
    EnvoyRls,
    /// Limitador's HTTP API.
    Limitador,
}

/// How much a gateway withdraws at a time.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LeaseConfig {
    /// The part of a quota, and of what is left of it, that one lease may have. Default: `0.1`.
    #[serde(default = "default_share")]
    pub share: Millionths<1, 1_000_000>,
    /// The least that is withdrawn. Default: 1.
    #[serde(default = "default_at_least")]
    pub at_least: Bounded<1, 1_000_000, u32>,
    /// The most that is withdrawn at a time for what may come. Default: 1000.
    #[serde(default = "default_at_most")]
    pub at_most: Bounded<1, 1_000_000, u32>,
    /// `engine: redis`: whether what is not spent is given back once a key is idle. Default: `true`.
    pub return_unspent: Option<bool>,
}

/// What becomes of a request while it is not known whether anything is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum FirstRequest {
    /// It passes on credit, up to one lease for each gateway and key.
    #[default]
    Admit,
    /// It is held until the engine has answered. Envoy only.
    Wait,
}

/// What becomes of a request while the engine is away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum EngineAway {
    /// This gateway counts by itself, `local_share` of the quota.
    #[default]
    Local,
    /// It passes uncounted.
    Allow,
    /// It is refused with 503.
    Deny,
}

impl Default for LeaseConfig {
    fn default() -> Self {
        Self {
            share: default_share(),
            at_least: default_at_least(),
            at_most: default_at_most(),
            return_unspent: None,
        }
    }
}

const fn http() -> UrlScheme {
    UrlScheme::Http
}

const fn default_timeout() -> Duration {
    Duration::from_millis(200)
}

const fn default_share() -> Millionths<1, 1_000_000> {
    Millionths::new(100_000)
}

const fn default_at_least() -> Bounded<1, 1_000_000, u32> {
    Bounded::new(1)
}

const fn default_at_most() -> Bounded<1, 1_000_000, u32> {
    Bounded::new(1_000)
}

impl GlobalConfig {
    /// A quarter.
    const LOCAL_SHARE: u32 = 250_000;

    /// The part of each quota that this gateway admits by itself, in millionths; `None` where it admits nothing so.
    pub(crate) fn local_share(&self) -> Option<u32> {
        let share = self
            .local_share
            .map_or(Self::LOCAL_SHARE, Millionths::millionths);
        (self.on_error == EngineAway::Local).then_some(share)
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let millis = self.timeout.span().as_nanos() / 1_000_000;
        if !(10..=10_000).contains(&millis) {
            return Err(ConfigError::at(
                "timeout",
                "out of range; expected 10ms to 10s",
            ));
        }
        if self.local_share.is_some() && self.on_error != EngineAway::Local {
            return Err(ConfigError::at(
                "local_share",
                "it is for `on_error: local`",
            ));
        }
        if self.lease.at_least.get() > self.lease.at_most.get() {
            let rule = "more than `at_most`";
            return Err(ConfigError::at("lease.at_least", rule));
        }
        if self.lease.return_unspent == Some(true) && self.engine != EngineName::Redis {
            let rule = "this engine takes nothing back; expected `engine: redis`, or false";
            return Err(ConfigError::at("lease.return_unspent", rule));
        }
        Ok(())
    }
}
