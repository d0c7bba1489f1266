//! `kind: jwt`: what a token has to say.

use http::HeaderName;
use portcullis_service_token_verifier::{Algorithm, Error, SetupError, TokenVerifier, Verifier};
use serde_json::json;

use crate::scene::{NOW, at, get, secrets, sent, token};

const HEADER: &str = r#"{"typ":"JWT","alg":"HS256","kid":"new"}"#;

fn tokens() -> TokenVerifier {
    let secrets = secrets(&["new", "old"]);
    TokenVerifier::new(Algorithm::Hs256, secrets, "https://gate").unwrap()
}

fn verifier() -> Verifier {
    tokens().audience("rag").into()
}

/// Good claims, with `more` in place of those of the same name; `null` takes one away.
fn claims(more: serde_json::Value) -> String {
    let mut claims = json!({
        "iss": "https://gate", "sub": "gate", "aud": "rag", "iat": NOW, "exp": NOW + 60, "jti": "id",
    });
    for (name, value) in more.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
        .as_object_mut()
        .unwrap()
        .retain(|_, value| !value.is_null());
    claims.to_string()
}

fn good() -> String {
    token(HEADER, &claims(json!({})), "new")
}

#[test]
fn a_token_says_who_made_it_for_whom() {
    let verified = sent(&verifier(), &[&good()]).unwrap();
    assert_eq!(verified.key_id, "new");
    assert!(!verified.covers("@path"));
    let identity = verified.identity().unwrap();
    assert_eq!(identity.issuer, "https://gate");
    assert_eq!(identity.subject.as_deref(), Some("gate"));
    assert_eq!(identity.token_id.as_deref(), Some("id"));
    assert_eq!(identity.expires, NOW + 60);
    assert_eq!((&identity.actor, &identity.subject_issuer), (&None, &None));
    assert_eq!(identity.caller(), None, "the gateway is no caller");

    let of_alice = claims(json!({
        "sub": "alice", "act": {"sub": "gate", "act": {"sub": "other"}},
        "sub_id": {"format": "iss_sub", "iss": "https://id", "sub": "alice"},
    }));
    let verified = sent(&verifier(), &[&token(HEADER, &of_alice, "new")]).unwrap();
    let alice = verified.identity().unwrap();
    assert_eq!(alice.caller(), Some("alice"));
    assert_eq!(alice.actor.as_deref(), Some("gate"));
    assert_eq!(alice.subject_issuer.as_deref(), Some("https://id"));
}

#[test]
fn every_claim_has_its_rule() {
    for (more, expected) in [
        (json!({}), Ok(())),
        (json!({"aud": ["other", "rag"]}), Ok(())),
        (json!({"aud": "other"}), Err(Error::WrongAudience)),
        (json!({"aud": []}), Err(Error::WrongAudience)),
        (json!({"aud": null}), Err(Error::WrongAudience)),
        (json!({"aud": "Rag"}), Err(Error::WrongAudience)),
        (json!({"iss": "https://gate/"}), Err(Error::WrongIssuer)),
        (json!({"iss": ""}), Err(Error::WrongIssuer)),
        (json!({"iss": null}), Err(Error::WrongIssuer)),
        (json!({"iat": null}), Err(Error::Incomplete("iat"))),
        (json!({"exp": null}), Err(Error::Incomplete("exp"))),
        (json!({"nbf": NOW, "sub": null, "jti": null}), Ok(())),
        (
            json!({"iss": ["https://gate"]}),
            Err(Error::Malformed("the token's claims")),
        ),
        (
            json!({"exp": "1767254460"}),
            Err(Error::Malformed("the token's claims")),
        ),
        (
            json!({"aud": {"rag": 1}}),
            Err(Error::Malformed("the token's claims")),
        ),
        (
            json!({"act": "gate"}),
            Err(Error::Malformed("the token's claims")),
        ),
        (
            json!({"sub_id": {"format": "email", "email": "a@b"}}),
            Ok(()),
        ),
        (
            json!({"sub_id": {"format": "iss_sub", "iss": "https://id", "sub": "bob"}}),
            Err(Error::Malformed("the token's sub_id")),
        ),
        (
            json!({"sub_id": {"format": "iss_sub", "sub": "gate"}}),
            Err(Error::Malformed("the token's sub_id")),
        ),
        // Without `sub_id.iss`, nothing that it could be taken for.
        (
            json!({"sub_id": {}}),
            Err(Error::Malformed("the token's claims")),
        ),
    ] {
        let token = token(HEADER, &claims(more.clone()), "new");
        assert_eq!(sent(&verifier(), &[&token]).map(|_| ()), expected, "{more}");
    }
}

#[test]
fn who_is_called_nothing_takes_no_token_that_is_for_somebody() {
    let verifier = Verifier::from(tokens());
    assert_eq!(sent(&verifier, &[&good()]), Err(Error::WrongAudience));
    let of_all = token(HEADER, &claims(json!({"aud": null})), "new");
    assert!(sent(&verifier, &[&of_all]).is_ok());
    let two = Verifier::from(tokens().audience("rag").audience("search"));
    for audience in ["rag", "search"] {
        let token = token(HEADER, &claims(json!({"aud": audience})), "new");
        assert!(sent(&two, &[&token]).is_ok());
    }
}

