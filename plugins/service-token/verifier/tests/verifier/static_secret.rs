//! `kind: static`.

use http::HeaderName;
use portcullis_service_token_verifier::{
    Credential, Error, Secret, SetupError, StaticVerifier, Verifier,
};

use crate::scene::{NEW, NOW, OLD, at, get, secrets, sent};

fn verifier() -> Verifier {
    StaticVerifier::new(secrets(&["new", "old"]))
        .unwrap()
        .into()
}

#[test]
fn each_secret_is_accepted_and_says_which_it_is() {
    for (secret, id) in [(NEW, "new"), (OLD, "old")] {
        let verified = sent(&verifier(), &[secret]).unwrap();
        assert_eq!(verified.key_id, id);
        assert_eq!(verified.credential, Credential::Static);
        assert_eq!(verified.identity(), None);
        assert!(!verified.covers("@path"));
    }
}

#[test]
fn whatever_else_is_sent_is_refused() {
    let list = format!("{NEW}, {NEW}");
    let flipped = NEW.replacen('n', "o", 1);
    let upper = NEW.to_uppercase();
    let long = "x".repeat(8_193);
    for (lines, error) in [
        (&[][..], Error::Missing),
        (&[""], Error::Missing),
        (&[NEW, NEW], Error::Repeated),
        (&["forged", NEW], Error::Repeated),
        (&["", NEW], Error::Repeated),
        (&[&list], Error::WrongSecret),
        (&[&flipped], Error::WrongSecret),
        (&[&upper], Error::WrongSecret),
        (&[&NEW[1..]], Error::WrongSecret),
        (&["${INTER_SERVICE_SECRET}"], Error::WrongSecret),
        (&[&long], Error::TooLarge),
    ] {
        assert_eq!(sent(&verifier(), lines), Err(error), "{lines:?}");
    }
}

#[test]
fn another_header_may_hold_it() {
    let gate = StaticVerifier::new(secrets(&["new"])).unwrap();
    let verifier = Verifier::from(gate.header(HeaderName::from_static("x-gate")));
    let verify = |name| verifier.verify(&get("/", &[(name, NEW)]), at(NOW));
    assert_eq!(verify("x-gate").unwrap().key_id, "new");
    assert_eq!(verify("x-service-token"), Err(Error::Missing));
}

#[test]
fn a_secret_that_no_header_could_equal_or_anybody_could_guess_is_refused() {
    let error = |secret| StaticVerifier::new([Secret::new("a", secret).unwrap()]).err();
    let id = || "a".to_owned();
    for secret in [
        format!("{NEW}\n"),
        format!(" {NEW}"),
        format!("{NEW}\u{e9}"),
    ] {
        assert_eq!(
            error(secret),
            Some(SetupError::NotVisibleAscii { id: id() })
        );
    }
    let short = SetupError::ShortSecret {
        id: id(),
        length: 7,
        shortest: 32,
    };
    assert_eq!(error("hunter2".to_owned()), Some(short));
    let allowed = Secret::new("a", "hunter2").unwrap().allow_short();
    let verifier = Verifier::from(StaticVerifier::new([allowed]).unwrap());
    assert_eq!(sent(&verifier, &["hunter2"]).unwrap().key_id, "a");
}

#[test]
fn debug_shows_ids_only() {
    let shown = format!("{:?}", verifier());
    assert!(shown.contains(r#"["new", "old"]"#), "{shown}");
    assert!(!shown.contains("secret-"), "{shown}");
}
