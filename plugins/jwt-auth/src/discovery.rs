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
    /// The host's place among those that may be asked.
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
        .find(|known| scheme.eq_ignore_ascii_case(known.word()))?;
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
mod tests {
    use super::*;
    use crate::config::IssuerConfig;

    const ISSUER: &str = "https://id.example.com/realms/rag";

    fn issuer() -> Issuer {
        Issuer::from(serde_json::from_value::<IssuerConfig>(ISSUER.into()).unwrap())
    }

    fn authority(text: &str) -> Authority {
        serde_json::from_value(text.into()).unwrap()
    }

    fn path(document: &str, host: &str) -> Result<String, NoKeySet> {
        let host = authority(host);
        let hosts = std::iter::once(&host);
        find_key_set(document.as_bytes(), &issuer(), hosts, UrlScheme::Https)
            .map(|found| found.target.as_str().to_owned())
    }

    #[test]
    fn a_description_of_64_kib_is_read_and_a_longer_one_is_not() {
        let of = |length: usize| {
            let document = format!(
                r#"{{"issuer":"{ISSUER}","jwks_uri":"https://id.example.com/keys","pad":""}}"#
            );
            let pad = "x".repeat(length - document.len());
            path(
                &document.replace(r#""pad":"""#, &format!(r#""pad":"{pad}""#)),
                "id.example.com",
            )
        };
        assert_eq!(of(64 << 10), Ok("/keys".to_owned()));
        assert_eq!(of((64 << 10) + 1), Err(NoKeySet::Malformed));
    }

    #[test]
    fn the_description_lies_below_the_issuer() {
        let of = |issuer: &str| path_for(issuer).map(|path| path.as_str().to_owned());
        assert_eq!(
            of(ISSUER).as_deref(),
            Some("/realms/rag/.well-known/openid-configuration")
        );
        for issuer in ["https://id.example.com", "https://id.example.com/"] {
            assert_eq!(
                of(issuer).as_deref(),
                Some("/.well-known/openid-configuration")
            );
        }
        for wrong in [
            "dashboard",
            "ftp://id",
            "https://id/?x",
            "https://id/#x",
            "https://id/a b",
        ] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn keys_lie_on_the_authority_that_was_asked() {
        let document = |uri: &str| format!(r#"{{"issuer":"{ISSUER}","jwks_uri":"{uri}","x":[]}}"#);
        for (uri, host, expected) in [
            (
                "https://id.example.com/certs?v=1",
                "id.example.com",
                Ok("/certs?v=1"),
            ),
            (
                "https://ID.example.com:443/certs",
                "id.example.com",
                Ok("/certs"),
            ),
            (
                "HTTPS://id.example.com/certs",
                "id.example.com:443",
                Ok("/certs"),
            ),
            (
                "https://id.example.com/certs",
                "id.example.com:8443",
                Err("foreign"),
            ),
            (
                "http://id.example.com/certs",
                "id.example.com",
                Err("foreign"),
            ),
            (
                "https://evil.example/certs",
                "id.example.com",
                Err("foreign"),
            ),
            (
                "https://id.example.com@evil.example/",
                "id.example.com",
                Err("foreign"),
            ),
            (
                "https://id.example.com.evil/certs",
                "id.example.com",
                Err("foreign"),
            ),
            ("https://id.example.com", "id.example.com", Err("malformed")),
            (
                "https://id.example.com/a b",
                "id.example.com",
                Err("malformed"),
            ),
            (
                "https://id.example.com/a#b",
                "id.example.com",
                Err("malformed"),
            ),
            ("/certs", "id.example.com", Err("malformed")),
        ] {
            let found = path(&document(uri), host).map_err(|fault| match fault {
                NoKeySet::ForeignKeys(named) => {
                    assert_eq!(named, uri);
                    "foreign"
                }
                NoKeySet::Malformed => "malformed",
                NoKeySet::IssuerMismatch(_) => "issuer",
            });
            assert_eq!(found.as_deref().map_err(|e| *e), expected, "{uri}");
        }
    }

    #[test]
    fn keys_lie_on_one_of_the_hosts_that_are_named() {
        let hosts = ["accounts.example", "www.keys.example", "10.0.0.1:6443"].map(authority);
        for (uri, expected) in [
            ("https://accounts.example/a", Some((0, "/a"))),
            (
                "https://WWW.keys.example:443/oauth2/v3/certs",
                Some((1, "/oauth2/v3/certs")),
            ),
            (
                "https://10.0.0.1:6443/openid/v1/jwks",
                Some((2, "/openid/v1/jwks")),
            ),
            ("https://10.0.0.1/openid/v1/jwks", None),
            ("http://www.keys.example/certs", None),
            ("https://keys.example/certs", None),
            ("https://x.www.keys.example/certs", None),
            ("https://www.keys.example@evil.example/certs", None),
        ] {
            let document = format!(r#"{{"issuer":"{ISSUER}","jwks_uri":"{uri}"}}"#);
            let document = document.as_bytes();
            let found = find_key_set(document, &issuer(), hosts.iter(), UrlScheme::Https).ok();
            let found = found
                .as_ref()
                .map(|found| (found.host, found.target.as_str()));
            assert_eq!(found, expected, "{uri}");
        }
    }

    #[test]
    fn a_description_of_another_issuer_or_of_none_is_not_believed() {
        let with_issuer = |issuer: &str| {
            format!(r#"{{"issuer":{issuer},"jwks_uri":"https://id.example.com/certs"}}"#)
        };
        for (document, expected) in [
            (
                with_issuer("\"https://id.example.com/realms/other\""),
                NoKeySet::IssuerMismatch("https://id.example.com/realms/other".to_owned()),
            ),
            (
                with_issuer("\"https://id.example.com/realms/rag/\""),
                NoKeySet::IssuerMismatch("https://id.example.com/realms/rag/".to_owned()),
            ),
            (with_issuer("1"), NoKeySet::Malformed),
            (format!(r#"{{"issuer":"{ISSUER}"}}"#), NoKeySet::Malformed),
            (
                format!(r#"{{"issuer":"{ISSUER}","jwks_uri":1}}"#),
                NoKeySet::Malformed,
            ),
            (
                format!(r#"{{"issuer":"{ISSUER}","issuer":"{ISSUER}"}}"#),
                NoKeySet::Malformed,
            ),
            ("[]".to_owned(), NoKeySet::Malformed),
            ("<html>".to_owned(), NoKeySet::Malformed),
        ] {
            assert_eq!(
                path(&document, "id.example.com"),
                Err(expected),
                "{document}"
            );
        }
        let long = |length: usize| {
            let filler = "x".repeat(length);
            format!(
                r#"{{"issuer":"{ISSUER}","jwks_uri":"https://id.example.com/c","x":"{filler}"}}"#
            )
        };
        let longest = 65_536 - long(0).len();
        assert!(path(&long(longest), "id.example.com").is_ok());
        assert_eq!(
            path(&long(longest + 1), "id.example.com"),
            Err(NoKeySet::Malformed)
        );
    }
}