#[test]
fn every_header_has_its_rule() {
    for (header, id, expected) in [
        (r#"{"alg":"HS256","kid":"new"}"#, "new", Ok("new")),
        (
            r#"{"alg":"HS256","kid":"old","typ":"jwt"}"#,
            "old",
            Ok("old"),
        ),
        (r#"{"alg":"HS256"}"#, "new", Ok("new")),
        (r#"{"alg":"HS256"}"#, "old", Ok("old")),
        (r#"{"alg":"HS256"}"#, "other", Err(Error::WrongSignature)),
        (
            r#"{"alg":"HS256","kid":"new"}"#,
            "old",
            Err(Error::WrongSignature),
        ),
        (
            r#"{"alg":"HS256","kid":"other"}"#,
            "new",
            Err(Error::UnknownKey),
        ),
        (r#"{"alg":"HS256","kid":""}"#, "new", Err(Error::UnknownKey)),
        (
            r#"{"alg":"HS256","kid":7}"#,
            "new",
            Err(Error::Malformed("the token's header")),
        ),
        (r#"{"alg":"HS512"}"#, "new", Err(Error::WrongAlgorithm)),
        (r#"{"alg":"none"}"#, "new", Err(Error::WrongAlgorithm)),
        (r#"{"alg":"hs256"}"#, "new", Err(Error::WrongAlgorithm)),
        (
            r#"{"kid":"new"}"#,
            "new",
            Err(Error::Malformed("the token's header")),
        ),
        (
            r#"["HS256","new",null]"#,
            "new",
            Err(Error::Malformed("the token's header")),
        ),
        (
            r#"{"alg":"HS256","alg":"HS256"}"#,
            "new",
            Err(Error::Malformed("the token's header")),
        ),
        (
            r#"{"alg":"HS256","crit":["b64"],"b64":false}"#,
            "new",
            Err(Error::Unsupported("a critical header of the token")),
        ),
        (
            r#"{"alg":"HS256","typ":"at+jwt"}"#,
            "new",
            Err(Error::Unsupported("the type of the token")),
        ),
    ] {
        let token = token(header, &claims(json!({})), id);
        let found = sent(&verifier(), &[&token]).map(|verified| verified.key_id);
        assert_eq!(found, expected.map(str::to_owned), "{header} {id}");
    }
}

#[test]
fn what_is_no_token_is_refused() {
    let good = good();
    let unsigned = good.rsplit_once('.').unwrap().0;
    let cut = &good[..good.len() - 3];
    let long = format!("{good}{}", "A".repeat(44));
    let padded = format!("{good}=");
    let huge = format!("{}.{good}", "A".repeat(8_192));
    let list = format!("{good}, {good}");
    for (lines, expected) in [
        (&[][..], Error::Missing),
        (&[""], Error::Missing),
        (&[&good, &good], Error::Repeated),
        (&["Bearer"], Error::Malformed("the token")),
        (&["a.b"], Error::Malformed("the token")),
        (&[unsigned], Error::Malformed("the token")),
        (&[&list], Error::Malformed("the token")),
        (&["..."], Error::Malformed("the token")),
        (&[".."], Error::Malformed("the token's header")),
        (&["e30.e30."], Error::Malformed("the token's header")),
        (&[&format!("{unsigned}.")], Error::WrongSignature),
        (&[&format!("{unsigned}.AA")], Error::WrongSignature),
        (&[cut], Error::WrongSignature),
        (&[&long], Error::WrongSignature),
        (&[&padded], Error::Malformed("the token's signature")),
        (
            &[&format!("Bearer {good}")],
            Error::Malformed("the token's header"),
        ),
        (&[&huge], Error::TooLarge),
    ] {
        assert_eq!(sent(&verifier(), lines), Err(expected), "{lines:?}");
    }
}

#[test]
fn a_flipped_bit_in_any_part_is_noticed() {
    let good = good();
    for index in 0..good.len() {
        for bit in 0..7 {
            let mut bytes = good.clone().into_bytes();
            bytes[index] ^= 1 << bit;
            let Ok(value) = http::HeaderValue::from_bytes(&bytes) else {
                continue;
            };
            let mut request = get("/", &[]);
            request.headers_mut().insert("x-service-token", value);
            let verified = verifier().verify(&request, at(NOW));
            assert!(verified.is_err(), "byte {index}, bit {bit}");
        }
    }
}

#[test]
fn another_header_may_hold_it() {
    let verifier = Verifier::from(
        tokens()
            .audience("rag")
            .header(HeaderName::from_static("x-gate")),
    );
    let verify = |name| verifier.verify(&get("/", &[(name, &good())]), at(NOW));
    assert_eq!(verify("x-gate").unwrap().key_id, "new");
    assert_eq!(verify("x-service-token"), Err(Error::Missing));
}

#[test]
fn what_it_is_made_from_is_checked() {
    let new = |algorithm, issuer: &str| TokenVerifier::new(algorithm, secrets(&["new"]), issuer);
    assert_eq!(
        new(Algorithm::Hs512, "").err(),
        Some(SetupError::EmptyIssuer)
    );
    assert!(new(Algorithm::Hs512, "a").is_ok());
    let secret = portcullis_service_token_verifier::Secret::new("a", "x".repeat(47)).unwrap();
    let short = TokenVerifier::new(Algorithm::Hs384, [secret], "a").err();
    let expected = SetupError::ShortSecret {
        id: "a".to_owned(),
        length: 47,
        shortest: 48,
    };
    assert_eq!(short, Some(expected));
    assert!(!format!("{:?}", verifier()).contains("secret-"));
}
