//! What the gateway's filter writes is what the verifier accepts.

use http::{HeaderName, Method, Request};
use portcullis_policy::{Span, Timestamp};
use portcullis_service_token::ServiceToken;
use portcullis_service_token_verifier::{
    Algorithm, Error, SignatureVerifier, StaticVerifier, TokenVerifier, Verifier,
};
use portcullis_sim::{Answer, Dialect, Worker, World};

use crate::scene::{NEW, NOW, OLD, at, secrets};

/// A worker of a gateway with such a credential, at [`NOW`].
pub(crate) fn gate(dialect: Dialect, kind: &str, fields: &str) -> Worker<ServiceToken> {
    let world = World::new(dialect, 1);
    let config = format!(
        r#"{{"credential":{{"kind":"{kind}",{fields}"secrets":[
            {{"id":"new","value":"{NEW}"}},{{"id":"old","value":"{OLD}"}}]}}}}"#
    );
    world.worker(&config).unwrap()
}

/// What a backend receives of a request that the gateway lets through. Over HTTP/1.1, the host
/// comes as a header.
pub(crate) fn through(
    gate: &Worker<ServiceToken>,
    method: &str,
    path: &str,
    sent: &[(&str, &str)],
) -> Request<()> {
    let pseudo = [
        (":method", method),
        (":path", path),
        (":authority", "Rag.Example"),
    ];
    let (answer, ()) = gate.request("10.0.0.1", &[&pseudo[..], sent].concat());
    let Answer::Passed(headers) = answer else {
        panic!("{answer:?}");
    };
    let mut request = Request::builder();
    for (name, value) in headers {
        request = match name.as_str() {
            ":method" => request.method(value.as_str()),
            ":path" => request.uri(value),
            ":authority" => request.header("host", value),
            _ => request.header(name, value),
        };
    }
    request.body(()).unwrap()
}

fn tokens() -> TokenVerifier {
    let both = secrets(&["old", "new"]);
    TokenVerifier::new(Algorithm::Hs256, both, "https://gate").unwrap()
}

fn signatures() -> Verifier {
    SignatureVerifier::new(secrets(&["old", "new"]))
        .unwrap()
        .into()
}

const NAMES: &str = r#""issuer":"https://gate","subject":"gate","#;

