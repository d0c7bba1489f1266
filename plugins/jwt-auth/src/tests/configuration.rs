//! What a wrong configuration is told.

mod key_sets;
mod keys;
mod rules;

use super::*;

/// What the configuration with `value` at `pointer` is told; `None` where it is taken.
fn told(pointer: &str, value: Value) -> Option<String> {
    let mut config = config();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match config.pointer_mut(parent).unwrap() {
        Value::Array(entries) => entries[name.parse::<usize>().unwrap()] = value,
        object => object[name] = value,
    }
    Gateway::try_new(config).err()
}

fn error(pointer: &str, value: Value) -> String {
    told(pointer, value).unwrap_or_else(|| panic!("{pointer} was accepted"))
}

/// That each of these values, put to `pointer` alone, is refused in these words.
fn assert_errors(pointer: &str, table: &[(Value, &str)]) {
    for (value, expected) in table {
        assert_eq!(
            error(pointer, value.clone()),
            *expected,
            "{pointer} {value}"
        );
    }
}

/// That each of these values, put to `pointer` alone, is taken.
fn assert_taken(pointer: &str, values: &[Value]) {
    for value in values {
        assert_eq!(told(pointer, value.clone()), None, "{pointer} {value}");
    }
}

#[test]
fn an_error_says_path_value_and_rule() {
    for (pointer, value, expected) in [
        (
            "/providers/dashboard/algorithms/1",
            json!("HS257"),
            r#"providers.dashboard.algorithms[1]: "HS257" is not an algorithm; expected one of HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, Ed25519"#,
        ),
        (
            "/providers/dashboard/keys",
            json!([
                { "kid": "new", "secret": { "value": "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" } },
                { "kid": "old", "secret": { "value": "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" } },
            ]),
            "providers.dashboard.keys[1]: the same secret as another key; expected another one (a running gateway does not see a variable change)",
        ),
        (
            "/providers/dashboard/algorithms/1",
            json!("HS256"),
            r#"providers.dashboard.algorithms[1]: "HS256" is there twice"#,
        ),
        (
            "/providers/dashboard/algorithms",
            json!([]),
            "providers.dashboard.algorithms: the list is empty; expected at least one entry",
        ),
        (
            "/providers/dashboard/audiences",
            json!({}),
            "providers.dashboard.audiences: the list is empty; expected at least one entry",
        ),
        (
            "/providers/dashboard/issuer",
            json!(COMPANY),
            r#"providers.dashboard.issuer: "https://id.example.com" is the issuer of "company" too; a token's issuer chooses its provider"#,
        ),
        (
            "/providers/dashboard/leeway",
            json!("30"),
            r#"providers.dashboard.leeway: "30" is not a duration; expected a whole number and ms, s, m or h"#,
        ),
        (
            "/rules",
            json!([]),
            "rules: the list is empty; expected at least one entry",
        ),
        (
            "/realm",
            json!("a\", error=\"none"),
            r#"realm: "a\", error=\"none" is not a realm; expected 1 to 64 of visible ASCII and spaces, without " and \"#,
        ),
        (
            "/cache",
            json!({"tokens": 65537}),
            "cache.tokens: 65537 is out of range; expected 0 to 65536",
        ),
        (
            "/verify_budget",
            json!({"failures": 1_000_001}),
            "verify_budget.failures: 1000001 is out of range; expected 0 to 1000000",
        ),
    ] {
        assert_errors(pointer, &[(value, expected)]);
    }
}

