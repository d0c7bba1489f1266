//! Tokens as issuers make them, and what a provider says of theirs.

use portcullis_issuer::Key as Signer;

use super::*;

/// `dashboard` with EdDSA, and these fields.
fn gateway(fields: Value) -> Gateway {
    gateway_with(
        json!({"dashboard": fields}),
        json!(["dashboard"]),
        json!({}),
    )
}

/// Providers of EdDSA with these fields; a rule that takes those of them.
fn gateway_with(providers: Value, any_of: Value, rest: Value) -> Gateway {
    let mut config = json!({"providers": {}, "rules": [{"require": {"any_of": any_of}}]});
    for (name, fields) in providers.as_object().unwrap() {
        let mut provider = json!({
            "issuer": ISSUER, "audiences": ["rag-api"], "algorithms": ["EdDSA"],
            "keys": [{"jwks": {"keys": [Signer::of("EdDSA").jwk()]}}]
        });
        for (field, value) in fields.as_object().unwrap() {
            provider[field] = value.clone();
        }
        config["providers"][name] = provider;
    }
    for (name, value) in rest.as_object().unwrap() {
        config[name] = value.clone();
    }
    Gateway::new(config)
}

fn signed(header: Value, claims: &Value) -> String {
    Signer::of("EdDSA").token("EdDSA", header, claims)
}

