//! Where a key set comes from.

use portcullis_policy::config::ConfigError;
use portcullis_policy::{HttpCall, Span};

use crate::config::{
    Authority, DiscoveryConfig, JwksHostConfig, RemoteJwksConfig, Target, Upstream, UrlScheme,
};
use crate::discovery::{self, Location};
use crate::issuer::Issuer;

use super::record::DocumentId;

/// Where a key set comes from.
pub(super) struct Source {
    /// Who is asked first.
    host: Host,
    /// Who may be asked where a description says so.
    others: Vec<Host>,
    pub(super) scheme: UrlScheme,
    timeout: Span,
    pub(super) issuer: Issuer,
    /// The set itself, or the description that says where it is.
    first: Target,
    pub(super) discovers: bool,
}

/// Who is asked.
struct Host {
    upstream: Upstream,
    authority: Authority,
}

impl Source {
    pub(super) fn from_config(
        config: RemoteJwksConfig,
        issuer: &Issuer,
    ) -> Result<Self, ConfigError> {
        let timeout = config.timeout.span();
        if timeout > Span::from_secs(60) {
            return Err(ConfigError::at("timeout", "too long; expected at most 60s"));
        }
        let discovers = config.discovery != DiscoveryConfig::Off;
        let first = match (config.path, config.discovery) {
            (Some(path), DiscoveryConfig::Off) => path,
            (None, DiscoveryConfig::At(path)) => path,
            (None, DiscoveryConfig::BelowIssuer) if issuer.is_template() => {
                let rule = "the provider's issuer is a template, which says nothing of where its \
                    description lies; expected `discovery: { path: … }`";
                return Err(ConfigError::at("discovery", rule));
            }
            (None, DiscoveryConfig::BelowIssuer) => discovery::path_for(issuer.as_str())
                .ok_or_else(|| {
                    let rule = format!(
                        "{:?}, the provider's issuer, is not a URL; expected `path`",
                        issuer.as_str()
                    );
                    ConfigError::at("discovery", rule)
                })?,
            (Some(_), DiscoveryConfig::BelowIssuer | DiscoveryConfig::At(_)) => {
                let rule = "both `path` and `discovery: true`; expected one of them";
                return Err(ConfigError::at("", rule));
            }
            (None, DiscoveryConfig::Off) => {
                let rule = "neither `path` nor `discovery: true`; expected one of them";
                return Err(ConfigError::at("", rule));
            }
        };
        if !discovers && !config.jwks_hosts.0.is_empty() {
            let rule = "they are for `discovery`; `path` lies on `authority`";
            return Err(ConfigError::at("jwks_hosts", rule));
        }
        let host = Host {
            upstream: config.upstream,
            authority: config.authority,
        };
        Ok(Self {
            others: others(config.jwks_hosts.0, &host, config.scheme)?,
            host,
            scheme: config.scheme,
            timeout,
            issuer: issuer.clone(),
            first,
            discovers,
        })
    }

    /// What is asked for first.
    pub(super) fn first(&self) -> Location {
        Location {
            host: 0,
            target: self.first.clone(),
        }
    }

    /// The hosts on which keys may lie, each by its index.
    pub(super) fn authorities(&self) -> impl Iterator<Item = &Authority> {
        let hosts = std::iter::once(&self.host).chain(&self.others);
        hosts.map(|host| &host.authority)
    }

    fn host(&self, index: usize) -> &Host {
        let other = index.checked_sub(1).and_then(|at| self.others.get(at));
        other.unwrap_or(&self.host)
    }

    /// Who is asked at the host of that index.
    pub(super) fn upstream(&self, index: usize) -> &str {
        self.host(index).upstream.as_str()
    }

    /// How long a fetch can be under way: the gateway ends each call at its timeout, and the rest is
    /// for it to tell.
    pub(super) const fn longest_fetch(&self) -> Span {
        let calls = if self.discovers { 2 } else { 1 };
        let calls = self.timeout.as_nanos().saturating_mul(calls);
        Span::from_nanos(calls.saturating_add(Span::from_secs(2).as_nanos()))
    }

    pub(super) fn call(&self, location: &Location) -> HttpCall {
        let host = self.host(location.host);
        HttpCall {
            method: "GET",
            headers: vec![("accept", "application/json")],
            body: Vec::new(),
            upstream: host.upstream.as_str().to_owned(),
            scheme: self.scheme.as_str(),
            authority: host.authority.as_str().to_owned(),
            path: location.target.as_str().to_owned(),
            timeout: self.timeout,
        }
    }

    /// The record's name in shared data: another one for each source, so that a set is never taken
    /// for one from elsewhere, whatever a configuration calls its providers.
    pub(super) fn slot_name(&self) -> String {
        let mut parts = vec![
            self.host.upstream.as_str(),
            self.host.authority.as_str(),
            self.scheme.as_str(),
            self.first.as_str(),
            if self.discovers {
                self.issuer.as_str()
            } else {
                ""
            },
        ];
        for host in &self.others {
            parts.extend([host.upstream.as_str(), host.authority.as_str()]);
        }
        let all = parts.join("\n");
        let hash = DocumentId::of(all.as_bytes()).unwrap_or_default().hash;
        let name = u128::from_le_bytes(hash);
        format!("portcullis/jwt_auth/jwks/{name:032x}")
    }
}

fn others(
    config: Vec<JwksHostConfig>,
    first: &Host,
    scheme: UrlScheme,
) -> Result<Vec<Host>, ConfigError> {
    let mut others: Vec<Host> = Vec::new();
    for (at, other) in config.into_iter().enumerate() {
        let authority = other.authority;
        let is_same =
            |host: &Host| discovery::is_same(host.authority.as_str(), authority.as_str(), scheme);
        if is_same(first) || others.iter().any(is_same) {
            let rule = format!("{:?} is there twice", authority.as_str());
            return Err(ConfigError::at(format!("jwks_hosts[{at}].authority"), rule));
        }
        others.push(Host {
            upstream: other.upstream,
            authority,
        });
    }
    Ok(others)
}
