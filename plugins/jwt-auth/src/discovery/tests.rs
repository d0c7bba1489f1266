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
        let document =
            format!(r#"{{"issuer":"{ISSUER}","jwks_uri":"https://id.example.com/keys","pad":""}}"#);
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
        format!(r#"{{"issuer":"{ISSUER}","jwks_uri":"https://id.example.com/c","x":"{filler}"}}"#)
    };
    let longest = 65_536 - long(0).len();
    assert!(path(&long(longest), "id.example.com").is_ok());
    assert_eq!(
        path(&long(longest + 1), "id.example.com"),
        Err(NoKeySet::Malformed)
    );
}