#[test]
fn the_secret_of_a_static_credential() {
    for dialect in Dialect::BOTH {
        let verifier = Verifier::from(StaticVerifier::new(secrets(&["old", "new"])).unwrap());
        let request = through(&gate(dialect, "static", ""), "GET", "/", &[]);
        assert_eq!(verifier.verify(&request, at(NOW)).unwrap().key_id, "new");
        let gate = gate(dialect, "static", r#""header":"x-gate","#);
        let request = through(&gate, "GET", "/", &[("x-service-token", "forged")]);
        assert_eq!(verifier.verify(&request, at(NOW)), Err(Error::WrongSecret));
        let named = StaticVerifier::new(secrets(&["new"])).unwrap();
        let named = Verifier::from(named.header(HeaderName::from_static("x-gate")));
        assert_eq!(named.verify(&request, at(NOW)).unwrap().key_id, "new");
    }
}

#[test]
fn a_token_of_each_algorithm() {
    for (name, algorithm) in [
        ("HS256", Algorithm::Hs256),
        ("HS384", Algorithm::Hs384),
        ("HS512", Algorithm::Hs512),
    ] {
        let gate = gate(
            Dialect::Kong,
            "jwt",
            &format!(r#"{NAMES}"algorithm":"{name}","#),
        );
        let request = through(&gate, "GET", "/", &[]);
        for other in [Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512] {
            let verifier = TokenVerifier::new(other, secrets(&["new"]), "https://gate").unwrap();
            let verified = Verifier::from(verifier).verify(&request, at(NOW));
            if other == algorithm {
                let verified = verified.unwrap();
                assert_eq!(verified.key_id, "new");
                let identity = verified.identity().unwrap();
                assert_eq!(identity.subject.as_deref(), Some("gate"));
                assert_eq!(identity.token_id.as_ref().unwrap().len(), 22);
                assert_eq!(identity.expires, NOW + 60);
            } else {
                assert_eq!(verified, Err(Error::WrongAlgorithm));
            }
        }
    }
}

#[test]
fn a_token_for_an_audience_on_behalf_of_a_caller_until_it_ends() {
    let fields = format!(r#"{NAMES}"audience":"rag","caller_header":"x-user-id","#);
    let gate = gate(Dialect::Envoy, "jwt", &fields);
    let request = through(&gate, "GET", "/", &[("x-user-id", "alice")]);
    let verifier = Verifier::from(tokens().audience("rag"));
    let verified = verifier.verify(&request, at(NOW)).unwrap();
    let identity = verified.identity().unwrap();
    assert_eq!(identity.caller(), Some("alice"));
    assert_eq!(identity.actor.as_deref(), Some("gate"));
    assert!(verifier.verify(&request, at(NOW + 90)).is_ok());
    assert_eq!(verifier.verify(&request, at(NOW + 91)), Err(Error::Expired));
    let other = Verifier::from(tokens().audience("search"));
    assert_eq!(other.verify(&request, at(NOW)), Err(Error::WrongAudience));
    // The one that is kept is good as long as it is sent.
    gate.clock.advance(Span::from_secs(44));
    let kept = through(&gate, "POST", "/other", &[("x-user-id", "alice")]);
    assert!(verifier.verify(&kept, at(NOW + 44)).is_ok());
}

#[test]
fn the_longest_that_a_gateway_can_be_told_to_make_are_accepted() {
    let gate_of = |kind, names: &str| gate(Dialect::Envoy, kind, &format!(r#"{names}"ttl":"1h","#));
    let request = through(&gate_of("jwt", NAMES), "GET", "/", &[]);
    assert!(Verifier::from(tokens()).verify(&request, at(NOW)).is_ok());
    let request = through(&gate_of("http_signature", ""), "GET", "/", &[]);
    assert!(signatures().verify(&request, at(NOW)).is_ok());
}

#[test]
fn a_signature_is_good_for_the_request_that_it_was_made_for_and_for_no_other() {
    for dialect in Dialect::BOTH {
        let gate = gate(dialect, "http_signature", "");
        let verifier = signatures();
        let request = through(&gate, "GET", "/a/b%2F?c=d", &[]);
        let mut elsewhere = request.clone();
        *elsewhere.uri_mut() = "/admin?c=d".parse().unwrap();
        let mut asking = request.clone();
        *asking.uri_mut() = "/a/b%2F?c=e".parse().unwrap();
        let mut writing = request.clone();
        *writing.method_mut() = Method::DELETE;
        let mut other_host = request.clone();
        other_host
            .headers_mut()
            .insert("host", "other".parse().unwrap());
        for other in [elsewhere, asking, writing, other_host] {
            assert_eq!(verifier.verify(&other, at(NOW)), Err(Error::WrongSignature));
        }
        let verified = verifier.verify(&request, at(NOW)).unwrap();
        assert_eq!(verified.key_id, "new");
        assert_eq!(verifier.verify(&request, at(NOW)), Err(Error::Replayed));
        let next = through(&gate, "GET", "/a/b%2F?c=d", &[]);
        assert!(verifier.verify(&next, at(NOW)).is_ok());
    }
}

#[test]
fn each_shape_of_request_is_signed_as_it_is_verified() {
    let gate = gate(Dialect::Envoy, "http_signature", "");
    let digest = (
        "content-digest",
        "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:",
    );
    for (method, path, sent) in [
        ("GET", "/", &[][..]),
        ("GET", "/?", &[]),
        ("GET", "/a?b?c&d=%20", &[]),
        ("GET", "/a/../b//c;d=e", &[]),
        ("OPTIONS", "*", &[]),
        ("POST", "/a", &[digest]),
        (
            "POST",
            "/a",
            &[digest, ("content-digest", "sha-512=:AAAA:")],
        ),
        (
            "GET",
            "/a",
            &[
                ("signature-input", r#"c=("@path");tag="x""#),
                ("signature", "c=:AAAA:"),
            ],
        ),
        (
            "GET",
            "/a",
            &[
                (
                    "signature-input",
                    r#"c=("@path");keyid="new";tag="service-token""#,
                ),
                ("signature", "c=:AAAA:"),
            ],
        ),
    ] {
        let request = through(&gate, method, path, sent);
        let verified = signatures().verify(&request, at(NOW));
        let verified = verified.unwrap_or_else(|error| panic!("{method} {path} {sent:?}: {error}"));
        let has_digest = request.headers().contains_key("content-digest");
        assert_eq!(verified.covers("content-digest"), has_digest);
    }
}

#[test]
fn a_header_that_tells_who_calls_can_be_covered() {
    let components = r#""components":["@method","@authority","@path","@query","x-user-id"],"#;
    let gate = gate(Dialect::Envoy, "http_signature", components);
    let verifier = || {
        let signatures = SignatureVerifier::new(secrets(&["new"])).unwrap();
        Verifier::from(signatures.require_if_there(["x-user-id"]).unwrap())
    };
    let request = through(&gate, "GET", "/", &[("x-user-id", "alice")]);
    assert!(
        verifier()
            .verify(&request, at(NOW))
            .unwrap()
            .covers("x-user-id")
    );
    let mut other = request;
    other
        .headers_mut()
        .insert("x-user-id", "root".parse().unwrap());
    assert_eq!(
        verifier().verify(&other, at(NOW)),
        Err(Error::WrongSignature)
    );
    let mut added = through(&gate, "GET", "/", &[]);
    assert!(verifier().verify(&added, at(NOW)).is_ok());
    added
        .headers_mut()
        .insert("x-user-id", "root".parse().unwrap());
    let refused = Err(Error::NotCovered("x-user-id".to_owned()));
    assert_eq!(verifier().verify(&added, at(NOW)), refused);
}

#[test]
fn a_gateway_whose_clock_is_off_is_accepted_within_the_skew() {
    let gate = gate(Dialect::Envoy, "http_signature", "");
    for (ahead, expected) in [(30, Ok(())), (31, Err(Error::NotYetValid))] {
        let now = u64::try_from(NOW + ahead).unwrap();
        gate.clock.set(Timestamp::from_unix_secs(now));
        let request = through(&gate, "GET", "/", &[]);
        let verified = signatures().verify(&request, at(NOW));
        assert_eq!(verified.map(|_| ()), expected);
    }
}

/// The gateway signs for no caller with a longer name.
#[test]
fn a_token_for_the_caller_with_the_longest_name_is_accepted() {
    let fields = format!(r#"{NAMES}"caller_header":"x-user-id","#);
    let gate = gate(Dialect::Envoy, "jwt", &fields);
    let longest = "x".repeat(1_024);
    let request = through(&gate, "GET", "/", &[("x-user-id", &longest)]);
    let verified = Verifier::from(tokens()).verify(&request, at(NOW)).unwrap();
    assert_eq!(
        verified.identity().unwrap().caller(),
        Some(longest.as_str())
    );
}
