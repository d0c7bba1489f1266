//! `jwt_auth`: whom a request is taken to be from, and when a gateway can tell.

use portcullis_conformance::token::{claims, sign, token, token_with};
use portcullis_conformance::{JWT_SECRET, Sent, Subject, everywhere};
use portcullis_edge::Edge;
use portcullis_issuer::{Key, compact};
use portcullis_jwt_auth::JwtAuth;
use serde_json::{Value, json};

const COMPANY: &str = "https://id.example.com";

fn provider() -> Value {
    json!({
        "issuer": "https://auth.example", "audiences": ["rag-api"], "algorithms": ["HS256"],
        "keys": [{"secret": {"env": "JWT_SECRET_KEY"}, "kid": "k1"}],
        "forward": {"claims": {"sub": "x-user-id", "groups": "x-groups", "kubernetes.io.namespace": "x-namespace", "/a~1b/0": "x-first"}}
    })
}

fn config(provider: &Value, require: Value) -> String {
    json!({
        "realm": "rag",
        "providers": {"dashboard": provider},
        "rules": [{"match": {"paths": [{"prefix": "/api"}]}, "require": require}]
    })
    .to_string()
}

fn any() -> Value {
    json!({"any_of": ["dashboard"]})
}

fn api(token: &str) -> Sent {
    Sent::get("/api/x").with("authorization", &format!("Bearer {token}"))
}

/// A good token whose claims have one more member, written as it stands here.
fn written(member: &str) -> String {
    let mut claims = claims();
    claims.as_object_mut().expect("an object").remove("sub");
    let payload = claims.to_string().replacen('{', &format!("{{{member},"), 1);
    let header = br#"{"alg":"HS256","kid":"k1"}"#;
    let unsigned = compact(header, payload.as_bytes(), b"");
    let message = unsigned.trim_end_matches('.');
    let signature = Key::secret(JWT_SECRET.as_bytes()).sign("HS256", message.as_bytes());
    compact(header, payload.as_bytes(), &signature)
}

