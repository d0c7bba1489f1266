//! `jwt_auth`, row by row.

use portcullis_conformance::token::{claims, sign, token, token_with};
use portcullis_conformance::{JWT_SECRET, Sent, Subject, everywhere};
use portcullis_jwt_auth::JwtAuth;
use serde_json::json;

fn config(rest: &str) -> String {
    format!(
        r#"{{"realm":"rag","providers":{{"dashboard":{{
            "issuer":"https://auth.example","audiences":["rag-api"],"algorithms":["HS256"],
            "keys":[{{"secret":{{"env":"JWT_SECRET_KEY"}},"kid":"k1"}}],
            "forward":{{"claims":{{"sub":"x-user-id","tenant.id":"x-tenant","nickname":"x-nickname"}}}}}}}},
        "rules":[
            {{"match":{{"paths":[{{"exact":"/health"}}],"methods":["GET"]}},"allow":"anyone"}},
            {{"match":{{"paths":[{{"prefix":"/api/admin"}}]}},"require":{{"any_of":["dashboard"],"scopes":["rag:admin"]}}}},
            {{"match":{{"paths":[{{"prefix":"/api"}}]}},"require":{{"any_of":["dashboard"],"scopes":["rag:read"]}}}}]{rest}}}"#
    )
}

fn bearer(sent: Sent, token: &str) -> Sent {
    sent.with("authorization", &format!("Bearer {token}"))
}

#[test]
fn a_good_token_passes_its_claims_go_on_and_the_token_does_not() {
    everywhere::<JwtAuth>(&config(""), |subject| {
        for _ in 0..2 {
            let seen = subject.ask(bearer(Sent::get("/api/x"), &token()));
            assert_eq!(seen.refused, None);
            assert_eq!(seen.header("x-user-id"), Some("alice"));
            assert_eq!(seen.header("x-tenant"), Some("7"));
            assert_eq!(seen.header("authorization"), None);
        }
        assert_eq!(subject.metric("jwt_auth_allowed.provider.dashboard"), 2);
        assert_eq!(subject.metric("jwt_auth_cache_misses"), 1);
        assert_eq!(subject.metric("jwt_auth_cache_hits"), 1);
        // That one is remembered says nothing of another signature of the same claims.
        let token = token();
        let (claims, signature) = token.rsplit_once('.').expect("a signature");
        let first = if signature.starts_with('A') { "B" } else { "A" };
        let changed = format!("{claims}.{first}{}", &signature[1..]);
        let seen = subject.ask(bearer(Sent::get("/api/x"), &changed));
        assert_eq!(seen.status(), 401);
        assert_eq!(subject.metric("jwt_auth_cache_misses"), 2);
    });
}

#[test]
fn a_claim_header_that_a_client_forges_never_passes() {
    everywhere::<JwtAuth>(&config(""), |subject| {
        let forged = |sent: Sent| {
            sent.with("X-User-Id", "root")
                .with("x-nickname", "root")
                .with("x-other", "kept")
        };
        let seen = subject.ask(forged(bearer(Sent::get("/api/x"), &token())));
        assert_eq!(seen.refused, None);
        assert_eq!(
            (seen.header("x-user-id"), seen.header("x-tenant")),
            (Some("alice"), Some("7"))
        );
        assert_eq!(
            (seen.header("x-nickname"), seen.header("x_tenant")),
            (None, None)
        );
        let seen = subject.ask(forged(Sent::get("/health")));
        assert_eq!(seen.refused, None);
        for name in ["x-user-id", "x-tenant", "x_tenant", "x-nickname"] {
            assert_eq!(seen.header(name), None, "{name}");
        }
        assert_eq!(seen.header("x-other"), Some("kept"));
        let twice = Sent::get("/health")
            .with("x-user-id", "a")
            .with("x-user-id", "b");
        assert_eq!(subject.ask(twice).status(), 400);
    });
}

#[test]
fn a_spelling_that_a_backend_folds_into_a_claim_header_does_not_reach_it() {
    everywhere::<JwtAuth>(&config(""), |subject| {
        for sent in [bearer(Sent::get("/api/x"), &token()), Sent::get("/health")] {
            let seen = subject.ask(sent.with("x_tenant", "forged"));
            // Where a header can't be removed the request is refused: emptied it would still be
            // joined with ours.
            if seen.refused.is_none() {
                assert!(!seen.headers.iter().any(|(name, _)| name == "x_tenant"));
            }
        }
    });
}

#[test]
fn a_path_is_judged_as_it_goes_to_the_upstream_and_not_as_nginx_shows_it() {
    everywhere::<JwtAuth>(&config(""), |subject| {
        for path in [
            "/health%3fx%2fy/../api/x?q=x",
            "/health%2f..%2fapi/x",
            "/api/../health",
            "//health",
            "/health;x",
            "/api%3bx/health",
        ] {
            assert_eq!(subject.ask(Sent::get(path)).status(), 400, "{path}");
        }
    });
}

