//! What two parsers could read differently, and what nobody means as it is written: names of headers, hosts, slashes and
//! capitals in paths, preflights.

use portcullis_circuit_breaker::CircuitBreaker;
use portcullis_conformance::token::{token, token_with};
use portcullis_conformance::{Sent, Subject, Then, everywhere};
use portcullis_jwt_auth::JwtAuth;
use portcullis_rate_limit::RateLimit;
use portcullis_service_token::ServiceToken;
use serde_json::{Value, json};

/// A provider that forwards who calls, and these rules.
fn jwt_auth(rules: Value) -> String {
    json!({
        "providers": {"p": {
            "issuer": "https://auth.example", "audiences": ["rag-api"], "algorithms": ["HS256"],
            "keys": [{"secret": {"env": "JWT_SECRET_KEY"}}],
            "forward": {"claims": {"sub": "x-user-id", "tier": "x-tier"}}
        }},
        "rules": rules
    })
    .to_string()
}

fn with_token(sent: Sent) -> Sent {
    sent.with("authorization", &format!("Bearer {}", token()))
}

/// Nothing of what was forged reaches the upstream, unless the request was refused.
fn assert_nothing_forged(subject: &mut dyn Subject, sent: Sent, what: &str) {
    let seen = subject.ask(sent);
    let forged = seen
        .headers
        .iter()
        .any(|(_, value)| value.contains("forged"));
    assert!(!forged, "{what}: {:?}", seen.headers);
}

/// Every way to write a name that a backend may fold into `x-user-id`.
const SPELLINGS: [&str; 8] = [
    "x_user_id",
    "x.user.id",
    "X-User.Id",
    "x~user-id",
    "x!user!id",
    "x-user_id",
    "x|user^id",
    "X*USER*ID",
];

#[test]
fn an_identity_that_a_client_writes_in_any_spelling_does_not_pass() {
    let rules = json!([
        {"match": {"paths": [{"prefix": "/open"}]}, "allow": "anyone"},
        {"match": {"paths": [{"prefix": "/optional"}]}, "require": {"optional": {"any_of": ["p"]}}},
        {"require": {"any_of": ["p"]}}
    ]);
    everywhere::<JwtAuth>(&jwt_auth(rules), |subject| {
        for name in SPELLINGS {
            for path in ["/open", "/optional", "/api"] {
                let sent = Sent::get(path).with(name, "forged");
                assert_nothing_forged(subject, with_token(sent.clone()), name);
                assert_nothing_forged(subject, sent, name);
            }
            // A token without that claim.
            let tier = format!("x{}tier", &name[1..2]);
            let sent = with_token(Sent::get("/api")).with(&tier, "forged");
            assert_nothing_forged(subject, sent, &tier);
            // With the real one beside it, it is there twice.
            let twice = with_token(Sent::get("/api"))
                .with("x-user-id", "a")
                .with(name, "forged");
            assert_eq!(subject.ask(twice).status(), 400, "{name}");
            let named = with_token(Sent::get("/api")).with("connection", &format!("close, {name}"));
            assert_eq!(subject.ask(named).status(), 400, "{name} in connection");
        }
    });
}

#[test]
fn a_token_and_a_credential_in_any_spelling_are_none_of_a_clients() {
    let from_header = jwt_auth(json!([{"require": {"optional": {"any_of": ["p"]}}}])).replacen(
        "\"issuer\"",
        "\"token_from\":[{\"header\":\"x-user-token\"}],\"issuer\"",
        1,
    );
    everywhere::<JwtAuth>(&from_header, |subject| {
        for name in ["x_user_token", "x.user.token", "X~User-Token"] {
            let seen = subject.ask(Sent::get("/").with(name, &token()));
            assert_eq!(seen.status(), 400, "{name}");
        }
    });
    let config =
        r#"{"credential":{"kind":"static","secrets":[{"id":"a","env":"INTER_SERVICE_SECRET"}]}}"#;
    let signature = r#"{"credential":{"kind":"http_signature","secrets":[{"id":"a","env":"INTER_SERVICE_SECRET"}]}}"#;
    for (config, name) in [
        (config, "x.service.token"),
        (config, "X~Service_Token"),
        (signature, "signature.input"),
        (signature, "Signature_Input"),
    ] {
        everywhere::<ServiceToken>(config, |subject| {
            assert_nothing_forged(subject, Sent::get("/").with(name, "forged"), name);
            assert_eq!(subject.metric("service_token_spoofed"), 1, "{name}");
            let named = Sent::get("/").with("connection", name);
            assert_eq!(subject.ask(named).status(), 400, "{name} in connection");
        });
    }
}

