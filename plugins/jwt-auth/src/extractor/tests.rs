//! Tokens are found where they may be, and one at most.

use std::net::IpAddr;

use portcullis_policy::{HeaderEdit, Headers, PeerAddress};

use super::*;

struct Nobody;
impl PeerAddress for Nobody {
    fn peer(&self) -> Option<IpAddr> {
        None
    }
}

fn source(header: &str, scheme: Option<&str>) -> Source {
    Source::Header {
        name: header.to_owned(),
        scheme: scheme.map(str::to_owned),
    }
}

/// Provider 0: Bearer, and `x-jwt`. Provider 1: Bearer, and the bare authorization header.
fn extractor() -> Extractor {
    let mut extractor = Extractor::default();
    extractor.add(
        1,
        &[
            source("authorization", None),
            source("authorization", Some("bearer")),
        ],
    );
    extractor.add(0, &[Source::bearer(), source("x-jwt", None)]);
    extractor
}

fn extract(lines: &[(&str, &str)]) -> Result<Option<(String, String, Vec<usize>)>, ()> {
    let headers = Headers::from_pairs(lines.iter().copied());
    let (extractor, request) = (extractor(), Request::new(&headers, &Nobody));
    let found = extractor.extract(&request).map(|found| {
        found.map(|found| {
            let token = String::from_utf8(found.token.to_vec()).unwrap();
            let Location::Header(name) = found.location else {
                panic!("{:?}", found.location)
            };
            (token, name.to_owned(), found.providers.to_vec())
        })
    });
    found.map_err(|SeveralTokens| ())
}

#[test]
fn a_token_is_found_where_its_providers_have_theirs() {
    let found = |token: &str, header: &str, providers: &[usize]| {
        Ok(Some((
            token.to_owned(),
            header.to_owned(),
            providers.to_vec(),
        )))
    };
    for (lines, expected) in [
        (
            &[("Authorization", "Bearer t")],
            found("t", "authorization", &[1, 0]),
        ),
        (
            &[("authorization", "bEARER   t")],
            found("t", "authorization", &[1, 0]),
        ),
        (&[("authorization", "t")], found("t", "authorization", &[1])),
        (&[("X-Jwt", "t")], found("t", "x-jwt", &[0])),
        (&[("x-jwt", "")], Ok(None)),
        (
            &[("authorization", "Bearer")],
            found("", "authorization", &[1, 0]),
        ),
        (
            &[("authorization", "Bearert")],
            found("Bearert", "authorization", &[1]),
        ),
    ] {
        assert_eq!(extract(lines), expected, "{lines:?}");
    }
    assert_eq!(extract(&[]), Ok(None));
}

#[test]
fn another_scheme_is_no_token() {
    let mut bearer_only = Extractor::default();
    bearer_only.add(0, &[Source::bearer()]);
    for value in ["Basic dTpw", "t", "Bearerx t", "Bear t", ""] {
        let headers = Headers::from_pairs([("authorization", value)]);
        let request = Request::new(&headers, &Nobody);
        assert_eq!(bearer_only.extract(&request), Ok(None), "{value:?}");
    }
}

#[test]
fn two_tokens_are_refused_wherever_they_are() {
    for lines in [
        &[("authorization", "Bearer a"), ("authorization", "Bearer a")],
        &[("authorization", "Basic a"), ("Authorization", "Bearer a")],
        &[("authorization", "Bearer a"), ("x-jwt", "b")],
        &[("x-jwt", "a"), ("x_jwt", "b")],
        &[("x_jwt", "a"), ("X_JWT", "b")],
        &[("x_jwt", "a")][..],
        &[("authorization", "Bearer a,Bearer b"), ("x", "y")],
    ] {
        assert_eq!(extract(lines), Err(()), "{lines:?}");
    }
}

