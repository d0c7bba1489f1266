//! `jwt_auth`: where tokens come from, who must have which, what goes on to the backend.

use portcullis_conformance::token::claims;
use portcullis_conformance::{Sent, Subject, everywhere};
use portcullis_issuer::Key;
use portcullis_jwt_auth::JwtAuth;
use serde_json::{Value, json};

const COMPANY: &str = "https://id.example.com";
const DEVICES: &str = "https://devices.example";

/// `company`: EdDSA, from header, cookie and query. `devices`: ES384, from a header of its own.
fn config(rest: Value) -> String {
    let key = |algorithm: &str| json!([{"jwks": {"keys": [Key::of(algorithm).jwk()]}}]);
    let mut config = json!({
        "providers": {
            "company": {
                "issuer": COMPANY, "audiences": ["rag-api"], "algorithms": ["EdDSA"], "keys": key("EdDSA"),
                "token_from": [
                    {"header": "authorization", "scheme": "Bearer"}, {"cookie": "session"}, {"query": "access_token"}
                ],
                "forward": {
                    "claims": {"sub": "x-user-id", "groups": "x-groups", "tenant": "x-tenant"},
                    "payload_header": "x-jwt-payload"
                }
            },
            "devices": {
                "issuer": DEVICES, "audiences": ["rag-api"], "algorithms": ["ES384"], "keys": key("ES384"),
                "token_from": [{"header": "x-device-token"}],
                "forward": {"token": "keep", "claims": {"sub": "x-device-id"}}
            }
        },
        "rules": [
            {"match": {"paths": [{"prefix": "/both"}]}, "require": {"all_of": ["company", "devices"], "scopes": ["rag:read"]}},
            {"match": {"paths": [{"prefix": "/either"}]}, "require": {"any_of": ["company", "devices"]}},
            {"match": {"paths": [{"prefix": "/optional"}]}, "require": {"optional": {"any_of": ["company"], "scopes": ["rag:read"]}}},
            {"match": {"paths": [{"prefix": "/api"}]}, "require": {"any_of": ["company"]}}
        ]
    });
    for (name, value) in rest.as_object().expect("an object") {
        config[name] = value.clone();
    }
    config.to_string()
}

fn token_of(issuer: &str, changes: Value) -> String {
    let mut claims = claims();
    claims["iss"] = json!(issuer);
    for (name, value) in changes.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    let algorithm = if issuer == DEVICES { "ES384" } else { "EdDSA" };
    Key::of(algorithm).token(algorithm, json!({"typ": "at+jwt"}), &claims)
}

fn company() -> String {
    token_of(COMPANY, json!({}))
}

fn bearer(path: &str, token: &str) -> Sent {
    Sent::get(path).with("authorization", &format!("Bearer {token}"))
}

#[test]
fn a_token_in_a_cookie_is_taken_out_and_the_other_cookies_stay() {
    everywhere::<JwtAuth>(&config(json!({})), |subject| {
        let cookies = format!("theme=dark; session={}; lang=de", company());
        let seen = subject.ask(Sent::get("/api/x").with("cookie", &cookies));
        assert_eq!(seen.refused, None);
        assert_eq!(seen.header("cookie"), Some("theme=dark; lang=de"));
        assert_eq!(seen.header("x-user-id"), Some("alice"));
        let only = format!("session={}", company());
        let seen = subject.ask(Sent::get("/api/x").with("cookie", &only));
        assert_eq!((seen.refused, seen.header("cookie")), (None, None));
    });
}

