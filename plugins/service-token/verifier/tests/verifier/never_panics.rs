//! Whatever is sent: an answer.

use std::num::NonZeroUsize;
use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderName, HeaderValue, Request};
use portcullis_service_token_verifier::{
    Algorithm, SignatureVerifier, StaticVerifier, TokenVerifier, Verifier, content_digest_matches,
};
use proptest::prelude::*;

use crate::scene::{NOW, Signing, at, get, secrets, token};

fn verifier() -> Verifier {
    let ids = &["new", "old"];
    let signatures = SignatureVerifier::new(secrets(ids)).unwrap();
    let tokens = TokenVerifier::new(Algorithm::Hs256, secrets(ids), "gate").unwrap();
    Verifier::from(StaticVerifier::new(secrets(ids)).unwrap())
        .or(tokens)
        .or(signatures.nonces(NonZeroUsize::new(2).unwrap()))
}

fn header() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "x-service-token",
        "signature-input",
        "signature",
        "host",
        "content-digest",
    ])
}

/// Bytes, and texts that are close to what is looked for.
fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        "[A-Za-z0-9_-]{0,40}(\\.[A-Za-z0-9_-]{0,60}){0,4}".prop_map(String::into_bytes),
        "[a-z*][a-z0-9]{0,4}=(\\(\"@?[a-z-]{0,9}\"( \"@path\")?\\)|:[A-Za-z0-9+/=]{0,48}:)(;(created|expires|nonce|keyid|tag|alg)=(-?[0-9]{1,16}|\"[ -~]{0,16}\")){0,6}"
            .prop_map(String::into_bytes),
    ]
}

/// A number as JSON has it, also one that no type has.
fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<u64>().prop_map(|number| number.to_string()),
        "-?[1-9][0-9]{0,40}(\\.[0-9]{1,5})?([eE][+-]?[0-9]{1,4})?",
        (NOW - 200..NOW + 200).prop_map(|number| number.to_string()),
    ]
}

fn path() -> impl Strategy<Value = String> {
    "/[ -~]{0,20}".prop_map(|path| path.replace(' ', "+"))
}

proptest! {
    #[test]
    fn no_headers_make_it_panic(
        headers in prop::collection::vec((header(), value()), 0..6),
        path in path(),
        now in any::<u64>(),
    ) {
        let Ok(mut request) = Request::get(path).body(()) else {
            return Ok(());
        };
        for (name, value) in headers {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                request.headers_mut().append(HeaderName::from_static(name), value);
            }
        }
        prop_assert!(verifier().verify(&request, at(NOW)).is_err());
        if let Some(now) = UNIX_EPOCH.checked_add(Duration::from_secs(now)) {
            prop_assert!(verifier().verify(&request, now).is_err());
        }
    }

    #[test]
    fn no_times_of_a_signed_token_make_it_panic(
        iat in number(),
        exp in number(),
        nbf in number(),
        skew in any::<u64>(),
        lifetime in any::<u64>(),
        now in 0_i64..i64::MAX / 4,
    ) {
        let claims = format!(r#"{{"iss":"gate","iat":{iat},"exp":{exp},"nbf":{nbf}}}"#);
        let token = token(r#"{"alg":"HS256"}"#, &claims, "new");
        let request = get("/", &[("x-service-token", &token)]);
        let verifier = TokenVerifier::new(Algorithm::Hs256, secrets(&["new"]), "gate").unwrap();
        let verifier = verifier
            .skew(Duration::from_secs(skew))
            .longest_lifetime(Duration::from_secs(lifetime));
        let _ = Verifier::from(verifier).verify(&request, at(now));
    }

    #[test]
    fn a_signature_is_accepted_within_its_time_only(
        created in NOW - 1_000..NOW + 1_000,
        lasts in -10_i64..1_000,
    ) {
        let expires = created + lasts;
        let signed = Signing::between("n", created, expires).get();
        let is_good = lasts >= 0
            && created <= NOW + 30
            && NOW <= expires + 30
            && NOW <= created + 330;
        prop_assert_eq!(verifier().verify(&signed, at(NOW)).is_ok(), is_good);
    }

    #[test]
    fn no_claims_make_it_panic(claims in "(\\{|\\[)?[ -~]{0,80}(\\}|\\])?") {
        let token = token(r#"{"alg":"HS256"}"#, &claims, "new");
        let request = get("/", &[("x-service-token", &token)]);
        prop_assert!(verifier().verify(&request, at(NOW)).is_err());
    }

    #[test]
    fn no_digest_makes_it_panic(
        digest in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..80),
            "sha-(256|512)=(:[A-Za-z0-9+/=]{0,90}:|[ -~]{0,20})".prop_map(String::into_bytes),
        ],
        body in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        prop_assert!(content_digest_matches(digest, &body).is_err());
    }
}