#[test]
fn a_token_is_one_of_header_cookie_and_query() {
    let mut extractor = Extractor::default();
    extractor.add(
        0,
        &[
            Source::bearer(),
            Source::Cookie("session".into(), TokenForward::Strip),
            Source::Query("access_token".into()),
        ],
    );
    extractor.add(1, &[Source::Cookie("session".into(), TokenForward::Strip)]);
    let extract = |lines: &[(&str, &str)]| {
        let headers = Headers::from_pairs(lines.iter().copied());
        let request = Request::new(&headers, &Nobody);
        let found = extractor.extract(&request).map_err(|SeveralTokens| ())?;
        Ok(found.map(|found| (format!("{:?}", found.location), found.providers.to_vec())))
    };
    let path = |path| (":path", path);
    let (bearer, cookie) = (("authorization", "Bearer t"), ("cookie", "session=t"));
    assert_eq!(
        extract(&[path("/"), cookie]),
        Ok(Some(("Cookie(\"session\")".to_owned(), vec![0, 1])))
    );
    assert_eq!(
        extract(&[path("/?access_token=t")]),
        Ok(Some(("Query(\"access_token\")".to_owned(), vec![0])))
    );
    for two in [
        &[path("/"), bearer, cookie][..],
        &[path("/?access_token=t"), bearer],
        &[path("/?access_token=t"), cookie],
    ] {
        assert_eq!(extract(two), Err(()), "{two:?}");
    }
}

#[test]
fn places_of_other_names_are_places_of_their_own() {
    let mut extractor = Extractor::default();
    let cookie = |name: &str, forward| Source::Cookie(name.to_owned(), forward);
    extractor.add(
        0,
        &[cookie("a", TokenForward::Strip), Source::Query("p".into())],
    );
    extractor.add(
        1,
        &[cookie("b", TokenForward::Strip), Source::Query("q".into())],
    );
    extractor.add(
        2,
        &[cookie("a", TokenForward::Keep), Source::Query("P".into())],
    );
    let found = |path: &str, cookie: &str| {
        let headers = Headers::from_pairs([(":path", path), ("cookie", cookie)]);
        let request = Request::new(&headers, &Nobody);
        let found = extractor.extract(&request).map_err(|SeveralTokens| ());
        found.map(|found| found.map(|found| found.providers.to_vec()))
    };
    for (path, cookie, expected) in [
        ("/", "a=t", Ok(Some(vec![0, 2]))),
        ("/", "b=t", Ok(Some(vec![1]))),
        ("/", "c=t", Ok(None)),
        ("/?p=t", "", Ok(Some(vec![0, 2]))),
        ("/?q=t", "", Ok(Some(vec![1]))),
        // Where one of them keeps it, a backend may read it again, and fold the case.
        ("/", "a=t; A=u", Err(())),
        ("/", "b=t; B=u", Ok(Some(vec![1]))),
    ] {
        assert_eq!(found(path, cookie), expected, "{path} {cookie}");
    }
    let (keep, strip) = (TokenForward::Keep, TokenForward::Strip);
    // A request can't have two tokens in one place, and can in two.
    assert!(cookie("a", keep).excludes(&cookie("a", strip)));
    assert!(!cookie("a", keep).excludes(&cookie("b", keep)));
}

#[test]
fn a_token_is_taken_out_from_where_it_stands() {
    let headers = Headers::from_pairs([
        (":path", "/a?q=1&access_token=t"),
        ("authorization", "Bearer t"),
        ("cookie", "session=t; x=1; device=u"),
    ]);
    let request = Request::new(&headers, &Nobody);
    let mut edits = RequestEdits::none();
    let all = [
        Location::Header("authorization"),
        Location::Cookie("session"),
        Location::Cookie("device"),
        Location::Query("access_token"),
    ];
    strip(&request, &all, &mut edits);
    assert_eq!(
        edits.headers(),
        [
            HeaderEdit::Clear {
                name: "authorization".into()
            },
            HeaderEdit::Set {
                name: "cookie".into(),
                value: b"x=1"[..].into()
            },
        ]
    );
    assert_eq!(edits.target(), Some(&b"/a?q=1"[..]));
}