#[test]
fn a_token_in_the_query_is_taken_out_where_the_gateway_can_do_that() {
    everywhere::<JwtAuth>(&config(json!({})), |subject| {
        let target = format!("/api/x?q=a%20b&access_token={}&k=5", company());
        let seen = subject.ask(Sent::get(&target));
        // Kong has settled the upstream's path before any filter runs: better no answer than one
        // for which the token went on.
        let refused = if subject.is_kong() && seen.refused.is_some() {
            Some(503)
        } else {
            None
        };
        assert_eq!(seen.refused, refused);
        if refused.is_none() {
            assert_eq!(seen.header(":path"), Some("/api/x?q=a%20b&k=5"));
        }
        for line in subject.logs() {
            assert!(!line.contains("access_token"), "{line}");
        }
    });
}

#[test]
fn a_token_that_is_kept_stays_in_the_query_on_either_gateway() {
    let mut kept: Value = serde_json::from_str(&config(json!({}))).expect("JSON");
    kept["providers"]["company"]["forward"]["token"] = json!("keep");
    everywhere::<JwtAuth>(&kept.to_string(), |subject| {
        let target = format!("/api/x?access_token={}", company());
        let seen = subject.ask(Sent::get(&target));
        assert_eq!(
            (seen.refused, seen.header("x-user-id")),
            (None, Some("alice"))
        );
    });
}

#[test]
fn two_tokens_in_two_places_are_refused() {
    everywhere::<JwtAuth>(&config(json!({})), |subject| {
        let (token, cookie) = (company(), format!("session={}", company()));
        let query = format!("/api/x?access_token={token}");
        for (what, sent) in [
            (
                "header and cookie",
                bearer("/api/x", &token).with("cookie", &cookie),
            ),
            ("header and query", bearer(&query, &token)),
            (
                "cookie and query",
                Sent::get(&query).with("cookie", &cookie),
            ),
            (
                "twice the cookie",
                Sent::get("/api/x").with("cookie", &format!("{cookie}; {cookie}")),
            ),
            (
                "two lines of cookies",
                Sent::get("/api/x")
                    .with("cookie", &cookie)
                    .with("cookie", "a=b"),
            ),
            (
                "twice the parameter",
                Sent::get(&format!("{query}&access_token={token}")),
            ),
            (
                "in another spelling",
                Sent::get(&format!("{query}&Access%5Ftoken={token}")),
            ),
            (
                "behind a semicolon",
                Sent::get(&format!("/api/x?q=1;access_token={token}")),
            ),
        ] {
            assert_eq!(subject.ask(sent).status(), 400, "{what}");
        }
        assert_eq!(subject.metric("jwt_auth_denied.reason.several_tokens"), 8);
    });
}

#[test]
fn all_of_asks_for_each_and_the_first_is_the_caller() {
    everywhere::<JwtAuth>(&config(json!({})), |subject| {
        let device = || token_of(DEVICES, json!({"sub": "sensor-7", "scope": ""}));
        let both = |token: &str| bearer("/both", token).with("x-device-token", &device());
        let seen = subject.ask(both(&company()));
        assert_eq!(seen.refused, None);
        assert_eq!(seen.header("x-user-id"), Some("alice"));
        assert_eq!(seen.header("x-device-id"), Some("sensor-7"));
        assert_eq!(seen.header("authorization"), None, "stripped");
        assert_eq!(
            seen.header("x-device-token"),
            Some(device().as_str()),
            "kept"
        );
        for (what, sent, status) in [
            ("only the first", bearer("/both", &company()), 401),
            (
                "only the second",
                Sent::get("/both").with("x-device-token", &device()),
                401,
            ),
            (
                "the second in the first's place",
                bearer("/both", &device()),
                401,
            ),
            (
                "a bad second",
                bearer("/both", &company()).with("x-device-token", &company()),
                401,
            ),
            (
                "the first without the scope",
                both(&token_of(COMPANY, json!({"scope": ""}))),
                403,
            ),
        ] {
            assert_eq!(subject.ask(sent).status(), status, "{what}");
        }
    });
}

