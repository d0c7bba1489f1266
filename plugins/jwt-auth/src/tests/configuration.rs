//! What a wrong configuration is told.

use super::*;

/// The error of the configuration with `value` at `pointer`.
fn error(pointer: &str, value: Value) -> String {
    let mut config = config();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match config.pointer_mut(parent).unwrap() {
        Value::Array(entries) => entries[name.parse::<usize>().unwrap()] = value,
        object => object[name] = value,
    }
    match Gateway::try_new(config) {
        Ok(_) => panic!("{pointer} was accepted"),
        Err(error) => error,
    }
}

#[test]
fn an_error_says_path_value_and_rule() {
    let dashboard = "/providers/dashboard";
    let at = |field: &str| format!("{dashboard}/{field}");
    for (pointer, value, expected) in [
        (
            at("algorithms/1"),
            json!("HS257"),
            r#"providers.dashboard.algorithms[1]: "HS257" is not an algorithm; expected one of HS256, HS384, HS512"#,
        ),
        (
            at("algorithms/1"),
            json!("HS256"),
            r#"providers.dashboard.algorithms[1]: "HS256" is there twice"#,
        ),
        (
            at("algorithms"),
            json!([]),
            "providers.dashboard.algorithms: the list is empty; expected at least one entry",
        ),
        (
            at("audiences"),
            json!({}),
            "providers.dashboard.audiences: the list is empty; expected at least one entry",
        ),
        (
            at("issuer"),
            json!(COMPANY),
            r#"providers.dashboard.issuer: "https://id.example.com" is the issuer of "company" too; a token's issuer chooses its provider"#,
        ),
        (
            at("keys/0/secret"),
            json!({"value": "k".repeat(47)}),
            "providers.dashboard.keys[0].secret: 47 bytes are too short for HS384; expected at least 48, or `allow_short: true`",
        ),
        (
            at("keys/0/secret"),
            json!({"env": "UNSET"}),
            "providers.dashboard.keys[0].secret: the environment variable UNSET is not set or not shown to the filter",
        ),
        (
            at("keys/0/secret"),
            json!({"value": ""}),
            "providers.dashboard.keys[0].secret: the secret is empty",
        ),
        (
            at("keys"),
            json!([{"secret": {"value": SECRET}, "kid": "a"}, {"secret": {"value": SECRET}, "kid": "a"}]),
            r#"providers.dashboard.keys[1].kid: "a" is there twice"#,
        ),
        (
            at("leeway"),
            json!("30"),
            r#"providers.dashboard.leeway: "30" is not a duration; expected a whole number and ms, s, m or h"#,
        ),
        (
            at("forward/claims/sub"),
            json!("content-length"),
            r#"providers.dashboard.forward.claims.sub: "content-length" frames or routes the request and can't be written"#,
        ),
        (
            at("forward/claims/sub"),
            json!("x-tenant"),
            "providers.dashboard.forward.claims.tenant.id: another claim goes to the same header; expected one of its own",
        ),
        (
            at("forward/claims/sub"),
            json!("X_Tenant"),
            r#"providers.dashboard.forward.claims.tenant.id: "x-tenant" is written "x_tenant" elsewhere; a backend may take one for the other"#,
        ),
        (
            at("forward/claims/sub"),
            json!("Authorization"),
            r#"providers.company.token_from[0].header: "authorization": claims are forwarded as "authorization""#,
        ),
        (
            "/rules/3/require/any_of/1".into(),
            json!("compny"),
            r#"rules[3].require.any_of[1]: "compny" is not a provider; expected one of company, dashboard"#,
        ),
        (
            "/rules/3/require/any_of/1".into(),
            json!("dashboard"),
            r#"rules[3].require.any_of[1]: "dashboard" is there twice"#,
        ),
        (
            "/rules/3/require/scopes/0".into(),
            json!("rag:read rag:write"),
            r#"rules[3].require.scopes[0]: "rag:read rag:write" is not a scope; expected 1 to 128 of visible ASCII, without " and \"#,
        ),
        (
            "/rules/0/allow".into(),
            Value::Null,
            "rules[0]: neither `allow` nor `require`; expected one of them",
        ),
        (
            "/rules/3/allow".into(),
            json!("anyone"),
            "rules[3]: both `allow` and `require`; expected one of them",
        ),
        (
            "/rules".into(),
            json!([]),
            "rules: the list is empty; expected at least one entry",
        ),
        (
            "/realm".into(),
            json!("a\", error=\"none"),
            r#"realm: "a\", error=\"none" is not a realm; expected 1 to 64 of visible ASCII and spaces, without " and \"#,
        ),
        (
            "/cache".into(),
            json!({"tokens": 65537}),
            "cache.tokens: 65537 is out of range; expected 0 to 65536",
        ),
    ] {
        assert_eq!(
            error(&pointer, value.clone()),
            expected,
            "{pointer} {value}"
        );
    }
}

