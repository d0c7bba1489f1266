//! What becomes of requests.

use portcullis_policy::{ClockUnavailable, HostFailure, Policy as _, Ports, Timestamp};

use super::*;

const ALICE: [(&str, &str); 3] = [
    ("x-tenant", "7"),
    ("x-user-id", "alice"),
    ("x-user-scopes", "rag:read rag:write"),
];

#[test]
fn a_good_token_passes_and_the_backend_sees_who_calls_but_not_the_token() {
    let gateway = Gateway::new(config());
    let mut seen = None;
    let outcome = gateway.ask("GET", "/api/x?q=1", &[bearer(&claims())], |flow| {
        seen = Some((
            flow.provider().map(str::to_owned),
            claim(flow, "tenant.tier"),
        ));
    });
    assert_eq!(outcome, passed(&ALICE));
    assert_eq!(
        seen,
        Some((Some("dashboard".into()), Some("\"tin\"".into())))
    );
    assert_eq!(gateway.count("jwt_auth_allowed.provider.dashboard"), 1);
    assert!(gateway.world.lines.borrow().is_empty());
}

#[test]
fn a_request_without_a_host_is_refused_only_where_a_rule_tells_hosts_apart() {
    let status = |gateway: &Gateway, host: Option<&str>| {
        let (name, token) = bearer(&claims());
        let head = [(":method", "GET"), (":path", "/api/x"), (name, &*token)];
        let host = host.map(|host| (":authority", host));
        let headers = Headers::from_pairs(head.into_iter().chain(host));
        let request = Request::new(&headers, &gateway.world);
        match gateway.policy.on_request(&request, &gateway.ports()).0 {
            Verdict::Read { .. } | Verdict::Wait { .. } => panic!("no body decides"),
            Verdict::Refuse(reply) => reply.status,
            Verdict::Continue(_) => 200,
        }
    };
    let mut config = config();
    assert_eq!(status(&Gateway::new(config.clone()), None), 200);
    config["rules"][1]["match"]["hosts"] = json!(["company.example"]);
    let gateway = Gateway::new(config);
    assert_eq!(status(&gateway, Some("rag.example")), 200);
    assert_eq!(status(&gateway, None), 400);
    assert_eq!(gateway.last_reason().as_deref(), Some("ambiguous_host"));
}

#[test]
fn a_token_may_be_kept_and_come_from_elsewhere() {
    let gateway = Gateway::new(config());
    let claims = with(
        with(claims(), "iss", json!(COMPANY)),
        "groups",
        json!(["a", "b"]),
    );
    let token = sign(COMPANY_SECRET, &json!({"alg": "HS256"}), &claims);
    let outcome = gateway.get("/api/x", &[("X-Company-Token", token.clone())]);
    assert_eq!(
        outcome,
        passed(&[
            ("x-company-token", &token),
            ("x-groups", "a b"),
            ("x-user-id", "alice")
        ])
    );
    assert_eq!(gateway.count("jwt_auth_allowed.provider.company"), 1);
}

#[test]
fn a_provider_is_not_believed_where_its_tokens_do_not_come_from() {
    let gateway = Gateway::new(config());
    assert_eq!(
        gateway.get("/api/x", &[("x-company-token", token(&claims()))]),
        refused(401, "Bearer realm=\"rag\", error=\"invalid_token\"")
    );
    assert_eq!(gateway.last_reason().as_deref(), Some("unknown_issuer"));
}

#[test]
fn what_a_client_forges_never_arrives() {
    let gateway = Gateway::new(config());
    let forged = lines(&[
        ("X-User-Id", "root"),
        ("x_tenant", "1"),
        ("x-groups", "admin"),
    ]);
    let mut with_token = forged.clone();
    with_token.push(bearer(&claims()));
    assert_eq!(gateway.get("/api/x", &with_token), passed(&ALICE));
    assert_eq!(gateway.get("/health", &forged), passed(&[]));
    let mut preflight = forged;
    preflight.extend(lines(&[
        ("origin", "https://o.example"),
        ("access-control-request-method", "GET"),
    ]));
    assert_eq!(
        gateway.ask("OPTIONS", "/api/x", &preflight, |_| ()),
        passed(&[
            ("access-control-request-method", "GET"),
            ("origin", "https://o.example")
        ])
    );
}

