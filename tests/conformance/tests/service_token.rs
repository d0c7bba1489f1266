//! `service_token`, row by row.

use portcullis_conformance::{SERVICE_SECRET, Sent, everywhere};
use portcullis_service_token::ServiceToken;

fn config(rest: &str) -> String {
    format!(
        r#"{{"credential":{{"kind":"static","header":"x-service-token","secrets":[{{"id":"2026-11","env":"INTER_SERVICE_SECRET"}}]}}{rest}}}"#
    )
}

#[test]
fn the_credential_is_injected() {
    everywhere::<ServiceToken>(&config(""), |subject| {
        let seen = subject.ask(Sent::get("/"));
        assert_eq!(
            (seen.refused, seen.header("x-service-token")),
            (None, Some(SERVICE_SECRET))
        );
        assert_eq!(subject.metric("service_token_injected"), 1);
        assert_eq!(subject.metric("service_token_spoofed"), 0);
    });
}

#[test]
fn a_clients_own_is_overwritten_in_any_spelling_and_counted() {
    for name in [
        "x-service-token",
        "X-Service-Token",
        "x_service_token",
        "X-SERVICE_TOKEN",
    ] {
        everywhere::<ServiceToken>(&config(""), |subject| {
            let seen = subject.ask(Sent::get("/").with(name, "forged-by-a-client"));
            let passed: Vec<_> = seen
                .headers
                .iter()
                .filter(|(_, value)| value.contains("forged"))
                .collect();
            assert!(passed.is_empty(), "{name}: {passed:?}");
            if seen.refused.is_none() {
                assert_eq!(seen.header("x-service-token"), Some(SERVICE_SECRET));
            }
            assert_eq!(subject.metric("service_token_spoofed"), 1);
            for line in subject.logs() {
                assert!(
                    !line.contains("forged-by-a-client") && !line.contains(SERVICE_SECRET),
                    "{line}"
                );
            }
        });
    }
}

#[test]
fn a_duplicate_and_one_named_in_connection_are_refused() {
    everywhere::<ServiceToken>(&config(""), |subject| {
        let twice = Sent::get("/")
            .with("x-service-token", "a")
            .with("x-service-token", "b");
        assert_eq!(subject.ask(twice).status(), 400);
        let named = Sent::get("/").with("connection", "close, X-Service-Token");
        assert_eq!(subject.ask(named).status(), 400);
    });
}

#[test]
fn where_nothing_is_injected_a_clients_own_does_not_pass_either() {
    let rest = r#","inject":[{"match":{"paths":[{"prefix":"/api"}]}}]"#;
    everywhere::<ServiceToken>(&config(rest), |subject| {
        assert_eq!(
            subject.ask(Sent::get("/api/x")).header("x-service-token"),
            Some(SERVICE_SECRET)
        );
        let seen = subject.ask(Sent::get("/other").with("x-service-token", "forged"));
        assert_eq!((seen.refused, seen.header("x-service-token")), (None, None));
    });
}

#[test]
fn shadow_and_off_change_nothing() {
    for mode in ["shadow", "off"] {
        everywhere::<ServiceToken>(&config(&format!(r#","mode":"{mode}""#)), |subject| {
            let seen = subject.ask(Sent::get("/").with("x-service-token", "the clients own"));
            assert_eq!(
                (seen.refused, seen.header("x-service-token")),
                (None, Some("the clients own"))
            );
            assert_eq!(subject.metric("service_token_injected"), 0);
            if mode == "shadow" {
                let spoofed = |line: &String| line.contains("event=shadow_spoofed");
                assert!(subject.logs().iter().any(spoofed), "{:?}", subject.logs());
            }
        });
    }
}
