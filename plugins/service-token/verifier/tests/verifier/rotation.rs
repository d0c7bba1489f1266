//! From one secret to another, and from one kind to another.

use portcullis_service_token_verifier::{
    Algorithm, Credential, Error, Secret, SignatureVerifier, StaticVerifier, TokenVerifier,
    Verifier,
};

use crate::scene::{NEW, NOW, OLD, Signing, at, get, secrets, sent, token};

/// A credential of each kind, made with the secret of that id.
fn credentials(id: &'static str, nonce: &str) -> [http::Request<()>; 3] {
    let secret = crate::scene::secret_of(id);
    let header = format!(r#"{{"alg":"HS256","kid":"{id}"}}"#);
    let claims = format!(r#"{{"iss":"gate","iat":{NOW},"exp":{}}}"#, NOW + 60);
    let signing = Signing::with(&format!(
        r#";created={NOW};expires={};nonce="{nonce}";keyid="{id}";tag="service-token""#,
        NOW + 60
    ));
    [
        get("/", &[("x-service-token", secret)]),
        get("/", &[("x-service-token", &token(&header, &claims, id))]),
        Signing { id, ..signing }.get(),
    ]
}

fn kinds(ids: &[&str]) -> [Verifier; 3] {
    [
        StaticVerifier::new(secrets(ids)).unwrap().into(),
        tokens(secrets(ids)).into(),
        SignatureVerifier::new(secrets(ids)).unwrap().into(),
    ]
}

fn tokens(secrets: Vec<Secret>) -> TokenVerifier {
    TokenVerifier::new(Algorithm::Hs256, secrets, "gate").unwrap()
}

#[test]
fn a_secret_is_rotated_without_a_request_that_is_refused() {
    let statics = (Err(Error::WrongSecret), Err(Error::WrongSecret));
    let keyed = (Err(Error::UnknownKey), Err(Error::UnknownKey));
    for (known, old, new) in [
        (&["old"][..], true, false),
        (&["new", "old"], true, true),
        (&["old", "new"], true, true),
        (&["new"], false, true),
    ] {
        let verifiers = kinds(known).into_iter().zip([&statics, &keyed, &keyed]);
        for ((index, (verifier, refused)), (by_old, by_new)) in verifiers
            .enumerate()
            .zip(credentials("old", "o").iter().zip(&credentials("new", "n")))
        {
            let found = |request: &http::Request<()>| {
                let verified = verifier.verify(request, at(NOW));
                verified.map(|verified| verified.key_id)
            };
            let expected = |is_known, id: &str, refused: &Result<String, Error>| {
                if is_known {
                    Ok(id.to_owned())
                } else {
                    refused.clone()
                }
            };
            assert_eq!(
                found(by_old),
                expected(old, "old", &refused.0),
                "{known:?} {index}"
            );
            assert_eq!(
                found(by_new),
                expected(new, "new", &refused.1),
                "{known:?} {index}"
            );
        }
    }
}

#[test]
fn any_of_several_kinds_may_accept() {
    let [statics, tokens, signatures] = kinds(&["new"]);
    let all = statics.or(tokens).or(signatures);
    let [bare, token, signed] = credentials("new", "n");
    let kind = |request| all.verify(request, at(NOW)).unwrap().credential;
    assert_eq!(kind(&bare), Credential::Static);
    assert!(matches!(kind(&token), Credential::Jwt(_)));
    assert!(matches!(kind(&signed), Credential::HttpSignature(_)));
    assert_eq!(all.verify(&signed, at(NOW)), Err(Error::Replayed));
    assert_eq!(all.verify(&get("/", &[]), at(NOW)), Err(Error::Missing));
}

#[test]
fn what_is_said_of_several_refusals_is_that_of_the_credential_which_got_furthest() {
    let [statics, tokens, signatures] = kinds(&["new"]);
    let all = statics.or(tokens).or(signatures);
    assert_eq!(sent(&all, &["guess"]), Err(Error::WrongSecret));
    assert_eq!(sent(&all, &[OLD]), Err(Error::WrongSecret));
    assert_eq!(sent(&all, &[NEW, NEW]), Err(Error::Repeated));
    let claims = format!(r#"{{"iss":"gate","iat":{NOW},"exp":{}}}"#, NOW + 60);
    let old = token(r#"{"alg":"HS256","kid":"old"}"#, &claims, "old");
    assert_eq!(sent(&all, &[&old]), Err(Error::UnknownKey));
    let [_, late, signed] = credentials("new", "n");
    assert_eq!(all.verify(&late, at(NOW + 91)), Err(Error::Expired));
    assert_eq!(all.verify(&signed, at(NOW + 91)), Err(Error::Expired));
    // Nothing is lost by what stands beside a good one.
    let mut both = signed;
    both.headers_mut()
        .insert("x-service-token", "guess".parse().unwrap());
    assert!(all.verify(&both, at(NOW)).is_ok());
}

#[test]
fn an_error_has_a_status_a_word_and_a_text_that_repeats_nothing() {
    for (error, status, reason) in [
        (Error::Missing, 401, "missing"),
        (Error::Repeated, 400, "repeated"),
        (Error::TooLarge, 400, "too_large"),
        (Error::Malformed("the token"), 400, "malformed"),
        (Error::WrongSecret, 401, "wrong_secret"),
        (Error::WrongAlgorithm, 401, "wrong_algorithm"),
        (
            Error::Unsupported("the type of the token"),
            401,
            "unsupported",
        ),
        (Error::UnknownKey, 401, "unknown_key"),
        (Error::WrongSignature, 401, "wrong_signature"),
        (Error::Incomplete("exp"), 401, "incomplete"),
        (Error::WrongIssuer, 401, "wrong_issuer"),
        (Error::WrongAudience, 401, "wrong_audience"),
        (Error::NotYetValid, 401, "not_yet_valid"),
        (Error::Expired, 401, "expired"),
        (Error::LivesTooLong, 401, "lives_too_long"),
        (Error::TooOld, 401, "too_old"),
        (Error::NotCovered("@path".to_owned()), 401, "not_covered"),
        (Error::Absent, 401, "absent"),
        (Error::Replayed, 401, "replayed"),
        (Error::NoncesFull, 503, "nonces_full"),
    ] {
        assert_eq!((error.status().as_u16(), error.reason()), (status, reason));
        assert!(error.to_string().len() > 10);
    }
    // A marker in every place that a client can write to.
    let [statics, tokens, signatures] = kinds(&["new"]);
    let all = statics.or(tokens).or(signatures);
    let marked = r#"hunter2=("hunter2");keyid="hunter2";tag="service-token";nonce="hunter2""#;
    for (name, value) in [
        ("x-service-token", "hunter2"),
        ("x-service-token", "hunter2.hunter2.hunter2"),
        (
            "x-service-token",
            &token(r#"{"alg":"hunter2","kid":"hunter2"}"#, "{}", "hunter2"),
        ),
        (
            "x-service-token",
            &token(r#"{"alg":"HS256"}"#, r#"{"iss":"hunter2"}"#, "new"),
        ),
        ("signature-input", marked),
    ] {
        let beside = [(name, value), ("signature", "hunter2=:AAAA:")];
        let error = all.verify(&get("/hunter2", &beside), at(NOW)).unwrap_err();
        assert!(
            !format!("{error} {error:?}").contains("hunter2"),
            "{error:?}"
        );
    }
}
