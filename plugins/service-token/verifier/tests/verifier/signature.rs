//! `kind: http_signature`: what a signature has to cover and to say.

use std::time::Duration;

use http::Request;
use portcullis_service_token_verifier::{
    Credential, Error, SetupError, SignatureVerifier, Verified, Verifier,
};

use crate::scene::{NOW, Signing, at, get, secrets};

fn signatures() -> SignatureVerifier {
    SignatureVerifier::new(secrets(&["new", "old"])).unwrap()
}

fn verify(request: &Request<()>) -> Result<Verified, Error> {
    Verifier::from(signatures()).verify(request, at(NOW))
}

fn with(parameters: &str) -> Result<(), Error> {
    verify(&Signing::with(parameters).get()).map(|_| ())
}

fn malformed<T>(part: &'static str) -> Result<T, Error> {
    Err(Error::Malformed(part))
}

#[test]
fn a_signature_says_what_it_covers() {
    let verified = verify(&Signing::new("n-1").get()).unwrap();
    assert_eq!(verified.key_id, "new");
    assert!(verified.covers("@path") && !verified.covers("content-digest"));
    assert_eq!(verified.identity(), None);
    let Credential::HttpSignature(signed) = verified.credential else {
        panic!("{verified:?}");
    };
    assert_eq!(signed.label, "service-token");
    assert_eq!(signed.covered, ["@method", "@authority", "@path", "@query"]);
    assert_eq!(signed.nonce, "n-1");
    assert_eq!((signed.created, signed.expires), (NOW, NOW + 60));
}