#[test]
fn any_of_takes_one_and_refuses_two() {
    everywhere::<JwtAuth>(&config(json!({})), |subject| {
        let device = token_of(DEVICES, json!({"sub": "sensor-7"}));
        let seen = subject.ask(Sent::get("/either").with("x-device-token", &device));
        assert_eq!(
            (seen.refused, seen.header("x-device-id")),
            (None, Some("sensor-7"))
        );
        assert_eq!(seen.header("x-user-id"), None);
        let two = bearer("/either", &company()).with("x-device-token", &device);
        assert_eq!(subject.ask(two).status(), 400);
    });
}

#[test]
fn optional_lets_nobody_pass_as_nobody_and_refuses_what_does_not_hold() {
    everywhere::<JwtAuth>(&config(json!({})), |subject| {
        let forged = Sent::get("/optional").with("x-user-id", "root");
        let seen = subject.ask(forged.with("x-jwt-payload", "e30"));
        assert_eq!((seen.refused, seen.header("x-user-id")), (None, None));
        assert_eq!(seen.header("x-jwt-payload"), None);
        let seen = subject.ask(bearer("/optional", &company()));
        assert_eq!(
            (seen.refused, seen.header("x-user-id")),
            (None, Some("alice"))
        );
        for (what, sent, status) in [
            ("no token", bearer("/optional", "x"), 401),
            (
                "expired",
                bearer("/optional", &token_of(COMPANY, json!({"exp": 1}))),
                401,
            ),
            (
                "another issuer's",
                bearer("/optional", &token_of(DEVICES, json!({}))),
                401,
            ),
            (
                "without the scope",
                bearer("/optional", &token_of(COMPANY, json!({"scope": "x"}))),
                403,
            ),
        ] {
            assert_eq!(subject.ask(sent).status(), status, "{what}");
        }
    });
}

#[test]
fn claims_go_on_by_their_kind_and_the_payload_as_it_stands() {
    everywhere::<JwtAuth>(&config(json!({})), |subject| {
        let token = token_of(
            COMPANY,
            json!({"groups": ["a", 2, true], "tenant": {"id": 7}}),
        );
        let seen = subject.ask(bearer("/api/x", &token).with("x-jwt-payload", "forged"));
        assert_eq!(seen.refused, None);
        assert_eq!(seen.header("x-groups"), Some("a 2 true"));
        assert_eq!(seen.header("x-tenant"), Some("eyJpZCI6N30"), "{{\"id\":7}}");
        assert_eq!(seen.header("x-jwt-payload"), token.split('.').nth(1));
        for unfit in [json!(["a b"]), json!(["a", ""])] {
            let token = token_of(COMPANY, json!({"groups": unfit}));
            let seen = subject.ask(bearer("/api/x", &token).with("x-groups", "forged"));
            assert_eq!((seen.refused, seen.header("x-groups")), (None, None));
        }
        for unsafe_groups in [json!(["a\n"]), json!(["a b", "a\n"]), json!("a\n")] {
            let token = token_of(COMPANY, json!({"groups": unsafe_groups}));
            assert_eq!(subject.ask(bearer("/api/x", &token)).status(), 401);
        }
    });
}