#[test]
fn a_claim_that_is_absent_empties_its_header() {
    let gateway = Gateway::new(config());
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove("tenant");
    let outcome = gateway.get("/api/x", &[bearer(&claims), ("x-tenant", "1".into())]);
    assert_eq!(outcome, passed(&ALICE[1..]));
}

#[test]
fn an_identity_header_that_comes_twice_is_refused_on_every_rule() {
    let gateway = Gateway::new(config());
    for twice in [
        [("x-user-id", "a"), ("X-User-Id", "b")],
        [("x-user-id", "a"), ("x_user_id", "b")],
        [("x-groups", "a"), ("x-groups", "a")],
    ] {
        let mut headers = lines(&twice);
        assert_eq!(
            gateway.get("/health", &headers),
            refused(400, ""),
            "{twice:?}"
        );
        headers.push(bearer(&claims()));
        assert_eq!(
            gateway.get("/api/x", &headers),
            refused(400, ""),
            "{twice:?}"
        );
    }
    assert_eq!(
        gateway.count("jwt_auth_denied.reason.duplicate_identity"),
        6
    );
}

#[test]
fn a_refusal_says_what_rfc_6750_says() {
    let gateway = Gateway::new(config());
    let token = || bearer(&claims());
    let basic = || ("authorization", "Basic dTpw".to_owned());
    for (path, headers, expected) in [
        ("/api/x", vec![], refused(401, "Bearer realm=\"rag\"")),
        (
            "/api/x",
            vec![basic()],
            refused(401, "Bearer realm=\"rag\""),
        ),
        (
            "/api/x",
            vec![("authorization", "Bearer x".to_owned())],
            refused(401, "Bearer realm=\"rag\", error=\"invalid_token\""),
        ),
        (
            "/api/x",
            vec![token(), token()],
            refused(400, "Bearer realm=\"rag\", error=\"invalid_request\""),
        ),
        (
            "/api/x",
            vec![token(), ("x-company-token", "x".to_owned())],
            refused(400, "Bearer realm=\"rag\", error=\"invalid_request\""),
        ),
        (
            "/api/x",
            vec![bearer(&with(claims(), "scope", json!("rag:write")))],
            refused(
                403,
                "Bearer realm=\"rag\", error=\"insufficient_scope\", scope=\"rag:read\"",
            ),
        ),
        (
            "/gold/x",
            vec![token()],
            refused(403, "Bearer realm=\"rag\", error=\"insufficient_scope\""),
        ),
        ("/elsewhere", vec![token()], refused(403, "")),
        ("/api/../health", vec![token()], refused(400, "")),
    ] {
        assert_eq!(gateway.get(path, &headers), expected, "{path} {headers:?}");
    }
}

#[test]
fn a_refusal_is_counted_by_reason_and_logged_without_the_token() {
    let gateway = Gateway::new(config());
    let expired = token(&with(claims(), "exp", json!(NOW - 31)));
    let headers = [
        ("authorization", format!("Bearer {expired}")),
        ("x-request-id", "id-1".to_owned()),
    ];
    gateway.get("/api/x?access_token=secret", &headers);
    let mark = crate::naming::mark(expired.as_bytes()).unwrap();
    assert_eq!(
        *gateway.world.lines.borrow(),
        [format!(
            "plugin=jwt_auth event=refused reason=expired status=401 method=GET path=/api/x \
          request_id=id-1 provider=dashboard token={mark}"
        )]
    );
    assert_eq!(gateway.count("jwt_auth_denied.reason.expired"), 1);
    assert_eq!(gateway.count("jwt_auth_allowed.provider.dashboard"), 0);
}