#[test]
fn what_is_wrong_with_a_place_of_a_token_is_said() {
    assert_errors(
        "/providers/company/token_from/1",
        &[
            (
                json!({}),
                "providers.company.token_from[1]: expected one of `header`, `cookie` and `query`",
            ),
            (
                json!({"scheme": "Bearer"}),
                "providers.company.token_from[1]: expected one of `header`, `cookie` and `query`",
            ),
            (
                json!({"header": "x-token", "cookie": "token"}),
                "providers.company.token_from[1]: expected only one of `header`, `cookie` and `query`",
            ),
            (
                json!({"header": "x-token", "query": "token"}),
                "providers.company.token_from[1]: expected only one of `header`, `cookie` and `query`",
            ),
            (
                json!({"cookie": "token", "query": "token"}),
                "providers.company.token_from[1]: expected only one of `header`, `cookie` and `query`",
            ),
            (
                json!({"cookie": "token", "scheme": "Bearer"}),
                "providers.company.token_from[1]: `scheme` is for a header",
            ),
            (
                json!({"query": "token", "scheme": "Bearer"}),
                "providers.company.token_from[1]: `scheme` is for a header",
            ),
            (
                json!({"header": "Cookie"}),
                "providers.company.token_from[1]: the header `cookie` holds many things; expected `cookie: NAME`",
            ),
            (
                json!({"header": "x-token", "scheme": "Bearer x"}),
                r#"providers.company.token_from[1].scheme: "Bearer x" is not an authentication scheme; expected one such as Bearer"#,
            ),
            (
                json!({"cookie": "a=b"}),
                r#"providers.company.token_from[1].cookie: "a=b" is not a name; expected 1 to 64 of A-Z, a-z, 0-9, _, . and -"#,
            ),
            (
                json!({"query": "a&b"}),
                r#"providers.company.token_from[1].query: "a&b" is not a name; expected 1 to 64 of A-Z, a-z, 0-9, _, . and -"#,
            ),
        ],
    );
    assert_taken(
        "/providers/company/token_from/1",
        &[
            json!({"header": "x-token"}),
            json!({"header": "x-token", "scheme": "Token"}),
            json!({"cookie": "__Host-token"}),
            json!({"query": "access_token"}),
        ],
    );
}

#[test]
fn a_header_has_one_meaning() {
    assert_errors(
        "/providers/dashboard/forward/claims/sub",
        &[
            (
                json!("content-length"),
                r#"providers.dashboard.forward.claims.sub: "content-length" frames or routes the request and can't be written"#,
            ),
            (
                json!("x-tenant"),
                "providers.dashboard.forward.claims.tenant.id: another claim goes to the same header; expected one of its own",
            ),
            (
                json!("X_Tenant"),
                r#"providers.dashboard.forward.claims.tenant.id: "x-tenant" is written "x_tenant" elsewhere; a backend may take one for the other"#,
            ),
            (
                json!("Authorization"),
                r#"providers.company.token_from[0]: "authorization": claims are forwarded as "authorization""#,
            ),
        ],
    );
    assert_errors(
        "/providers/dashboard/forward/payload_header",
        &[
            (
                json!("host"),
                r#"providers.dashboard.forward.payload_header: "host" frames or routes the request and can't be written"#,
            ),
            (
                json!("X-Tenant"),
                "providers.dashboard.forward.payload_header: another claim goes to the same header; expected one of its own",
            ),
            (
                json!("x_groups"),
                r#"providers.dashboard.forward.payload_header: "x_groups" is written "x-groups" elsewhere; a backend may take one for the other"#,
            ),
            (
                json!("x-company-token"),
                r#"providers.company.token_from[1]: "x-company-token": claims are forwarded as "x-company-token""#,
            ),
        ],
    );
    // Another provider's tokens have claims of their own.
    assert_taken(
        "/providers/dashboard/forward/payload_header",
        &[json!("x-groups"), json!("x-payload")],
    );

    let mut config = config();
    config["providers"]["company"]["token_from"] = json!([{"cookie": "token"}]);
    config["providers"]["dashboard"]["forward"]["claims"]["sub"] = json!("cookie");
    let expected = r#"providers.company.token_from[0]: "cookie": claims are forwarded as "cookie""#;
    assert_eq!(Gateway::try_new(config).err().unwrap(), expected);
}

