//! `edge`: what only the four together do.

use portcullis_conformance::token::{token, token_with};
use portcullis_conformance::{SERVICE_SECRET, Sent, Subject, Then, everywhere};
use portcullis_edge::Edge;
use serde_json::json;

const CONFIG: &str = r#"{
    "jwt_auth":{"realm":"rag","providers":{"dashboard":{
            "issuer":"https://auth.example","audiences":["rag-api"],"algorithms":["HS256"],
            "keys":[{"secret":{"env":"JWT_SECRET_KEY"},"kid":"k1"}],
            "forward":{"claims":{"sub":"x-user-id"}}}},
        "rules":[{"match":{"paths":[{"prefix":"/api"}]},"require":{"any_of":["dashboard"]}}]},
    "rate_limit":{"capacity":64,"limits":[
            {"name":"per_ip","key":["client_address"],"quota":10,"window":"1m","algorithm":"fixed_window"},
            {"name":"per_user","key":["claim:sub"],"quota":4,"window":"1m","algorithm":"fixed_window","when_key_missing":"deny"}],
        "before_auth":["per_ip"]},
    "circuit_breaker":{"breakers":[{"name":"rag","match":{"paths":[{"prefix":"/api"}]},"trip":{"consecutive_failures":2}}]},
    "service_token":{"credential":{"kind":"static","secrets":[{"id":"a","env":"INTER_SERVICE_SECRET"}]}}}"#;

fn api(token: &str) -> Sent {
    Sent::get("/api/search").with("authorization", &format!("Bearer {token}"))
}

fn user(name: &str) -> Sent {
    api(&token_with(json!({ "sub": name })))
}

#[test]
fn a_good_request_passes_all_four() {
    everywhere::<Edge>(CONFIG, |subject| {
        let (seen, handle) = subject.begin(
            api(&token())
                .with("x-service-token", "forged")
                .with("x-user-id", "root"),
        );
        assert_eq!(seen.refused, None);
        assert_eq!(seen.header("x-user-id"), Some("alice"));
        assert_eq!(seen.header("x-service-token"), Some(SERVICE_SECRET));
        assert_eq!(seen.header("authorization"), None);
        let headers = subject.finish(handle, Then::Upstream(200));
        let limit = headers
            .iter()
            .find(|(name, _)| name == "ratelimit")
            .expect("the header");
        assert_eq!(limit.1, r#""per_ip";r=9;t=60, "per_user";r=3;t=60"#);
    });
}

#[test]
fn a_limit_before_auth_counts_guesses_and_says_so_on_the_refusal() {
    everywhere::<Edge>(CONFIG, |subject| {
        let seen = subject.ask(Sent::get("/api/search"));
        assert_eq!(
            (seen.status(), seen.header("x-ratelimit-remaining")),
            (401, Some("9"))
        );
        for _ in 0..9 {
            assert_eq!(subject.ask(api("guess")).status(), 401);
        }
        assert_eq!(subject.ask(api(&token())).status(), 429);
        assert_eq!(subject.metric("jwt_auth_denied.reason.no_token"), 1);
    });
}

#[test]
fn callers_are_told_apart_by_their_claims_and_not_by_what_they_say_of_themselves() {
    everywhere::<Edge>(CONFIG, |subject| {
        let admitted = |subject: &mut dyn Subject, name: &str| {
            (0..5)
                .filter(|_| {
                    let sent = user(name).with("x-user-id", "carol");
                    subject.ask(sent).refused.is_none()
                })
                .count()
        };
        assert_eq!(admitted(subject, "alice"), 4);
        assert_eq!(admitted(subject, "bob"), 4);
    });
}

#[test]
fn a_refusal_by_the_second_stage_gives_back_the_first_ones_charge() {
    everywhere::<Edge>(CONFIG, |subject| {
        for _ in 0..30 {
            subject.ask(user("alice"));
        }
        // 4 admitted; the 26 refused by per_user are not charged to per_ip.
        let seen = subject.begin(user("bob")).0;
        assert_eq!(seen.refused, None);
    });
}

#[test]
fn an_open_breaker_refuses_with_the_limits_shown_and_after_auth_only() {
    everywhere::<Edge>(CONFIG, |subject| {
        for _ in 0..2 {
            subject.exchange(api(&token()), Then::Upstream(503));
        }
        let seen = subject.ask(api(&token()));
        assert_eq!(
            (seen.status(), seen.header("x-ratelimit-remaining")),
            (503, Some("2"))
        );
        assert!(seen.header("retry-after").is_some());
        assert_eq!(
            subject.metric("service_token_injected"),
            2,
            "not what the breaker refused"
        );
        assert_eq!(subject.ask(Sent::get("/api/search")).status(), 401);
    });
}

#[test]
fn a_probes_permit_is_not_taken_by_a_request_that_is_refused() {
    everywhere::<Edge>(CONFIG, |subject| {
        for _ in 0..2 {
            subject.exchange(api(&token()), Then::Upstream(503));
        }
        subject.advance_millis(60_000);
        let twice = user("bob")
            .with("x-service-token", "a")
            .with("x-service-token", "b");
        assert_eq!(subject.begin(twice).0.status(), 400);
        assert_eq!(subject.begin(Sent::get("/api/search")).0.status(), 401);
        assert_eq!(
            subject.begin(user("bob")).0.refused,
            None,
            "the permit is free"
        );
        assert_eq!(
            subject.begin(user("bob")).0.status(),
            503,
            "and now it is not"
        );
    });
}

#[test]
fn any_part_may_be_absent_but_not_all() {
    everywhere::<Edge>(
        r#"{"service_token":{"credential":{"kind":"static","secrets":[{"id":"a","env":"INTER_SERVICE_SECRET"}]}}}"#,
        |subject| {
            assert_eq!(
                subject.ask(Sent::get("//x")).header("x-service-token"),
                Some(SERVICE_SECRET)
            );
        },
    );
    let refused =
        portcullis_conformance::PolicySubject::<Edge>::new(portcullis_sim::Dialect::Envoy, "{}");
    assert!(
        refused
            .err()
            .expect("an error")
            .to_string()
            .contains("nothing is configured")
    );
}

#[test]
fn what_an_open_breaker_refuses_uses_up_nobodys_quota() {
    everywhere::<Edge>(CONFIG, |subject| {
        for _ in 0..2 {
            subject.exchange(user("a"), Then::Upstream(503));
        }
        for _ in 0..20 {
            let seen = subject.ask(user("a"));
            assert_eq!(seen.status(), 503);
            let left = r#""per_ip";r=8;t=60, "per_user";r=2;t=60"#;
            assert_eq!(seen.header("ratelimit"), Some(left));
        }
        subject.advance_millis(31_000);
        for _ in 0..2 {
            let seen = subject.exchange(user("a"), Then::Upstream(200));
            assert_eq!(seen.refused, None);
        }
        assert_eq!(subject.ask(user("a")).status(), 429);
    });
}
