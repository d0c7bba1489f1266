//! What stands around a token.

use super::*;

#[test]
fn two_tokens() {
    assert_refused(|| {
        let twice = api(&token()).with("authorization", &format!("Bearer {}", token()));
        let joined =
            Sent::get("/api/x").with("authorization", &format!("Bearer {0},Bearer {0}", token()));
        vec![
            ("twice the header", twice, 400, "several_tokens"),
            ("joined by the gateway", joined, 400, "several_tokens"),
        ]
    });
}

#[test]
fn claim_headers_that_a_client_writes() {
    everywhere::<JwtAuth>(&config(), |subject| {
        let forged = |sent: Sent| sent.with("X-User-ID", "root").with("x-tenant", "1");
        for sent in [forged(api(&token())), forged(Sent::get("/health"))] {
            let named = sent.path.clone();
            let seen = subject.ask(sent);
            assert_eq!(seen.refused, None, "{named}: once");
            assert!(
                !seen.headers.iter().any(|(_, value)| value == "root"),
                "{named}"
            );
        }
        for twice in [
            ["x-user-id", "x-user-id"],
            ["x-user-id", "X_User_Id"],
            ["x_tenant", "x-tenant"],
        ] {
            let sent = api(&token()).with(twice[0], "root").with(twice[1], "root");
            assert_eq!(subject.ask(sent).status(), 400, "{twice:?}");
        }
        let folded = subject.ask(api(&token()).with("x_user_id", "root"));
        assert!(folded.refused.is_some() || !folded.headers.iter().any(|(_, v)| v == "root"));
    });
}

#[test]
fn a_forwarded_claim_with_control_characters() {
    assert_refused(|| {
        let sub = |sub: &str| {
            let claims = with(claims(), "sub", json!(sub));
            api(&sign(
                &json!({"alg": "HS256", "kid": "k1"}),
                &claims,
                JWT_SECRET,
            ))
        };
        vec![
            ("CR LF", sub("a\r\nx-admin: 1"), 401, "claim_unsafe"),
            ("LF", sub("a\nb"), 401, "claim_unsafe"),
            ("NUL", sub("a\u{0}"), 401, "claim_unsafe"),
            ("DEL", sub("a\u{7f}"), 401, "claim_unsafe"),
            ("C1", sub("a\u{85}"), 401, "claim_unsafe"),
            ("a space before it", sub(" alice"), 401, "claim_unsafe"),
        ]
    });
}

#[test]
fn path_tricks() {
    const TRICKS: [&str; 16] = [
        "/health/../api/x",
        "/health/./x",
        "/health/%2e%2e/api/x",
        "/health/%2E./api/x",
        "/health%2f..%2fapi/x",
        "/health%5c..%5capi/x",
        "/health\\..\\api",
        "/health;x",
        "/health;/../api",
        "//health",
        "/health//",
        "/health%00",
        "/health%",
        "/health%zz",
        "/health%2",
        "/health#/../api/x",
    ];
    everywhere::<JwtAuth>(&config(), |subject| {
        for path in TRICKS {
            let seen = subject.ask(Sent::get(path));
            assert_eq!(seen.status(), 400, "{path}");
        }
        for path in ["/Health", "/health/x", "/health%20", "/healthy"] {
            assert_eq!(
                subject.ask(Sent::get(path)).status(),
                403,
                "{path}: no rule"
            );
        }
        for same in ["/%68ealth?x=/../api", "/health/"] {
            assert_eq!(subject.ask(Sent::get(same)).refused, None, "{same}");
        }
    });
}

#[test]
fn a_host_is_the_same_in_any_case_and_only_it_opens_its_rule() {
    everywhere::<JwtAuth>(&config(), |subject| {
        let host = |host: &str| Sent::get("/internal/x").at(host);
        for own in [
            "internal.example",
            "INTERNAL.Example",
            "internal.example:8443",
            "internal.example.",
        ] {
            assert_eq!(subject.ask(host(own)).refused, None, "{own}");
        }
        for (other, status) in [
            ("internal.example.evil", 403),
            ("xinternal.example", 403),
            ("internal.example@evil", 400),
            ("evil@internal.example", 400),
        ] {
            assert_eq!(subject.ask(host(other)).status(), status, "{other}");
        }
    });
}

#[test]
fn preflight_look_alikes() {
    assert_refused(|| {
        let preflight = |method: &str| {
            Sent::new(method, "/api/x")
                .with("origin", "http://localhost:3103")
                .with("access-control-request-method", "GET")
        };
        let options = |headers: &[(&str, &str)]| {
            let options = Sent::new("OPTIONS", "/api/x");
            headers
                .iter()
                .fold(options, |sent, (name, value)| sent.with(name, value))
        };
        vec![
            (
                "GET with a preflight's headers",
                preflight("GET"),
                401,
                "no_token",
            ),
            (
                "POST with a preflight's headers",
                preflight("POST"),
                401,
                "no_token",
            ),
            (
                "options in lower case",
                preflight("options"),
                401,
                "no_token",
            ),
            (
                "OPTIONS without an origin",
                options(&[("access-control-request-method", "GET")]),
                401,
                "no_token",
            ),
            (
                "OPTIONS without a method",
                options(&[("origin", "http://a")]),
                401,
                "no_token",
            ),
        ]
    });
}