#[test]
fn what_is_no_host_is_refused_and_counted_and_given_nothing() {
    let rules = json!([
        {"match": {"hosts": ["admin.test"]}, "require": {"any_of": ["p"], "scopes": ["admin"]}},
        {"allow": "anyone"}
    ]);
    const NO_HOSTS: [&str; 6] = [
        "x@admin.test",
        "admin%2etest",
        "admin.test:80@x",
        "admin..test",
        "admin.test/",
        "admin.test,other.test",
    ];
    everywhere::<JwtAuth>(&jwt_auth(rules), |subject| {
        for host in ["admin.test", "ADMIN.test.:443"] {
            assert_eq!(subject.ask(Sent::get("/").at(host)).status(), 401, "{host}");
        }
        assert_eq!(subject.ask(Sent::get("/").at("other.test")).refused, None);
        for host in NO_HOSTS {
            let seen = subject.ask(Sent::get("/").at(host));
            assert_eq!(seen.status(), 400, "{host}");
            assert!(
                seen.body.contains("ambiguous-host"),
                "{host}: {}",
                seen.body
            );
        }
    });
    let limit = r#"{"limits":[{"name":"l","match":{"hosts":["admin.test"]},"key":["host"],"quota":2,"window":"1h"}]}"#;
    everywhere::<RateLimit>(limit, |subject| {
        let passed = NO_HOSTS
            .iter()
            .filter(|host| subject.ask(Sent::get("/").at(host)).refused.is_none());
        assert_eq!(passed.count(), 2, "all of them share one count");
        assert_eq!(subject.ask(Sent::get("/").at("admin.test")).refused, None);
    });
    let inject = r#"{"credential":{"kind":"static","secrets":[{"id":"a","env":"INTER_SERVICE_SECRET"}]},
        "inject":[{"match":{"hosts":["admin.test"]}}]}"#;
    everywhere::<ServiceToken>(inject, |subject| {
        for host in NO_HOSTS {
            let seen = subject.ask(Sent::get("/").at(host));
            assert_eq!(seen.header("x-service-token"), None, "{host}");
        }
        let seen = subject.ask(Sent::get("/").at("admin.test"));
        assert!(seen.header("x-service-token").is_some());
    });
}

#[test]
fn a_slash_at_the_end_is_under_the_same_rule_limit_breaker_and_credential() {
    let matching = |extra: &str| format!(r#"{{"paths":[{{"exact":"/admin"}}]{extra}}}"#);
    let distinct = r#","trailing_slash":"distinct""#;
    for (extra, same) in [("", true), (distinct, false)] {
        let matching: Value = serde_json::from_str(&matching(extra)).expect("JSON");
        let rules = json!([
            {"match": matching, "require": {"any_of": ["p"], "scopes": ["admin"]}},
            {"allow": "anyone"}
        ]);
        everywhere::<JwtAuth>(&jwt_auth(rules), |subject| {
            assert_eq!(subject.ask(Sent::get("/admin")).status(), 401);
            let expected = if same { 401 } else { 0 };
            for path in ["/admin/", "/admin/?q=1", "/%61dmin/"] {
                assert_eq!(subject.ask(Sent::get(path)).status(), expected, "{path}");
            }
        });
        let limit = json!({"limits": [{"name": "l", "match": matching, "key": ["path"], "quota": 1, "window": "1h"}]});
        everywhere::<RateLimit>(&limit.to_string(), |subject| {
            assert_eq!(subject.ask(Sent::get("/admin")).refused, None);
            let expected = if same { 429 } else { 0 };
            assert_eq!(subject.ask(Sent::get("/admin/")).status(), expected);
        });
        let breaker = json!({"breakers": [{"name": "b", "match": matching, "trip": {"consecutive_failures": 1}}]});
        everywhere::<CircuitBreaker>(&breaker.to_string(), |subject| {
            subject.exchange(Sent::get("/admin/"), Then::Upstream(503));
            let expected = if same { 503 } else { 0 };
            assert_eq!(subject.ask(Sent::get("/admin")).status(), expected);
        });
        let inject = json!({
            "credential": {"kind": "static", "secrets": [{"id": "a", "env": "INTER_SERVICE_SECRET"}]},
            "inject": [{"match": matching}]
        });
        everywhere::<ServiceToken>(&inject.to_string(), |subject| {
            let seen = subject.ask(Sent::get("/admin/"));
            assert_eq!(seen.header("x-service-token").is_some(), same);
        });
    }
}

#[test]
fn capitals_are_under_the_same_rule_where_the_backend_ignores_them() {
    for (case, expected) in [("ignore", 401), ("sensitive", 0)] {
        let rules = json!([
            {"match": {"paths": [{"prefix": "/admin"}], "case": case}, "require": {"any_of": ["p"]}},
            {"allow": "anyone"}
        ]);
        everywhere::<JwtAuth>(&jwt_auth(rules), |subject| {
            assert_eq!(
                subject.ask(Sent::get("/ADMIN/x")).status(),
                expected,
                "{case}"
            );
        });
    }
}

#[test]
fn only_what_a_browser_sends_as_a_preflight_passes_without_a_token_and_uncounted() {
    let preflight = || {
        Sent::new("OPTIONS", "/api")
            .with("origin", "https://app.example")
            .with("access-control-request-method", "POST")
    };
    let others = [
        preflight().with(
            "authorization",
            &format!("Bearer {}", token_with(json!({"aud": "x"}))),
        ),
        preflight().with("cookie", "a=b"),
        preflight().with("content-length", "12"),
        preflight().with("transfer-encoding", "chunked"),
        Sent::new("OPTIONS", "/api")
            .with("origin", "x")
            .with("access-control-request-method", "POST"),
        Sent::new("OPTIONS", "/api")
            .with("origin", "https://app.example")
            .with("access-control-request-method", "a b"),
        Sent::new("OPTIONS", "/api").with("origin", "https://app.example"),
    ];
    everywhere::<JwtAuth>(
        &jwt_auth(json!([{"require": {"any_of": ["p"]}}])),
        |subject| {
            assert_eq!(subject.ask(preflight()).refused, None);
            for sent in &others {
                assert_eq!(subject.ask(sent.clone()).status(), 401, "{sent:?}");
            }
        },
    );
    let limit = r#"{"limits":[{"name":"l","key":["constant"],"quota":2,"window":"1h"}]}"#;
    everywhere::<RateLimit>(limit, |subject| {
        for _ in 0..3 {
            assert_eq!(subject.ask(preflight()).refused, None);
        }
        let passed = others
            .iter()
            .filter(|sent| subject.ask((*sent).clone()).refused.is_none());
        assert_eq!(passed.count(), 2);
    });
}