#[test]
fn two_people_whose_ids_are_long_numbers_stay_two() {
    let require = json!({"any_of": ["dashboard"], "claims": {"level": [1, 0.1]}});
    everywhere::<JwtAuth>(&config(&provider(), require), |subject| {
        for number in [
            "1234567890123456789012345",
            "1234567890123456789012346",
            "9007199254740992",
            "9007199254740993",
            "0.1000000000000000055",
            "1.0",
            "-0",
        ] {
            let token = written(&format!(r#""sub":{number},"level":1.0"#));
            let seen = subject.ask(api(&token));
            assert_eq!(
                (seen.refused, seen.header("x-user-id")),
                (None, Some(number))
            );
        }
        for (level, status) in [("0.1", 0), ("0.1000000000000000055", 403), ("\"1\"", 403)] {
            let token = written(&format!(r#""sub":"a","level":{level}"#));
            assert_eq!(subject.ask(api(&token)).status(), status, "{level}");
        }
        assert_eq!(subject.ask(api(&written(r#""sub":1e400"#))).status(), 401);
    });
}

#[test]
fn a_limit_by_a_claim_counts_two_long_numbers_as_two() {
    let config = json!({
        "jwt_auth": serde_json::from_str::<Value>(&config(&provider(), any())).expect("JSON"),
        "rate_limit": {"limits": [{"name": "per_user", "key": ["claim:sub"], "quota": 1, "window": "1m"}]}
    });
    everywhere::<Edge>(&config.to_string(), |subject| {
        for (last, status) in [("5", 0), ("5", 429), ("6", 0), ("6", 429)] {
            let token = written(&format!(r#""sub":123456789012345678901234{last}"#));
            assert_eq!(subject.ask(api(&token)).status(), status, "…{last}");
        }
    });
}

#[test]
fn claims_are_found_below_names_with_dots_and_by_pointer() {
    let require = json!({"any_of": ["dashboard"], "claims": {"kubernetes.io.serviceaccount.name": ["reader"]}});
    everywhere::<JwtAuth>(&config(&provider(), require), |subject| {
        let of = |name: &str| {
            token_with(json!({
                "kubernetes.io": {"namespace": "rag", "serviceaccount": {"name": name}}, "a/b": ["first"]
            }))
        };
        let seen = subject.ask(api(&of("reader")));
        assert_eq!(seen.refused, None);
        assert_eq!(seen.header("x-namespace"), Some("rag"));
        assert_eq!(seen.header("x-first"), Some("first"));
        assert_eq!(subject.ask(api(&of("writer"))).status(), 403);
    });
}

#[test]
fn scopes_may_be_a_list_in_either_claim() {
    let require = json!({"any_of": ["dashboard"], "scopes": ["rag:read"]});
    everywhere::<JwtAuth>(&config(&provider(), require), |subject| {
        for (changes, status) in [
            (json!({"scope": ["rag:read", "x"]}), 0),
            (json!({"scope": null, "scp": ["rag:read"]}), 0),
            (json!({"scope": null, "scp": "x rag:read"}), 0),
            (json!({"scope": ["rag:read x"]}), 403),
            (json!({"scope": ["x"], "scp": ["rag:read"]}), 403),
        ] {
            let seen = subject.ask(api(&token_with(changes.clone())));
            assert_eq!(seen.status(), status, "{changes}");
        }
        let lines = subject.logs();
        assert!(
            lines.iter().any(|line| line.contains("scope=rag:read")),
            "{lines:?}"
        );
    });
}

#[test]
fn a_group_with_a_space_locks_nobody_out() {
    for (lists, expected) in [
        (None, None),
        (Some("comma"), Some("Domain Users,x")),
        (Some("json"), Some(r#"["Domain Users","x"]"#)),
    ] {
        let mut provider = provider();
        if let Some(lists) = lists {
            provider["forward"]["lists"] = json!(lists);
        }
        everywhere::<JwtAuth>(&config(&provider, any()), |subject| {
            let token = token_with(json!({"groups": ["Domain Users", "x"]}));
            let seen = subject.ask(api(&token).with("X-Groups", "admin"));
            assert_eq!((seen.refused, seen.header("x-groups")), (None, expected));
            assert_eq!(seen.header("x-user-id"), Some("alice"));
            let unfit = subject.metric("jwt_auth_claim_unfit.provider.dashboard");
            assert_eq!(unfit, u64::from(expected.is_none()));
        });
    }
}

#[test]
fn without_an_audience_the_providers_claims_are_asked() {
    let mut provider = provider();
    provider["audiences"] = json!("unchecked");
    provider["claims"] = json!({"client_id": ["rag-web"], "token_use": ["access"]});
    everywhere::<JwtAuth>(&config(&provider, any()), |subject| {
        let of = |client: &str, token_use: &str| {
            let mut claims = claims();
            claims.as_object_mut().expect("an object").remove("aud");
            claims["client_id"] = json!(client);
            claims["token_use"] = json!(token_use);
            sign(&json!({"alg": "HS256", "kid": "k1"}), &claims, JWT_SECRET)
        };
        assert_eq!(subject.ask(api(&of("rag-web", "access"))).refused, None);
        assert_eq!(subject.ask(api(&of("shop", "access"))).status(), 401);
        assert_eq!(subject.ask(api(&of("rag-web", "id"))).status(), 401);
        assert_eq!(subject.ask(api(&token())).status(), 401);
        assert_eq!(subject.metric("jwt_auth_denied.reason.provider_claims"), 3);
    });
}

#[test]
fn a_token_that_need_not_hold_leaves_its_request_to_nobody() {
    let require = json!({"optional": {"any_of": ["dashboard"], "invalid": "anonymous", "scopes": ["rag:read"]}});
    everywhere::<JwtAuth>(&config(&provider(), require), |subject| {
        let expired = token_with(json!({"exp": 1}));
        let forged = sign(
            &json!({"alg": "HS256", "kid": "k1"}),
            &claims(),
            "another-secret-of-at-least-32-bytes!",
        );
        for token in [&expired, &forged, &"x".to_owned(), &forged] {
            let seen = subject.ask(api(token).with("x-user-id", "root"));
            assert_eq!((seen.refused, seen.header("x-user-id")), (None, None));
            assert_eq!(seen.header("authorization"), None);
        }
        let seen = subject.ask(api(&token()));
        assert_eq!(
            (seen.refused, seen.header("x-user-id")),
            (None, Some("alice"))
        );
        let poor = token_with(json!({"scope": "x"}));
        assert_eq!(subject.ask(api(&poor)).status(), 403);
        let twice = api(&expired).with("authorization", "Bearer x");
        assert_eq!(subject.ask(twice).status(), 400);
        assert_eq!(subject.metric("jwt_auth_denied.reason.signature"), 2);
        assert_eq!(subject.metric("jwt_auth_cache_hits"), 0);
    });
}

#[test]
fn one_sender_of_bad_tokens_behind_a_shared_address_stops_nobody_else() {
    let mut provider = provider();
    provider["algorithms"] = json!(["EdDSA"]);
    provider["keys"] = json!([{"jwks": {"keys": [Key::of("EdDSA").jwk()]}}]);
    everywhere::<JwtAuth>(&config(&provider, any()), |subject| {
        let of = |key: &Key, changes: Value| {
            let mut claims = claims();
            for (name, value) in changes.as_object().expect("an object") {
                claims[name] = value.clone();
            }
            key.token("EdDSA", json!({}), &claims)
        };
        let (mut looked_at, mut stopped) = (0, 0);
        for second in 0..20 {
            for n in 0..15 {
                let bad = of(
                    Key::other("EdDSA"),
                    json!({"sub": "mallory", "n": second * 15 + n}),
                );
                match subject.ask(api(&bad)).status() {
                    401 => looked_at += 1,
                    429 => stopped += 1,
                    status => panic!("{status}"),
                }
                if n % 5 == 0 {
                    let good = of(
                        Key::of("EdDSA"),
                        json!({"sub": format!("user-{second}-{n}")}),
                    );
                    assert_eq!(subject.ask(api(&good)).refused, None);
                }
            }
            subject.advance_millis(1000);
        }
        assert!(
            looked_at <= 100 + 10 * 20 && stopped > 0,
            "{looked_at} {stopped}"
        );
    });
}

/// `dashboard` has a secret; `company`'s keys are fetched.
fn ready_config() -> Value {
    let mut config: Value = serde_json::from_str(&config(&provider(), any())).expect("JSON");
    config["providers"]["company"] = json!({
        "issuer": COMPANY, "audiences": ["rag-api"], "algorithms": ["EdDSA"],
        "keys": [{"remote_jwks": {
            "upstream": "idp:443", "authority": "id.example.com", "path": "/keys",
            "refresh": "10m", "max_stale": "1m"
        }}]
    });
    config
}

fn is_ready_once_all_keys_are_there(subject: &mut dyn Subject) {
    let missing = r#"{"ready":false,"missing":["company"]}"#;
    let ask = |subject: &mut dyn Subject, method: &str| {
        let seen = subject.ask(Sent::new(method, "/ready"));
        assert_eq!(seen.header("content-type"), Some("application/json"));
        assert_eq!(seen.header("cache-control"), Some("no-store"));
        (seen.status(), seen.body)
    };
    let set = portcullis_issuer::jwks(&[("d1", Key::of("EdDSA"))]).to_string();
    for _ in 0..20 {
        assert_eq!(ask(subject, "GET"), (503, missing.to_owned()));
    }
    assert_eq!(ask(subject, "HEAD").0, 503);
    subject.tick();
    assert!(subject.call().is_some());
    subject.answer_call(Some((500, "")));
    assert_eq!(ask(subject, "GET").0, 503);
    for _ in 0..50 {
        subject.advance_millis(100);
        subject.tick();
        if subject.call().is_some() {
            break;
        }
    }
    subject.answer_call(Some((200, &set)));
    let all = r#"{"ready":true,"missing":[]}"#;
    assert_eq!(ask(subject, "GET"), (200, all.to_owned()));
    assert_eq!(ask(subject, "HEAD").0, 200);
    assert_eq!(subject.ask(Sent::new("POST", "/ready")).status(), 403);
    subject.advance_millis(660_000);
    assert_eq!(ask(subject, "GET"), (503, missing.to_owned()), "too old");
}

#[test]
fn a_gateway_is_ready_once_all_keys_are_there_and_no_longer_when_they_are_too_old() {
    let mut config = ready_config();
    config["ready"] = json!({"path": "/ready"});
    everywhere::<JwtAuth>(&config.to_string(), is_ready_once_all_keys_are_there);
}

#[test]
fn edge_says_whether_it_is_ready_before_any_limit_counts() {
    let config = json!({
        "jwt_auth": ready_config(),
        "rate_limit": {
            "limits": [{"name": "all", "key": ["constant"], "quota": 2, "window": "1h"}],
            "before_auth": ["all"]
        },
        "ready": {"path": "/ready"}
    });
    everywhere::<Edge>(&config.to_string(), |subject| {
        is_ready_once_all_keys_are_there(subject);
        assert_eq!(
            subject.metric("rate_limit_allowed.limit.all"),
            1,
            "the POST"
        );
    });
    let alone = json!({"ready": {"path": "/ready"}, "rate_limit": config["rate_limit"]});
    everywhere::<Edge>(&alone.to_string(), |subject| {
        assert_eq!(subject.ask(Sent::get("/ready")).status(), 200);
    });
    let mut twice = config;
    twice["jwt_auth"]["ready"] = json!({"path": "/ready"});
    let refused = portcullis_conformance::PolicySubject::<Edge>::new(
        portcullis_sim::Dialect::Envoy,
        &twice.to_string(),
    );
    let error = refused.err().expect("an error").to_string();
    assert!(
        error.starts_with("ready: it stands in `jwt_auth` too"),
        "{error}"
    );
}