#[test]
fn every_parameter_has_its_rule() {
    let times = format!(";created={NOW};expires={}", NOW + 60);
    let rest = r#";nonce="n";keyid="new";tag="service-token""#;
    let long = "n".repeat(257);
    for (parameters, expected) in [
        (format!("{times}{rest}"), Ok(())),
        (format!(r#"{times}{rest};alg="hmac-sha256""#), Ok(())),
        (format!("{times}{rest};else=?0"), Ok(())),
        (
            format!(r#"{times}{rest};alg="hmac-sha512""#),
            Err(Error::WrongAlgorithm),
        ),
        (
            format!("{times}{rest};alg=hmac-sha256"),
            Err(Error::WrongAlgorithm),
        ),
        (
            format!(r#"{times}{rest};alg="""#),
            Err(Error::WrongAlgorithm),
        ),
        (
            format!(r#"{times};nonce="n";tag="service-token""#),
            Err(Error::Incomplete("keyid")),
        ),
        (
            format!(r#"{times};nonce="n";keyid=new;tag="service-token""#),
            Err(Error::Incomplete("keyid")),
        ),
        (
            format!(r#"{times};nonce="n";keyid="other";tag="service-token""#),
            Err(Error::UnknownKey),
        ),
        // The right secret under the other's name.
        (
            format!(r#"{times};nonce="n";keyid="old";tag="service-token""#),
            Err(Error::WrongSignature),
        ),
        (
            format!(r#"{times};keyid="new";tag="service-token""#),
            Err(Error::Incomplete("nonce")),
        ),
        (
            format!(r#"{times};nonce=7;keyid="new";tag="service-token""#),
            Err(Error::Incomplete("nonce")),
        ),
        (
            format!(r#"{times};nonce="";keyid="new";tag="service-token""#),
            malformed("the nonce"),
        ),
        (
            format!(r#"{times};nonce="{long}";keyid="new";tag="service-token""#),
            malformed("the nonce"),
        ),
        (
            format!(r#"{times};nonce="n";keyid="new";tag="other""#),
            Err(Error::Missing),
        ),
        (
            format!(r#"{times};nonce="n";keyid="new";tag=service-token"#),
            Err(Error::Missing),
        ),
        (
            format!(r#"{times};nonce="n";keyid="new""#),
            Err(Error::Missing),
        ),
        (
            format!(";created={NOW}{rest}"),
            Err(Error::Incomplete("expires")),
        ),
        (
            format!(";expires={NOW}{rest}"),
            Err(Error::Incomplete("created")),
        ),
        (
            format!(r#";created="{NOW}";expires={NOW}{rest}"#),
            Err(Error::Incomplete("created")),
        ),
        (
            format!(";created={NOW}.5;expires={NOW}{rest}"),
            Err(Error::Incomplete("created")),
        ),
        (
            format!(";created=@{NOW};expires={NOW}{rest}"),
            Err(Error::Incomplete("created")),
        ),
    ] {
        assert_eq!(with(&parameters), expected, "{parameters}");
    }
}

#[test]
fn at_the_edge_it_is_good_and_a_second_beyond_it_is_not() {
    for skew in [0, 30] {
        let of = |created: i64, expires: i64, now: i64| {
            let span = Duration::from_secs(skew.try_into().unwrap());
            let verifier = Verifier::from(signatures().skew(span));
            let request = Signing::between("n", created, expires).get();
            verifier.verify(&request, at(now)).map(|_| ())
        };
        assert_eq!(of(NOW, NOW + 60, NOW - skew), Ok(()));
        assert_eq!(of(NOW, NOW + 60, NOW - skew - 1), Err(Error::NotYetValid));
        assert_eq!(of(NOW, NOW + 60, NOW + 60 + skew), Ok(()));
        assert_eq!(of(NOW, NOW + 60, NOW + 61 + skew), Err(Error::Expired));
        assert_eq!(of(NOW, NOW + 3_600, NOW + 300 + skew), Ok(()));
        assert_eq!(of(NOW, NOW + 3_600, NOW + 301 + skew), Err(Error::TooOld));
        assert_eq!(of(NOW, NOW, NOW), Ok(()));
        assert_eq!(of(NOW, NOW - 1, NOW), Err(Error::Expired));
    }
    let verifier = || Verifier::from(signatures().longest_age(Duration::from_secs(10)));
    let request = Signing::new("n").get();
    assert!(verifier().verify(&request, at(NOW + 40)).is_ok());
    assert_eq!(
        verifier().verify(&request, at(NOW + 41)),
        Err(Error::TooOld)
    );
}

#[test]
fn extreme_numbers_are_refused_and_nothing_panics() {
    const MOST: i64 = 999_999_999_999_999;
    for (created, expires, expected) in [
        (0, MOST, Err(Error::TooOld)),
        (-MOST, MOST, Err(Error::TooOld)),
        (MOST, MOST, Err(Error::NotYetValid)),
        (NOW, -MOST, Err(Error::Expired)),
        (NOW, MOST, Ok(())),
    ] {
        let request = Signing::between("n", created, expires).get();
        assert_eq!(
            verify(&request).map(|_| ()),
            expected,
            "{created} {expires}"
        );
        let lenient = signatures().skew(Duration::MAX).longest_age(Duration::MAX);
        let _ = Verifier::from(lenient).verify(&request, at(NOW));
    }
    // Not numbers of a structured field (RFC 9651 section 3.3.1).
    for number in ["1000000000000000", "1e400", "1e9", "--1"] {
        let mut request = get("/", &[("signature", "service-token=:AAAA:")]);
        let input = format!(r#"service-token=("@path");created={number};tag="service-token""#);
        request
            .headers_mut()
            .insert("signature-input", input.parse().unwrap());
        let expected = malformed("signature-input or signature");
        assert_eq!(verify(&request), expected, "{number}");
    }
}

#[test]
fn what_is_required_has_to_be_covered() {
    for (covered, expected) in [
        (r#""@query" "@path" "@authority" "@method""#, Ok(())),
        (r#""@method" "@authority" "@path" "@query" "host""#, Ok(())),
        (
            r#""@authority" "@path" "@query""#,
            Err(Error::NotCovered("@method".to_owned())),
        ),
        (
            r#""@method" "@path" "@query""#,
            Err(Error::NotCovered("@authority".to_owned())),
        ),
        (
            r#""@method" "@authority" "@query""#,
            Err(Error::NotCovered("@path".to_owned())),
        ),
        (
            r#""@method" "@authority" "@path""#,
            Err(Error::NotCovered("@query".to_owned())),
        ),
        ("", Err(Error::NotCovered("@method".to_owned()))),
        (
            r#""@method" "@authority" "@path" "@query" "@path""#,
            malformed("the list of covered components"),
        ),
        (
            r#""@method" "@authority" "@path" "@query" "@scheme""#,
            Err(Error::Unsupported("a covered component")),
        ),
        (
            r#""@method" "@authority" "@path" "@query" "host";sf"#,
            Err(Error::Unsupported("a covered component")),
        ),
        (
            r#""@method" "@authority" "@path" "@query" "x-gone""#,
            Err(Error::Absent),
        ),
    ] {
        let signing = Signing {
            covered,
            ..Signing::new("n")
        };
        assert_eq!(verify(&signing.get()).map(|_| ()), expected, "{covered}");
    }
    let many: Vec<String> = (0..29).map(|n| format!("\"x-{n}\"")).collect();
    let covered = format!(
        r#""@method" "@authority" "@path" "@query" {}"#,
        many.join(" ")
    );
    let covered = Signing {
        covered: covered.leak(),
        ..Signing::new("n")
    };
    assert_eq!(
        verify(&covered.get()),
        malformed("the list of covered components")
    );
}

#[test]
fn headers_are_covered_where_they_are() {
    let signed = |covered, headers: &[(&str, &str)]| {
        let mut request = get("/", &[&[("host", "rag.example")], headers].concat());
        let signing = Signing {
            covered,
            ..Signing::new("n")
        };
        signing.sign(&mut request);
        request
    };
    const FOUR: &str = r#""@method" "@authority" "@path" "@query""#;
    const DIGEST: &str = r#""@method" "@authority" "@path" "@query" "content-digest""#;
    const USER: &str = r#""@method" "@authority" "@path" "@query" "x-user-id""#;
    let digest = [("content-digest", "sha-256=:AAAA:")];
    assert!(
        verify(&signed(DIGEST, &digest))
            .unwrap()
            .covers("content-digest")
    );
    let not_covered = |name: &str| Error::NotCovered(name.to_owned());
    assert_eq!(
        verify(&signed(FOUR, &digest)),
        Err(not_covered("content-digest"))
    );
    // Put there, taken away or changed after it was signed.
    let mut added = signed(FOUR, &[]);
    added
        .headers_mut()
        .insert("content-digest", "sha-256=:AAAA:".parse().unwrap());
    assert_eq!(verify(&added), Err(not_covered("content-digest")));
    let mut cut = signed(DIGEST, &digest);
    cut.headers_mut().remove("content-digest");
    assert_eq!(verify(&cut), Err(Error::Absent));
    let mut changed = signed(DIGEST, &digest);
    changed
        .headers_mut()
        .append("content-digest", "sha-512=:AAAA:".parse().unwrap());
    assert_eq!(verify(&changed), Err(Error::WrongSignature));

    let users = || Verifier::from(signatures().require_if_there(["x-user-id"]).unwrap());
    let verify = |request: &Request<()>| users().verify(request, at(NOW)).map(|_| ());
    let user = [("x-user-id", "alice")];
    assert_eq!(verify(&signed(FOUR, &[])), Ok(()));
    assert_eq!(verify(&signed(USER, &user)), Ok(()));
    assert_eq!(verify(&signed(FOUR, &user)), Err(not_covered("x-user-id")));
    assert_eq!(
        verify(&signed(FOUR, &digest)),
        Err(not_covered("content-digest"))
    );
}

#[test]
fn another_request_is_not_the_one_that_was_signed() {
    let signed = Signing::new("n").get();
    let with = |uri: &str, headers: &[(&str, &str)]| {
        let mut request = get(uri, headers);
        for name in ["signature-input", "signature"] {
            let value = signed.headers()[name].clone();
            request.headers_mut().insert(name, value);
        }
        request
    };
    let host = [("host", "rag.example")];
    assert!(verify(&with("/a?b=c", &host)).is_ok());
    for (uri, headers) in [
        ("/b?b=c", &host[..]),
        ("/a?b=d", &host),
        ("/a?b=c&d", &host),
        ("/a", &host),
        ("/%61?b=c", &host),
        ("//a?b=c", &host),
        ("/a?b=c", &[("host", "other.example")]),
        ("/a?b=c", &[("host", "rag.example:8080")]),
    ] {
        let found = verify(&with(uri, headers));
        assert_eq!(found, Err(Error::WrongSignature), "{uri} {headers:?}");
    }
    let mut post = with("/a?b=c", &host);
    *post.method_mut() = http::Method::POST;
    assert_eq!(verify(&post), Err(Error::WrongSignature));
    assert_eq!(verify(&with("/a?b=c", &[])), Err(Error::Absent));
    let two = [("host", "rag.example"), ("host", "rag.example")];
    assert_eq!(verify(&with("/a?b=c", &two)), Err(Error::Absent));
    // As HTTP/2 has it, and with the port that is the scheme's own.
    assert!(verify(&with("http://rag.example/a?b=c", &[])).is_ok());
    assert!(verify(&with("/a?b=c", &[("host", "Rag.Example:80")])).is_ok());
}

#[test]
fn what_it_is_made_from_is_checked() {
    assert_eq!(
        signatures().require([]).err(),
        Some(SetupError::NoComponent)
    );
    let unknown = |component: &str| {
        let component = component.to_owned();
        Some(SetupError::UnknownComponent { component })
    };
    assert_eq!(signatures().require(["@status"]).err(), unknown("@status"));
    assert_eq!(signatures().require_if_there(["X-A"]).err(), unknown("X-A"));
    let component = "@path".to_owned();
    let refused = signatures().require_if_there(["@path"]).err();
    assert_eq!(refused, Some(SetupError::NotAHeader { component }));
    assert!(!format!("{:?}", Verifier::from(signatures())).contains("secret-"));
}