#[test]
fn what_a_client_wrote_is_escaped_and_cut_in_the_log() {
    let gateway = Gateway::new(config());
    let kid = format!("x\" reason=forged\nplugin={}", "k".repeat(1000));
    gateway.reason(&sign(
        SECRET,
        &json!({"alg": "HS256", "kid": kid}),
        &claims(),
    ));
    let lines = gateway.world.lines.borrow();
    assert!(
        lines[0].contains(r#"kid="x\" reason=forged\x0aplugin=kkk"#),
        "{lines:?}"
    );
    assert!(lines[0].len() < 500 && !lines[0].contains('\n'));
}

#[test]
fn an_open_rule_looks_at_no_token_and_leaves_it() {
    let gateway = Gateway::new(config());
    let headers = lines(&[("authorization", "Bearer garbage")]);
    let expected = passed(&[("authorization", "Bearer garbage")]);
    assert_eq!(gateway.get("/health", &headers), expected);
    assert_eq!(
        gateway.ask("POST", "/health", &headers, |_| ()),
        refused(403, ""),
        "a rule's methods are its own"
    );
}

#[test]
fn the_first_rule_that_matches_decides() {
    let gateway = Gateway::new(config());
    // `/company` takes the company's tokens only, with the cache warm and cold.
    for _ in 0..2 {
        assert!(matches!(
            gateway.get("/company", &[bearer(&claims())]),
            Outcome::Refused(401, _)
        ));
        assert_eq!(gateway.last_reason().as_deref(), Some("unknown_issuer"));
        assert_eq!(gateway.get("/api/x", &[bearer(&claims())]), passed(&ALICE));
    }
}

#[test]
fn preflights_are_checked_where_that_is_asked_for() {
    let gateway = Gateway::new(with(config(), "cors_preflight", json!("check")));
    let headers = lines(&[("origin", "o"), ("access-control-request-method", "GET")]);
    let outcome = gateway.ask("OPTIONS", "/api/x", &headers, |_| ());
    assert_eq!(outcome, refused(401, "Bearer realm=\"rag\""));
}

#[test]
fn a_token_costs_one_signature_check_until_it_expires() {
    let gateway = Gateway::new(config());
    for _ in 0..3 {
        assert_eq!(gateway.get("/api/x", &[bearer(&claims())]), passed(&ALICE));
    }
    assert_eq!(gateway.count("jwt_auth_cache_misses"), 1);
    assert_eq!(gateway.count("jwt_auth_cache_hits"), 2);
    let at = |secs| gateway.world.clock.set(Ok(Timestamp::from_unix_secs(secs)));
    at(NOW + 3629);
    assert_eq!(gateway.get("/api/x", &[bearer(&claims())]), passed(&ALICE));
    at(NOW + 3630);
    gateway.get("/api/x", &[bearer(&claims())]);
    assert_eq!(gateway.last_reason().as_deref(), Some("expired"));
    assert_eq!(gateway.count("jwt_auth_cache_hits"), 3);
}

#[test]
fn a_rule_is_asked_about_a_remembered_token_too() {
    let gateway = Gateway::new(config());
    assert_eq!(gateway.get("/api/x", &[bearer(&claims())]), passed(&ALICE));
    assert!(matches!(
        gateway.get("/gold", &[bearer(&claims())]),
        Outcome::Refused(403, _)
    ));
    assert_eq!(gateway.count("jwt_auth_cache_hits"), 1);
}

#[test]
fn a_cache_of_zero_tokens_is_none() {
    let gateway = Gateway::new(with(config(), "cache", json!({"tokens": 0})));
    for _ in 0..2 {
        assert_eq!(gateway.get("/api/x", &[bearer(&claims())]), passed(&ALICE));
    }
    assert_eq!(gateway.count("jwt_auth_cache_misses"), 0);
    assert_eq!(gateway.count("jwt_auth_cache_hits"), 0);
}

#[test]
fn shadow_decides_counts_and_logs_and_lets_pass() {
    let gateway = Gateway::new(with(config(), "mode", json!("shadow")));
    assert_eq!(gateway.get("/api/x", &[bearer(&claims())]), passed(&ALICE));
    let headers = lines(&[("authorization", "Bearer x"), ("x-user-id", "root")]);
    let expected = passed(&[("authorization", "Bearer x")]);
    assert_eq!(gateway.get("/api/x", &headers), expected);
    let line = gateway.world.lines.borrow().join("\n");
    assert!(line.starts_with("plugin=jwt_auth event=shadow_refused reason=malformed status=401"));
    assert_eq!(gateway.count("jwt_auth_denied.reason.malformed"), 1);
    assert_eq!(gateway.get("//", &[]), passed(&[]));
    assert_eq!(gateway.last_reason().as_deref(), Some("ambiguous_path"));
}

#[test]
fn shadow_keeps_the_identity_of_a_caller_whom_only_the_rule_refuses() {
    let gateway = Gateway::new(with(config(), "mode", json!("shadow")));
    let mut provider = None;
    let token = bearer(&claims());
    let outcome = gateway.ask("GET", "/gold", std::slice::from_ref(&token), |flow| {
        provider = flow.provider().map(str::to_owned);
    });
    let mut expected = vec![(token.0, token.1.as_str())];
    expected.extend(ALICE);
    assert_eq!(outcome, passed(&expected));
    assert_eq!(provider.as_deref(), Some("dashboard"));
}

#[test]
fn off_does_nothing() {
    let gateway = Gateway::new(with(config(), "mode", json!("off")));
    let headers = lines(&[("x-user-id", "root"), ("authorization", "Bearer x")]);
    assert_eq!(
        gateway.get("/elsewhere/../x", &headers),
        passed(&[("authorization", "Bearer x"), ("x-user-id", "root")])
    );
    assert!(gateway.world.lines.borrow().is_empty());
    assert_eq!(gateway.policy.mode(), portcullis_policy::config::Mode::Off);
}

#[test]
fn without_a_clock_on_error_decides() {
    let forged = || vec![bearer(&claims()), ("x-user-id", "root".to_owned())];
    let deny = Gateway::new(config());
    deny.world.clock.set(Err(ClockUnavailable));
    assert_eq!(deny.get("/api/x", &forged()), refused(503, ""));
    assert_eq!(deny.get("/health", &[]), passed(&[]), "no clock is needed");

    let allow = Gateway::new(with(config(), "on_error", json!("allow")));
    allow.world.clock.set(Err(ClockUnavailable));
    let (name, token) = bearer(&claims());
    assert_eq!(allow.get("/api/x", &forged()), passed(&[(name, &token)]));
    for gateway in [deny, allow] {
        assert_eq!(gateway.last_reason().as_deref(), Some("clock_unavailable"));
        assert_eq!(gateway.count("jwt_auth_denied.reason.clock_unavailable"), 1);
    }
}

#[test]
fn on_error_says_nothing_of_a_bad_token() {
    let gateway = Gateway::new(with(config(), "on_error", json!("allow")));
    assert!(matches!(
        gateway.get("/api/x", &[]),
        Outcome::Refused(401, _)
    ));
}

#[test]
fn what_the_gateway_fails_at_is_on_errors_to_decide() {
    for (field, value, status) in [
        ("on_error", "deny", Some(503)),
        ("on_error", "allow", None),
        ("mode", "shadow", None),
        ("mode", "off", None),
    ] {
        let gateway = Gateway::new(with(config(), field, json!(value)));
        let ports = Ports {
            clock: &gateway.world,
            entropy: &gateway.world,
            store: &gateway.world,
            telemetry: &gateway.world,
        };
        let reply = gateway.policy.on_host_failure(HostFailure::Edit, &ports);
        assert_eq!(reply.map(|reply| reply.status), status, "{field}: {value}");
        let counted = usize::from(value != "off");
        assert_eq!(gateway.count("jwt_auth_denied.reason.edit_failed"), counted);
    }
}