#[test]
fn a_client_that_sends_bad_signatures_is_not_listened_to_for_a_while() {
    let budget = config(json!({"verify_budget": {"failures": 3, "window": "30s"}}));
    everywhere::<JwtAuth>(&budget, |subject| {
        let mut changes = 0;
        let mut forged = |peer: &str| {
            changes += 1;
            let mut claims = claims();
            claims["iss"] = json!(COMPANY);
            claims["n"] = json!(changes);
            bearer(
                "/api/x",
                &Key::other("EdDSA").token("EdDSA", json!({}), &claims),
            )
            .from(peer)
        };
        let known = company();
        assert_eq!(subject.ask(bearer("/api/x", &known)).refused, None);
        let again = forged("192.0.2.1");
        for _ in 0..5 {
            assert_eq!(
                subject.ask(again.clone()).status(),
                401,
                "one and the same costs one check"
            );
        }
        assert_eq!(subject.ask(forged("192.0.2.1")).status(), 401);
        assert_eq!(subject.ask(forged("192.0.2.1")).status(), 401);
        let seen = subject.ask(forged("192.0.2.1"));
        assert_eq!(
            (seen.status(), seen.header("retry-after")),
            (429, Some("10"))
        );
        assert_eq!(subject.metric("jwt_auth_denied.reason.signature"), 7);
        assert_eq!(subject.metric("jwt_auth_denied.reason.verify_budget"), 1);

        assert_eq!(
            subject.ask(bearer("/api/x", &known)).refused,
            None,
            "known before"
        );
        let other = token_of(COMPANY, json!({"sub": "bob"}));
        assert_eq!(
            subject
                .ask(bearer("/api/x", &other).from("192.0.2.2"))
                .refused,
            None
        );
        assert_eq!(
            subject.ask(forged("192.0.2.2")).status(),
            401,
            "another client's own budget"
        );
        subject.advance_millis(10_000);
        assert_eq!(
            subject.ask(forged("192.0.2.1")).status(),
            401,
            "one has come back"
        );
        assert_eq!(subject.ask(forged("192.0.2.1")).status(), 429);
    });
}

#[test]
fn keys_are_fetched_between_requests() {
    let mut remote: Value = serde_json::from_str(&config(json!({}))).expect("JSON");
    remote["providers"]["company"]["keys"] = json!([{"remote_jwks": {
        "upstream": "idp:443", "authority": "id.example.com", "discovery": true,
        "refresh": "10m", "max_stale": "1h"
    }}]);
    let description =
        json!({"issuer": COMPANY, "jwks_uri": "https://id.example.com/certs"}).to_string();
    let set = portcullis_issuer::jwks(&[("d1", Key::of("EdDSA"))]).to_string();
    let calls = |path: &str| {
        let call = ["idp:443", "https", "id.example.com", path];
        Some(call.map(str::to_owned))
    };
    everywhere::<JwtAuth>(&remote.to_string(), |subject| {
        let lasting = token_of(COMPANY, json!({"exp": 1_999_999_999}));
        let ask = |subject: &mut dyn Subject| subject.ask(bearer("/api/x", &lasting));
        let seen = ask(subject);
        assert_eq!(
            (seen.status(), seen.header("retry-after")),
            (503, Some("5"))
        );
        assert_eq!(subject.call(), None, "a request asks nobody");
        subject.tick();
        assert_eq!(subject.call(), calls("/.well-known/openid-configuration"));
        subject.answer_call(Some((200, &description)));
        assert_eq!(subject.call(), calls("/certs"));
        assert_eq!(ask(subject).status(), 503, "nor does it wait");
        subject.answer_call(Some((200, &set)));
        assert_eq!(ask(subject).refused, None);
        assert_eq!(
            subject.metric("jwt_auth_jwks_fetches.provider.company.result.ok"),
            1
        );
        assert_eq!(subject.metric("jwt_auth_jwks_keys.provider.company"), 1);

        subject.advance_millis(601_000);
        for answer in [
            None,
            Some((302, "")),
            Some((200, "<html>")),
            Some((200, r#"{"keys":[]}"#)),
        ] {
            for _ in 0..400 {
                subject.advance_millis(100);
                subject.tick();
                if subject.call().is_some() {
                    break;
                }
            }
            let path = subject.call().expect("a call is due")[3].clone();
            assert_eq!(path, "/.well-known/openid-configuration");
            subject.answer_call(Some((200, &description)));
            subject.answer_call(answer);
            assert_eq!(ask(subject).refused, None, "the old keys serve on");
        }
        for result in ["unreachable", "status", "malformed", "no_usable_key"] {
            let name = format!("jwt_auth_jwks_fetches.provider.company.result.{result}");
            assert_eq!(subject.metric(&name), 1, "{result}");
        }
    });
}