#[test]
fn a_key_of_a_release_to_come_is_not_taken_for_granted() {
    for (parent, name) in [
        ("", "verify_budget"),
        ("", "optional"),
        ("/providers/dashboard", "public_key"),
        ("/providers/dashboard/keys/0", "remote_jwks"),
        ("/providers/dashboard/keys/0", "jwks"),
        ("/providers/company/token_from/0", "cookie"),
        ("/providers/company/token_from/0", "query"),
        ("/providers/dashboard/forward", "payload_header"),
        ("/rules/3/require", "all_of"),
    ] {
        let error = error(&format!("{parent}/{name}"), json!({}));
        assert!(
            error.contains(&format!("unknown field `{name}`")),
            "{error}"
        );
    }
    for algorithm in ["RS256", "PS256", "ES256", "EdDSA", "none"] {
        let error = error("/providers/dashboard/algorithms/0", json!(algorithm));
        assert!(error.contains("is not an algorithm"), "{error}");
    }
}

#[test]
fn a_secret_in_the_wrong_place_is_not_repeated() {
    for (pointer, value) in [
        ("/providers/dashboard/keys", json!("hunter2")),
        ("/providers/dashboard/keys/0", json!("hunter2")),
        ("/providers/dashboard/keys/0/secret", json!("hunter2")),
        (
            "/providers/dashboard/keys/0/secret",
            json!({"env": "hunter2!"}),
        ),
        (
            "/providers/dashboard/keys/0/secret",
            json!({"value": "hunter2\nx"}),
        ),
        (
            "/providers/dashboard/keys/0/secret",
            json!({"value": "hunter2"}),
        ),
    ] {
        let error = error(pointer, value);
        assert!(!error.contains("hunter2"), "{error}");
        assert!(error.starts_with("providers.dashboard.keys"), "{error}");
    }
}

#[test]
fn a_short_secret_is_taken_when_that_is_asked_for() {
    let mut config = config();
    config["providers"]["dashboard"]["keys"][0] =
        json!({"secret": {"value": "c2hvcnQ=", "encoding": "base64"}, "allow_short": true});
    let gateway = Gateway::new(config);
    let token = sign("short", &json!({"alg": "HS256"}), &claims());
    assert_eq!(gateway.reason(&token), None);
}

#[test]
fn all_metrics_are_announced_by_the_names_of_the_contract() {
    let gateway = Gateway::new(config());
    for (_, name) in gateway.metrics.metrics() {
        let fits =
            |byte: u8| byte.is_ascii_lowercase() || b"._".contains(&byte) || byte.is_ascii_digit();
        assert!(name.bytes().all(fits), "{name}");
    }
    for name in [
        "jwt_auth_allowed.provider.dashboard",
        "jwt_auth_allowed.provider.company",
        "jwt_auth_denied.reason.no_token",
        "jwt_auth_denied.reason.signature",
        "jwt_auth_denied.reason.headers_unreadable",
        "jwt_auth_cache_hits",
        "jwt_auth_cache_misses",
    ] {
        assert_eq!(gateway.count(name), 0);
    }
}
