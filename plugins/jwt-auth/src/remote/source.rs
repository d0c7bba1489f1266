//! Where a key set comes from.

use portcullis_policy::config::ConfigError;
use portcullis_policy::{HttpCall, Span};

use crate::config::{Authority, RemoteJwksConfig, Target, Upstream, UrlScheme};
use crate::discovery;

use super::record::DocumentId;

/// Where a key set comes from.
pub(super) struct Source {
    upstream: Upstream,
    pub(super) authority: Authority,
    pub(super) scheme: UrlScheme,
    timeout: Span,
    pub(super) issuer: String,
    /// The set itself, or the description that says where it is.
    pub(super) first: Target,
    pub(super) discovers: bool,
}

impl Source {
    pub(super) fn from_config(config: RemoteJwksConfig, issuer: &str) -> Result<Self, ConfigError> {
        let timeout = config.timeout.span();
        if timeout > Span::from_secs(60) {
            return Err(ConfigError::at("timeout", "too long; expected at most 60s"));
        }
        let first = match (config.path, config.discovery) {
            (Some(path), false) => path,
            (None, true) => discovery::path_for(issuer).ok_or_else(|| {
                let rule =
                    format!("{issuer:?}, the provider's issuer, is not a URL; expected `path`");
                ConfigError::at("discovery", rule)
            })?,
            (Some(_), true) => {
                let rule = "both `path` and `discovery: true`; expected one of them";
                return Err(ConfigError::at("", rule));
            }
            (None, false) => {
                let rule = "neither `path` nor `discovery: true`; expected one of them";
                return Err(ConfigError::at("", rule));
            }
        };
        Ok(Self {
            upstream: config.upstream,
            authority: config.authority,
            scheme: config.scheme,
            timeout,
            issuer: issuer.to_owned(),
            first,
            discovers: config.discovery,
        })
    }

    /// How long a fetch can be under way: the gateway ends each call at its timeout, and the rest is
    /// for it to tell.
    pub(super) const fn longest_fetch(&self) -> Span {
        let calls = if self.discovers { 2 } else { 1 };
        let calls = self.timeout.as_nanos().saturating_mul(calls);
        Span::from_nanos(calls.saturating_add(Span::from_secs(2).as_nanos()))
    }

    pub(super) fn call(&self, target: &Target) -> HttpCall {
        HttpCall {
            upstream: self.upstream.as_str().to_owned(),
            scheme: self.scheme.word(),
            authority: self.authority.as_str().to_owned(),
            path: target.as_str().to_owned(),
            timeout: self.timeout,
        }
    }

    /// The record's name in shared data: another one for each source, so that a set is never taken
    /// for one from elsewhere, whatever a configuration calls its providers.
    pub(super) fn slot_name(&self) -> String {
        let parts = [
            self.upstream.as_str(),
            self.authority.as_str(),
            self.scheme.word(),
            self.first.as_str(),
            if self.discovers { &self.issuer } else { "" },
        ];
        let all = parts.join("\n");
        let hash = DocumentId::of(all.as_bytes()).unwrap_or_default().hash;
        let name = u128::from_le_bytes(hash);
        format!("portcullis/jwt_auth/jwks/{name:032x}")
    }
}
