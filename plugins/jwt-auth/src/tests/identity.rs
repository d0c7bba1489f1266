//! Whom a request is taken to be from: numbers, lists, audiences, tokens that need not hold.

use portcullis_policy::{HeaderEdit, Policy as _, Ports};

use super::*;

/// A token of the dashboard whose claims have this member in the stead of the one of that name.
fn token_with(name: &str, member: &str) -> String {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    let payload = claims.to_string().replacen('{', &format!("{{{member},"), 1);
    sign_bytes("HS256", SECRET, br#"{"alg":"HS256"}"#, payload.as_bytes())
}

fn with_token(token: &str) -> [(&'static str, String); 1] {
    [("authorization", format!("Bearer {token}"))]
}

/// What arrives under that name of a request with this token; `None`: nothing, or it is refused.
fn arrives(gateway: &Gateway, token: &str, name: &str) -> Option<String> {
    match gateway.get("/api/x", &with_token(token)) {
        Outcome::Refused(..) => None,
        Outcome::Passed(lines) => {
            let mut lines = lines.into_iter();
            lines
                .find(|(known, _)| known == name)
                .map(|(_, value)| value)
        }
    }
}

#[test]
fn a_number_arrives_as_it_was_written() {
    let gateway = Gateway::new(config());
    for number in [
        "1234567890123456789012345",
        "1234567890123456789012346",
        "9007199254740993",
        "18446744073709551616",
        "-9223372036854775809",
        "0.1000000000000000055",
        "0.1",
        "1",
        "1.0",
        "-0",
        "1e3",
    ] {
        let token = token_with("sub", &format!(r#""sub":{number}"#));
        let found = arrives(&gateway, &token, "x-user-id");
        assert_eq!(found.as_deref(), Some(number));
        let listed = token_with(
            "scope",
            &format!(r#""scp":"rag:read","scope":null,"x":[{number}]"#),
        );
        assert_eq!(gateway.reason(&listed), None, "{number}");
    }
    assert_eq!(
        gateway
            .reason(&token_with("sub", r#""sub":1e400"#))
            .as_deref(),
        Some("malformed")
    );
}

#[test]
fn a_rule_takes_no_number_for_one_that_is_near_to_it() {
    let mut config = config();
    config["rules"][3]["require"]["claims"] =
        json!({"level": [9_007_199_254_740_993_u64, 0.1, 1000]});
    let gateway = Gateway::new(config);
    for (level, passes) in [
        ("9007199254740993", true),
        ("9007199254740992", false),
        ("9007199254740993.0", true),
        ("0.1", true),
        ("0.10", true),
        ("0.1000000000000000055", false),
        ("1e3", true),
        ("1000.0", true),
        ("1000.0000000000000001", false),
        ("[1, 1e3]", true),
        (r#""1000""#, false),
        (r#"{"1000": 1000}"#, false),
    ] {
        let token = token_with("level", &format!(r#""level":{level}"#));
        let expected = (!passes).then(|| "claim_mismatch".to_owned());
        assert_eq!(gateway.reason(&token), expected, "{level}");
    }
}

#[test]
fn a_list_that_does_not_fit_empties_its_header_whatever_the_client_sent_there() {
    let of = |lists: Option<&str>| {
        let mut config = config();
        config["providers"]["dashboard"]["forward"]["claims"]["groups"] = json!("x-groups");
        if let Some(lists) = lists {
            config["providers"]["dashboard"]["forward"]["lists"] = json!(lists);
        }
        Gateway::new(config)
    };
    let token = token(&with(claims(), "groups", json!(["Domain Users", "a,b"])));
    for (lists, expected) in [
        (None, None),
        (Some("space"), None),
        (Some("comma"), None),
        (Some("json"), Some(r#"["Domain Users","a,b"]"#)),
    ] {
        let gateway = of(lists);
        for _ in 0..2 {
            let [token] = with_token(&token);
            let sent = [token, ("X-Groups", "admin".to_owned())];
            let Outcome::Passed(lines) = gateway.get("/api/x", &sent) else {
                panic!("{lists:?} refused");
            };
            let found: Vec<_> = lines
                .iter()
                .filter(|(name, _)| name == "x-groups")
                .collect();
            let found: Vec<_> = found.iter().map(|(_, value)| value.as_str()).collect();
            assert_eq!(found, Vec::from_iter(expected), "{lists:?}");
            assert!(lines.contains(&("x-user-id".to_owned(), "alice".to_owned())));
        }
        let unfit = gateway.count("jwt_auth_claim_unfit.provider.dashboard");
        assert_eq!(unfit, if expected.is_some() { 0 } else { 2 }, "{lists:?}");
    }
    let spread = of(Some("comma"));
    let groups = with(claims(), "groups", json!(["Domain Users", "b"]));
    let found = arrives(&spread, &super::token(&groups), "x-groups");
    assert_eq!(found.as_deref(), Some("Domain Users,b"));
}

#[test]
fn without_an_audience_the_providers_claims_say_whom_a_token_is_for() {
    let unchecked = |claims: Value| {
        let mut config = config();
        config["providers"]["dashboard"]["audiences"] = json!("unchecked");
        config["providers"]["dashboard"]["claims"] = claims;
        config
    };
    let gateway = Gateway::new(unchecked(
        json!({"client_id": ["rag-web", "rag-cli"], "token_use": ["access"]}),
    ));
    let of = |changes: Value| {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove("aud");
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        token(&claims)
    };
    for (changes, reason) in [
        (json!({"client_id": "rag-web", "token_use": "access"}), None),
        (
            json!({"client_id": "rag-cli", "token_use": "access", "aud": 7}),
            None,
        ),
        (
            json!({"client_id": "shop", "token_use": "access"}),
            Some("provider_claims"),
        ),
        (
            json!({"client_id": "rag-web", "token_use": "id", "aud": "rag-api"}),
            Some("provider_claims"),
        ),
        (json!({"token_use": "access"}), Some("provider_claims")),
    ] {
        assert_eq!(
            gateway.reason(&of(changes.clone())).as_deref(),
            reason,
            "{changes}"
        );
    }
    assert_eq!(
        gateway.get("/api/x", &with_token(&of(json!({})))),
        refused(401, "Bearer realm=\"rag\", error=\"invalid_token\"")
    );
    let error = Gateway::try_new(unchecked(json!({}))).err().unwrap();
    assert!(
        error.starts_with("providers.dashboard.audiences: \"unchecked\" without `claims`"),
        "{error}"
    );
    let mut both = config();
    both["providers"]["dashboard"]["claims"] = json!({"token_use": ["access"]});
    let gateway = Gateway::new(both);
    assert_eq!(
        gateway.reason(&token(&claims())).as_deref(),
        Some("provider_claims")
    );
}

#[test]
fn a_token_that_need_not_hold_leaves_its_request_to_nobody() {
    let of = |invalid: Option<&str>| {
        let mut config = config();
        let mut optional = json!({"any_of": ["dashboard", "company"], "scopes": ["rag:read"]});
        if let Some(invalid) = invalid {
            optional["invalid"] = json!(invalid);
        }
        config["rules"][3]["require"] = json!({ "optional": optional });
        Gateway::new(config)
    };
    let expired = token(&with(claims(), "exp", json!(NOW - 31)));
    let forged = sign("guessed", &json!({"alg": "HS256"}), &claims());
    let poor = token(&with(claims(), "scope", json!("x")));
    let stranger = token(&with(claims(), "iss", json!("https://evil.example")));
    for invalid in [None, Some("refuse")] {
        let gateway = of(invalid);
        for token in [&expired, &forged, &stranger] {
            assert!(matches!(
                gateway.get("/api/x", &with_token(token)),
                Outcome::Refused(401, _)
            ));
        }
    }
    let gateway = of(Some("anonymous"));
    for (token, reason) in [
        (&expired, "expired"),
        (&forged, "signature"),
        (&stranger, "unknown_issuer"),
        (&"x".to_owned(), "malformed"),
    ] {
        for _ in 0..2 {
            let [(name, value)] = with_token(token);
            let sent = [(name, value), ("x-user-id", "root".to_owned())];
            let mut caller = None;
            let outcome = gateway.ask("GET", "/api/x", &sent, |flow| {
                caller = flow.provider().map(str::to_owned);
            });
            assert_eq!((outcome, caller), (passed(&[]), None), "{reason}");
            assert_eq!(gateway.last_reason().as_deref(), Some(reason));
        }
        let counted = gateway.count(&format!("jwt_auth_denied.reason.{reason}"));
        assert_eq!(counted, 2);
    }
    assert!(gateway.world.lines.borrow()[0].contains("event=anonymous reason=expired"));
    assert_eq!(gateway.count("jwt_auth_cache_hits"), 0);
    assert!(matches!(
        gateway.get("/api/x", &with_token(&poor)),
        Outcome::Refused(403, _)
    ));
    let [(name, value)] = with_token(&forged);
    let two = [(name, value.clone()), (name, value)];
    assert!(matches!(
        gateway.get("/api/x", &two),
        Outcome::Refused(400, _)
    ));
    let good = arrives(&gateway, &token(&claims()), "x-user-id");
    assert_eq!(good.as_deref(), Some("alice"));
    // A fault of the gateway's is none of the token's: nobody is let in by it.
    gateway.world.clock.set(Err(ClockUnavailable));
    assert_eq!(
        gateway.get("/api/x", &with_token(&expired)),
        Outcome::Refused(503, None)
    );

    let mut shadow = config();
    shadow["mode"] = json!("shadow");
    shadow["rules"][3]["require"] =
        json!({"optional": {"any_of": ["dashboard"], "invalid": "anonymous"}});
    let sent = with_token(&forged);
    let expected = passed(&[(sent[0].0, &sent[0].1)]);
    assert_eq!(Gateway::new(shadow).get("/api/x", &sent), expected);
}

#[test]
fn a_line_names_what_is_missing_and_what_was_expected() {
    let gateway = Gateway::new(config());
    let line = |path: &str, claims: &Value| {
        gateway.world.lines.borrow_mut().clear();
        gateway.get(path, &[bearer(claims)]);
        let lines = gateway.world.lines.borrow().concat();
        let (line, _) = lines.split_once(" token=").unwrap();
        line.to_owned()
    };
    for (path, claims, expected) in [
        (
            "/api/x",
            with(claims(), "scope", json!("rag:write")),
            "scope=rag:read",
        ),
        ("/gold/x", claims(), "claim=tenant.tier"),
        (
            "/api/x",
            with(claims(), "aud", json!(["billing", "shop"])),
            r#"aud="billing shop" expected=rag-api"#,
        ),
        ("/api/x", with(claims(), "exp", json!("1")), "claim=exp"),
        ("/api/x", with(claims(), "sub", json!("a\n")), "claim=sub"),
        (
            "/company/x",
            with(claims(), "iss", json!("https://evil.example")),
            "iss=https://evil.example expected=https://id.example.com",
        ),
    ] {
        let line = line(path, &claims);
        assert!(line.ends_with(expected), "{line}\n{expected}");
    }
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove("aud");
    assert!(line("/api/x", &claims).ends_with(
        "reason=claim_missing status=401 method=GET path=/api/x provider=dashboard claim=aud"
    ));
}

/// With that readiness path; `/health` is open to anyone, and nothing else is.
fn ready_config(mode: &str) -> Value {
    let mut config = config();
    config["ready"] = json!({"path": "/ready"});
    config["mode"] = json!(mode);
    config["providers"]["company"]["keys"] = json!([{"remote_jwks": {
        "upstream": "idp", "authority": "id.example.com", "path": "/keys"
    }}]);
    config["providers"]["company"]["algorithms"] = json!(["RS256"]);
    config
}

#[test]
fn a_gateway_without_all_keys_is_not_ready_and_says_whose_are_missing() {
    let reply = |gateway: &Gateway, method: &str, path: &str| {
        let head = [(":method", method), (":path", path), (":authority", "rag")];
        let sent = Headers::from_pairs(head);
        let request = Request::new(&sent, &gateway.world);
        let ports = Ports {
            clock: &gateway.world,
            entropy: &gateway.world,
            store: &gateway.world,
            telemetry: &gateway.world,
        };
        match gateway.policy.on_request(&request, &ports).0 {
            Verdict::Read { .. } | Verdict::Wait { .. } => panic!("no body decides"),
            Verdict::Refuse(reply) => Some((reply.status, reply.body)),
            Verdict::Continue(edits) => {
                let set = |edit: &HeaderEdit<'_>| matches!(edit, HeaderEdit::Set { .. });
                assert!(!edits.headers().iter().any(set));
                None
            }
        }
    };
    let gateway = Gateway::new(ready_config("enforce"));
    let missing = Some((503, r#"{"ready":false,"missing":["company"]}"#.to_owned()));
    for (method, path) in [
        ("GET", "/ready"),
        ("HEAD", "/ready"),
        ("GET", "/read%79?x=1"),
    ] {
        assert_eq!(reply(&gateway, method, path), missing, "{method} {path}");
    }
    for (method, path, status) in [
        ("POST", "/ready", 403),
        ("GET", "/ready/x", 403),
        ("GET", "/x/../ready", 400),
    ] {
        let found = reply(&gateway, method, path).map(|(status, _)| status);
        assert_eq!(found, Some(status), "{method} {path}");
    }
    assert!(
        gateway
            .world
            .lines
            .borrow()
            .iter()
            .all(|line| !line.contains("event=ready"))
    );

    let all = Some((200, r#"{"ready":true,"missing":[]}"#.to_owned()));
    assert_eq!(
        reply(&Gateway::new(ready_config("off")), "GET", "/ready"),
        all
    );
    let fixed = with(config(), "ready", json!({"path": "/ready"}));
    assert_eq!(reply(&Gateway::new(fixed), "GET", "/ready"), all);
    assert_eq!(
        reply(&Gateway::new(config()), "GET", "/ready").map(|r| r.0),
        Some(403)
    );
}

#[test]
fn each_token_of_a_request_counts_for_its_own_provider() {
    let mut config = config();
    config["providers"]["company"]["token_from"] = json!([{"header": "x-company-token"}]);
    config["providers"]["company"]["forward"] = json!({"claims": {"sub": "x-company-id"}});
    config["rules"][3]["require"] = json!({"all_of": ["dashboard", "company"]});
    let gateway = Gateway::new(config);
    let company = with(claims(), "iss", json!(COMPANY));
    let company = sign(COMPANY_SECRET, &json!({"alg": "HS256"}), &company);
    let outcome = gateway.get("/api/x", &[bearer(&claims()), ("x-company-token", company)]);
    assert!(matches!(outcome, Outcome::Passed(_)), "{outcome:?}");
    for provider in ["dashboard", "company"] {
        let name = format!("jwt_auth_allowed.provider.{provider}");
        assert_eq!(gateway.count(&name), 1, "{provider}");
    }
}