#[test]
fn refusals_say_what_rfc_6750_says_and_no_more() {
    everywhere::<JwtAuth>(&config(""), |subject| {
        let challenge = |subject: &mut dyn Subject, sent: Sent| {
            let seen = subject.ask(sent);
            assert_eq!(
                seen.header("content-type"),
                Some("application/problem+json")
            );
            (
                seen.status(),
                seen.header("www-authenticate").unwrap_or("").to_owned(),
            )
        };
        let api = || Sent::get("/api/x");
        assert_eq!(
            challenge(subject, api()),
            (401, r#"Bearer realm="rag""#.to_owned())
        );
        let basic = api().with("authorization", "Basic YTpi");
        assert_eq!(
            challenge(subject, basic),
            (401, r#"Bearer realm="rag""#.to_owned())
        );
        let invalid = (
            401,
            r#"Bearer realm="rag", error="invalid_token""#.to_owned(),
        );
        for bad in [
            "not-a-token".to_owned(),
            sign(
                &json!({ "alg": "HS256", "kid": "k1" }),
                &claims(),
                "another-secret-of-at-least-32-bytes!",
            ),
            sign(&json!({ "alg": "none" }), &claims(), JWT_SECRET),
            sign(
                &json!({ "alg": "HS512", "kid": "k1" }),
                &claims(),
                JWT_SECRET,
            ),
            sign(
                &json!({ "alg": "HS256", "kid": "k2" }),
                &claims(),
                JWT_SECRET,
            ),
            token_with(json!({ "iss": "https://evil.example" })),
            token_with(json!({ "aud": "other" })),
            token_with(json!({ "exp": 1 })),
            token_with(json!({ "exp": "9999999999" })),
            token_with(json!({ "nbf": 9_999_999_999_u64 })),
            token_with(json!({ "iat": 9_999_999_999_u64 })),
        ] {
            assert_eq!(challenge(subject, bearer(api(), &bad)), invalid, "{bad}");
        }
        let (status, scope) = challenge(subject, bearer(Sent::get("/api/admin"), &token()));
        assert_eq!(status, 403);
        assert!(
            scope.contains(r#"error="insufficient_scope""#) && scope.contains("rag:admin"),
            "{scope}"
        );
        let two = bearer(bearer(api(), &token()), &token());
        assert_eq!(challenge(subject, two).0, 400);
        for line in subject.logs() {
            assert!(!line.contains(&token()[..20]), "a token in the log: {line}");
        }
    });
}

#[test]
fn a_token_ends_with_its_exp_also_when_it_was_seen_before() {
    everywhere::<JwtAuth>(&config(""), |subject| {
        let ask =
            |subject: &mut dyn Subject| subject.ask(bearer(Sent::get("/api/x"), &token())).status();
        assert_eq!(ask(subject), 0);
        subject.advance_millis(629_000);
        assert_eq!(ask(subject), 0, "within the leeway of 30 s");
        subject.advance_millis(2_000);
        assert_eq!(ask(subject), 401);
    });
}

#[test]
fn what_no_rule_names_is_refused_and_a_path_with_two_readings_has_no_rule() {
    everywhere::<JwtAuth>(&config(""), |subject| {
        assert!(matches!(
            subject.ask(bearer(Sent::get("/other"), &token())).status(),
            401 | 403
        ));
        assert!(subject.ask(Sent::new("POST", "/health")).refused.is_some());
        for path in [
            "/health/../api/x",
            "/api//x",
            "/health%2f..",
            "/health\\x",
            "/health%00",
            "/api/%zz",
            "/a/..;/health",
        ] {
            assert_eq!(subject.ask(Sent::get(path)).status(), 400, "{path}");
        }
        assert_eq!(subject.ask(Sent::get("/healt%68?x=1")).refused, None);
    });
}

#[test]
fn a_preflight_passes_and_what_only_looks_like_one_does_not() {
    everywhere::<JwtAuth>(&config(""), |subject| {
        let origin = || Sent::new("OPTIONS", "/api/x").with("origin", "http://localhost:3103");
        assert_eq!(
            subject
                .ask(origin().with("access-control-request-method", "GET"))
                .refused,
            None
        );
        assert_eq!(subject.ask(origin()).status(), 401);
        let get = Sent::get("/api/x")
            .with("origin", "http://a")
            .with("access-control-request-method", "GET");
        assert_eq!(subject.ask(get).status(), 401);
    });
}

#[test]
fn shadow_decides_counts_and_logs_and_lets_pass() {
    everywhere::<JwtAuth>(&config(r#","mode":"shadow""#), |subject| {
        let seen = subject.ask(Sent::get("/api/x").with("x-user-id", "root"));
        assert_eq!((seen.refused, seen.header("x-user-id")), (None, None));
        assert_eq!(subject.metric("jwt_auth_denied.reason.no_token"), 1);
        assert!(
            subject
                .logs()
                .iter()
                .any(|line| line.contains("event=shadow_refused reason=no_token"))
        );
    });
}

#[test]
fn off_does_nothing() {
    everywhere::<JwtAuth>(&config(r#","mode":"off""#), |subject| {
        let seen = subject.ask(Sent::get("//any").with("x-user-id", "kept"));
        assert_eq!(
            (seen.refused, seen.header("x-user-id")),
            (None, Some("kept"))
        );
    });
}

#[test]
fn a_grpc_client_without_a_token_gets_its_refusal_as_a_status() {
    everywhere::<JwtAuth>(&config(""), |subject| {
        let call = Sent::new("POST", "/api/x").with("content-type", "application/grpc");
        let seen = subject.ask(call);
        assert!(seen.refused.is_some());
        // As a policy it is still the adapter's to put into words.
        if seen.status() == 200 {
            assert_eq!(seen.header("grpc-status"), Some("16"));
        }
    });
}