#[test]
fn a_token_that_is_bound_to_a_key_is_refused_unless_that_is_somebody_elses_business() {
    let (refuses, accepts) = (
        gateway(json!({})),
        gateway(json!({"bound_tokens": "accept"})),
    );
    for cnf in [
        json!({"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}),
        json!({"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}),
        json!({"jwk": Signer::of("ES256").jwk()}),
        json!({}),
        json!("x"),
        json!(null),
    ] {
        let token = signed(json!({}), &with(claims(), "cnf", cnf.clone()));
        assert_eq!(
            refuses.reason(&token).as_deref(),
            Some("bound_token"),
            "{cnf}"
        );
        assert_eq!(accepts.reason(&token), None, "{cnf}");
    }
    assert_eq!(refuses.reason(&signed(json!({}), &claims())), None);
}

#[test]
fn a_provider_may_ask_for_a_type_of_token() {
    let any = gateway(json!({}));
    let typed = gateway(json!({"types": ["at+jwt", "application/logout+jwt"]}));
    for (typ, is_one) in [
        (json!("at+jwt"), true),
        (json!("AT+JWT"), true),
        (json!("application/at+jwt"), true),
        (json!("Application/AT+jwt"), true),
        (json!("logout+jwt"), true),
        (json!("JWT"), false),
        (json!("at+jwt "), false),
        (json!("text/at+jwt"), false),
        (json!(""), false),
        (json!(null), false),
        (json!(1), false),
        (json!(["at+jwt"]), false),
    ] {
        let token = signed(json!({"typ": typ}), &claims());
        let expected = (!is_one).then_some("token_type");
        assert_eq!(typed.reason(&token).as_deref(), expected, "{typ}");
        assert_eq!(any.reason(&token), None, "{typ}");
    }
    let without = signed(json!({}), &claims());
    assert_eq!(typed.reason(&without).as_deref(), Some("token_type"));
}

#[test]
fn ed25519_is_eddsa_by_another_name() {
    for algorithms in [
        json!(["EdDSA"]),
        json!(["Ed25519"]),
        json!(["EdDSA", "Ed25519"]),
    ] {
        for alg in [json!(null), json!("EdDSA"), json!("Ed25519")] {
            let jwk = with(Signer::of("EdDSA").jwk(), "alg", alg.clone());
            let keys = json!([{"jwks": {"keys": [jwk]}}]);
            let gateway = gateway(json!({"algorithms": algorithms, "keys": keys}));
            for name in ["EdDSA", "Ed25519"] {
                let token = signed(json!({"alg": name}), &claims());
                assert_eq!(gateway.reason(&token), None, "{algorithms} {alg} {name}");
            }
            for name in ["ed25519", "Ed448", "EDDSA"] {
                let token = signed(json!({"alg": name}), &claims());
                assert_eq!(
                    gateway.reason(&token).as_deref(),
                    Some("algorithm"),
                    "{name}"
                );
            }
        }
    }
    let twice = json!(["Ed25519", "EdDSA", "Ed25519"]);
    let mut config = config();
    config["providers"]["dashboard"]["algorithms"] = twice;
    assert_eq!(
        Gateway::try_new(config).err().as_deref(),
        Some("providers.dashboard.algorithms[2]: \"Ed25519\" is there twice")
    );
}

/// A token of that many bytes.
fn token_of(bytes: usize) -> String {
    let with_filler = |filler: usize| {
        let claims = with(claims(), "groups", json!("g".repeat(filler)));
        signed(json!({}), &claims)
    };
    let mut filler = bytes * 3 / 4 - with_filler(0).len();
    while with_filler(filler).len() < bytes {
        filler += 1;
    }
    // Three bytes are four: one more claim may make up for the rest.
    let token = with_filler(filler);
    assert!(token.len() - bytes < 2, "{} for {bytes}", token.len());
    token
}

#[test]
fn a_token_is_as_long_as_its_gateway_reads() {
    let longest = |bytes: Option<u32>| {
        let rest = bytes.map_or(json!({}), |bytes| json!({"max_token_bytes": bytes}));
        gateway_with(json!({"dashboard": {}}), json!(["dashboard"]), rest)
    };
    for (configured, fits, too_long) in [
        (None, 8_190, 8_194),
        (Some(1_024), 1_020, 1_026),
        (Some(20_000), 19_998, 20_002),
        (Some(65_536), 65_534, 65_538),
    ] {
        let gateway = longest(configured);
        let token = token_of(fits);
        assert_eq!(gateway.reason(&token), None, "{fits}");
        assert_eq!(gateway.reason(&token), None, "{fits}, from the cache");
        assert_eq!(gateway.count("jwt_auth_cache_hits"), 1, "{fits}");
        assert_eq!(
            gateway.reason(&token_of(too_long)).as_deref(),
            Some("too_large"),
            "{too_long}"
        );
    }
}

/// A token whose segments are written with `=`, as AWS load balancers do.
fn padded(claims: &Value) -> String {
    let pad = |text: String| {
        let padding = "=".repeat((4 - text.len() % 4) % 4);
        format!("{text}{padding}")
    };
    let header = json!({"alg": "EdDSA", "typ": "JWT", "x": 10});
    let signed = format!(
        "{}.{}",
        pad(encode(header.to_string())),
        pad(encode(claims.to_string()))
    );
    assert!(signed.contains('='), "{signed}");
    let signature = Signer::of("EdDSA").sign("EdDSA", signed.as_bytes());
    format!("{signed}.{}", pad(encode(signature)))
}

#[test]
fn padding_is_read_where_a_provider_says_so_and_signed_as_it_came() {
    let token = padded(&claims());
    let accepts = gateway(json!({"padding": "accept"}));
    assert_eq!(accepts.reason(&token), None);
    assert_eq!(
        accepts.reason(&signed(json!({}), &claims())),
        None,
        "without"
    );
    assert_eq!(
        gateway(json!({})).reason(&token).as_deref(),
        Some("malformed")
    );
    // Without its padding it is not what was signed.
    let stripped = token.replace('=', "");
    assert_eq!(accepts.reason(&stripped).as_deref(), Some("signature"));
    for odd in [
        token.replacen('=', "==", 1),
        token.replacen('.', "=.", 1),
        format!("{token}===="),
        format!("={token}"),
    ] {
        let reason = accepts.reason(&odd);
        assert!(
            matches!(reason.as_deref(), Some("malformed" | "signature")),
            "{odd}: {reason:?}"
        );
    }
    // Another provider of the same rule does not read it so.
    let beside = gateway_with(
        json!({"dashboard": {}, "balancer": {"issuer": COMPANY, "padding": "accept"}}),
        json!(["dashboard", "balancer"]),
        json!({}),
    );
    assert_eq!(beside.reason(&token).as_deref(), Some("malformed"));
    let theirs = padded(&with(claims(), "iss", json!(COMPANY)));
    assert_eq!(beside.reason(&theirs), None);
}

const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";

fn of_tenant(iss: &str, tid: Value) -> String {
    let claims = with(
        claims(),
        "iss",
        json!(format!("https://login.example/{iss}/v2.0")),
    );
    signed(json!({}), &with(claims, "tid", tid))
}

#[test]
fn an_issuer_with_a_tenant_in_it_is_known_by_the_tokens_own_claim() {
    let template = json!({"template": "https://login.example/{tid}/v2.0"});
    let gateway = gateway(json!({"issuer": template}));
    assert_eq!(gateway.reason(&of_tenant(TENANT, json!(TENANT))), None);
    for (iss, tid) in [
        (TENANT, json!("other")),
        (TENANT, json!(null)),
        (TENANT, json!([TENANT])),
        ("a/b", json!("a/b")),
        ("..", json!("..")),
        ("{tid}", json!("{tid}")),
    ] {
        let token = of_tenant(iss, tid.clone());
        let reason = gateway.reason(&token);
        assert_eq!(reason.as_deref(), Some("unknown_issuer"), "{iss} {tid}");
    }
}

#[test]
fn an_issuer_to_the_letter_comes_before_a_template_under_every_rule() {
    let template = json!({"template": "https://login.example/{tid}/v2.0"});
    let ours = json!(format!("https://login.example/{TENANT}/v2.0"));
    let providers = json!({"all": {"issuer": template}, "ours": {"issuer": ours}});
    let rules = json!({"rules": [
        {"match": {"paths": [{"prefix": "/all"}]}, "require": {"any_of": ["all"]}},
        {"match": {"paths": [{"prefix": "/api"}]}, "require": {"any_of": ["all", "ours"]}}
    ]});
    let gateway = gateway_with(providers, json!([]), rules);
    let (ours, theirs) = (
        of_tenant(TENANT, json!(TENANT)),
        of_tenant("other", json!("other")),
    );
    let status = |path: &str, token: &str| match gateway
        .get(path, &[("authorization", format!("Bearer {token}"))])
    {
        Outcome::Refused(status, _) => status,
        Outcome::Passed(_) => 200,
    };
    // The same before and after a token is remembered.
    for _ in 0..2 {
        assert_eq!(status("/all", &ours), 401);
        assert_eq!(status("/api", &ours), 200);
        assert_eq!(status("/all", &theirs), 200);
        assert_eq!(status("/api", &theirs), 200);
    }
    assert_eq!(gateway.count("jwt_auth_allowed.provider.ours"), 2);
    assert_eq!(gateway.count("jwt_auth_allowed.provider.all"), 4);
}