#[test]
fn a_word_that_means_nothing_is_not_passed_over() {
    let remote = keys::remote();
    for (parent, name) in [
        ("", "verify-budget"),
        ("", "optional"),
        ("/cache", "size"),
        ("/providers/dashboard", "public_key"),
        ("/providers/dashboard", "jwks_uri"),
        ("/providers/dashboard/keys/0", "pem"),
        ("/providers/dashboard/keys/0/secret", "pem"),
        ("/providers/dashboard/keys/0/public_key", "value"),
        ("/providers/dashboard/keys/0/jwks", "url"),
        ("/providers/dashboard/keys/0/remote_jwks", "url"),
        ("/providers/company/token_from/0", "parameter"),
        ("/providers/dashboard/forward", "payload"),
        ("/rules/3", "optional"),
        ("/rules/3/require", "none_of"),
        ("/rules/3/require/optional", "optional"),
    ] {
        let mut config = config();
        config["cache"] = json!({});
        config["providers"]["dashboard"]["keys"][0]["public_key"] = json!({});
        config["providers"]["dashboard"]["keys"][0]["jwks"] = json!({"keys": [{}]});
        config["providers"]["dashboard"]["keys"][0]["remote_jwks"] = remote.clone();
        config["rules"][3]["require"]["optional"] = json!({});
        config.pointer_mut(parent).unwrap()[name] = json!({});
        let error = Gateway::try_new(config).err().unwrap();
        let expected = format!("{name}: unknown field `{name}`, expected ");
        assert!(error.contains(&expected), "{parent}/{name}: {error}");
    }
    for algorithm in [
        "none", "None", "HS1", "rs256", "ES256K", "ed25519", "Ed448", "RSA-OAEP", "dir", "",
    ] {
        let error = error("/providers/dashboard/algorithms/0", json!(algorithm));
        assert!(error.contains("is not an algorithm"), "{error}");
    }
}

#[test]
fn what_stands_in_a_wrong_place_is_told_without_the_names_of_types() {
    let places = [
        "/providers",
        "/providers/dashboard",
        "/providers/dashboard/issuer",
        "/providers/dashboard/audiences",
        "/providers/dashboard/algorithms",
        "/providers/dashboard/algorithms/0",
        "/providers/dashboard/keys",
        "/providers/dashboard/keys/0",
        "/providers/dashboard/types",
        "/providers/dashboard/bound_tokens",
        "/providers/dashboard/padding",
        "/providers/dashboard/leeway",
        "/providers/dashboard/max_lifetime",
        "/providers/dashboard/forward",
        "/providers/company/token_from",
        "/providers/company/token_from/0",
        "/rules",
        "/rules/0",
        "/rules/0/match",
        "/rules/0/allow",
        "/rules/3/require",
        "/rules/3/require/any_of",
        "/rules/3/require/scopes",
        "/realm",
        "/cors_preflight",
        "/cache",
        "/max_token_bytes",
        "/verify_budget",
        "/client_address",
        "/mode",
        "/on_error",
    ];
    let wrong = [
        json!(true),
        json!(-7),
        json!(7.5),
        json!("hunter2\n"),
        json!(["hunter2\n"]),
        json!([[1]]),
    ];
    for place in places {
        for value in &wrong {
            let error = error(place, value.clone());
            for name in [
                "struct",
                "enum",
                "Config",
                "Visitor",
                "sequence",
                "map",
                "unit",
                "newtype",
                "tuple",
                "u8",
                "u32",
                "u64",
                "i64",
                "f64",
                "usize",
                "identifier",
            ] {
                assert!(!error.contains(name), "{place} {value}: {error}");
            }
        }
    }
}

#[test]
fn a_leeway_of_zero_is_none() {
    let mut config = config();
    config["providers"]["dashboard"]["leeway"] = json!("0s");
    let gateway = Gateway::new(config);
    for (name, value, expected) in [
        ("exp", NOW + 1, None),
        ("exp", NOW, Some("expired")),
        ("nbf", NOW, None),
        ("nbf", NOW + 1, Some("not_yet_valid")),
        ("iat", NOW + 1, Some("issued_in_future")),
    ] {
        let reason = gateway.reason(&token(&with(claims(), name, json!(value))));
        assert_eq!(reason.as_deref(), expected, "{name} {value}");
    }
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
