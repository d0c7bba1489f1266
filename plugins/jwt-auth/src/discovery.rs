//! An issuer's own description of itself (OpenID Connect Discovery 1.0, RFC 8414).

use serde_json::Value;

use crate::config::{Authority, Target, UrlScheme};
use crate::issuer::Issuer;
use crate::json;

/// Largest description that is read, in bytes. Those of known issuers stay under 10 KiB.
pub(crate) const LARGEST: usize = 64 * 1024;

/// Why a description leads to no key set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoKeySet {
    Malformed,
    /// It describes another issuer than ours: this one.
    IssuerMismatch(String),
    /// Its keys lie elsewhere than where we were told to look: there.
    ForeignKeys(String),
}

/// Where a key set lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    /// The host's index among those that may be asked.
    pub(crate) host: usize,
    pub(crate) target: Target,
}

/// The description's path for an issuer whose name is a URL (OpenID Connect Discovery 1.0
/// section 4); `None` where it is not one.
pub(crate) fn path_for(issuer: &str) -> Option<Target> {
    let (_, rest) = split_scheme(issuer)?;
    let path = rest.split_once('/').map_or("", |(_, path)| path);
    if rest.contains(['?', '#']) {
        return None;
    }
    let path = path.strip_suffix('/').unwrap_or(path);
    let slash = if path.is_empty() { "" } else { "/" };
    Target::from_text(&format!("{slash}{path}/.well-known/openid-configuration"))
}

/// Where the key set of `issuer` lies: on one of `hosts`, so that a description can't send us
/// elsewhere.
pub(crate) fn find_key_set<'h>(
    document: &[u8],
    issuer: &Issuer,
    hosts: impl Iterator<Item = &'h Authority>,
    scheme: UrlScheme,
) -> Result<Location, NoKeySet> {
    if document.len() > LARGEST {
        return Err(NoKeySet::Malformed);
    }
    let document = json::parse_object(document).ok_or(NoKeySet::Malformed)?;
    let text = |name: &str| document.get(name).and_then(Value::as_str);
    let theirs = text("issuer").ok_or(NoKeySet::Malformed)?;
    if !issuer.is_described_as(theirs) {
        return Err(NoKeySet::IssuerMismatch(theirs.to_owned()));
    }
    let uri = text("jwks_uri").ok_or(NoKeySet::Malformed)?;
    let (theirs, rest) = split_scheme(uri).ok_or(NoKeySet::Malformed)?;
    let (host, path) = rest.split_once('/').ok_or(NoKeySet::Malformed)?;
    let mut hosts = hosts.enumerate();
    let known = hosts.find(|(_, ours)| theirs == scheme && is_same(host, ours.as_str(), scheme));
    let Some((host, _)) = known else {
        return Err(NoKeySet::ForeignKeys(uri.to_owned()));
    };
    let target = Target::from_text(&format!("/{path}")).ok_or(NoKeySet::Malformed)?;
    Ok(Location { host, target })
}

/// Whether two authorities are one, where the scheme's own port may be left out.
pub(crate) fn is_same(one: &str, other: &str, scheme: UrlScheme) -> bool {
    without_default_port(one, scheme).eq_ignore_ascii_case(without_default_port(other, scheme))
}

fn split_scheme(url: &str) -> Option<(UrlScheme, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = [UrlScheme::Https, UrlScheme::Http]
        .into_iter()
        .find(|known| scheme.eq_ignore_ascii_case(known.as_str()))?;
    Some((scheme, rest))
}

fn without_default_port(authority: &str, scheme: UrlScheme) -> &str {
    let port = match scheme {
        UrlScheme::Https => ":443",
        UrlScheme::Http => ":80",
    };
    authority.strip_suffix(port).unwrap_or(authority)
}

#[cfg(test)]
mod tests;
