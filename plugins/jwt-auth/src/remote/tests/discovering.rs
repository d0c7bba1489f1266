//! The set's place is found out from the issuer's own description.

use super::*;

/// One fetch: two timeouts, and what it may take to tell of it.
const LEASE: Span = secs(8);

fn config() -> Value {
    let mut remote = remote_with(json!({"discovery": true}));
    remote.as_object_mut().unwrap().remove("path");
    providers(&[("p", provider(ISSUER, &remote))])
}

fn description(issuer: &str, jwks_uri: &str) -> CallAnswer {
    ok(json!({"issuer": issuer, "jwks_uri": jwks_uri, "x": 1}).to_string())
}

fn good() -> CallAnswer {
    description(ISSUER, "https://id.example.com/certs?v=1")
}

fn until_refresh(gateway: &Gateway) {
    gateway.until_asked(secs(600)).unwrap();
}

#[test]
fn a_fetch_takes_two_calls_of_one_worker_and_counts_once() {
    for dialect in Dialect::BOTH {
        let gateway = Gateway::new(dialect, 2, &config());
        for (refresh, kid) in [(1, "a"), (2, "b")] {
            until_refresh(&gateway);
            let asked = gateway.asking();
            let call = gateway.call();
            assert_eq!(call.path, "/realms/rag/.well-known/openid-configuration");
            gateway.answer(&good());
            assert_eq!(gateway.asking(), asked, "the second call follows at once");
            assert_eq!(
                gateway.call(),
                HttpCall {
                    path: "/certs?v=1".to_owned(),
                    ..call
                }
            );
            gateway.wait(secs(2));
            gateway.tick();
            assert_eq!(gateway.asking(), asked, "nobody else does");
            gateway.answer(&set(&[(kid, of())]));
            gateway.tick();
            assert!(gateway.all_pass(&token(kid, of())), "{dialect:?}");
            assert_eq!(gateway.fetches("ok"), refresh);
        }
    }
}

#[test]
fn a_description_that_is_not_ours_or_leads_elsewhere_is_not_followed() {
    let other = "https://id.example.com/realms/other";
    let certs = "https://id.example.com/certs";
    for (answer, result) in [
        (description(other, certs), "issuer_mismatch"),
        (description(&format!("{ISSUER}/"), certs), "issuer_mismatch"),
        (
            description(ISSUER, "https://evil.example/certs"),
            "foreign_jwks_uri",
        ),
        (
            description(ISSUER, "http://id.example.com/certs"),
            "foreign_jwks_uri",
        ),
        (description(ISSUER, "/certs"), "malformed"),
        (ok("<html>"), "malformed"),
        (ok(" ".repeat(64 * 1024 + 1)), "too_large"),
        (set(&[("a", of())]), "malformed"),
        (status(302, ""), "status"),
        (unreachable(), "unreachable"),
    ] {
        for dialect in Dialect::BOTH {
            let gateway = Gateway::new(dialect, 2, &config());
            until_refresh(&gateway);
            gateway.answer(&good());
            gateway.answer(&set(&[("a", of())]));
            until_refresh(&gateway);
            gateway.answer(&answer);
            assert!(gateway.asking().is_empty(), "{result}: no second call");
            gateway.tick();
            assert_eq!(gateway.fetches(result), 1, "{result}");
            assert!(
                gateway.all_pass(&token("a", of())),
                "{result}: the good set stays"
            );
            assert_eq!(gateway.until_asked(secs(60)), Some(secs(1)), "{result}");
        }
    }
}

#[test]
fn a_second_call_that_fails_is_a_failure_of_the_whole() {
    for (answer, result) in [
        (status(500, ""), "status"),
        (unreachable(), "unreachable"),
        (ok(r#"{"keys":[]}"#), "no_usable_key"),
        (good(), "malformed"),
    ] {
        let gateway = Gateway::new(Dialect::Kong, 2, &config());
        for (failures, pause) in [(1, 1), (2, 2), (3, 4)] {
            until_refresh(&gateway);
            gateway.answer(&good());
            gateway.answer(&answer);
            assert_eq!(gateway.fetches(result), failures, "{result}");
            assert_eq!(gateway.fetches("ok"), 0);
            assert_eq!(gateway.until_asked(secs(60)), Some(secs(pause)), "{result}");
            let path = gateway.call().path;
            assert!(
                path.ends_with("openid-configuration"),
                "from the start: {path}"
            );
        }
        gateway.answer(&good());
        gateway.answer(&set(&[("a", of())]));
        gateway.tick();
        assert!(gateway.all_pass(&token("a", of())), "{result}");
    }
}

#[test]
fn the_lease_is_for_both_calls() {
    for dialect in Dialect::BOTH {
        for description_came in [false, true] {
            let gateway = Gateway::new(dialect, 2, &config());
            let (dead, heir) = (gateway.worker(0), gateway.worker(1));
            dead.tick();
            gateway.wait(secs(3));
            if description_came {
                dead.answer_call(&good());
            }
            gateway.wait(Span::from_nanos(LEASE.as_nanos() - secs(3).as_nanos() - 1));
            heir.tick();
            assert_eq!(heir.call(), None, "{dialect:?} {description_came}");
            gateway.wait(Span::from_nanos(1));
            heir.tick();
            heir.answer_call(&good());
            heir.answer_call(&set(&[("a", of())]));
            assert!(
                passes(heir, &token("a", of())),
                "{dialect:?} {description_came}"
            );
            assert_eq!(gateway.fetches("ok"), 1);
        }
    }
}

#[test]
fn the_set_may_move() {
    let gateway = Gateway::new(Dialect::Envoy, 2, &config());
    for (place, kid) in [("old", "a"), ("new", "b")] {
        until_refresh(&gateway);
        gateway.answer(&description(
            ISSUER,
            &format!("https://ID.example.com:443/{place}"),
        ));
        assert_eq!(gateway.call().path, format!("/{place}"));
        gateway.answer(&set(&[(kid, of())]));
        gateway.tick();
        assert!(gateway.all_pass(&token(kid, of())));
    }
}

#[test]
fn a_second_call_follows_beside_that_for_another_set() {
    let mut remote = remote_with(json!({"discovery": true}));
    remote.as_object_mut().unwrap().remove("path");
    let elsewhere = remote_with(json!({"path": "/q"}));
    let config = providers(&[
        ("p", provider(ISSUER, &remote)),
        ("q", provider("https://q.example", &elsewhere)),
    ]);
    let gateway = Gateway::new(Dialect::Envoy, 1, &config);
    gateway.tick();
    gateway.answer(&good());
    let calls = gateway.worker(0).calls();
    let paths: Vec<_> = calls.iter().map(|call| &*call.path).collect();
    assert_eq!(paths, ["/q", "/certs?v=1"]);
    gateway.answer(&set(&[("b", of())]));
    gateway.answer(&set(&[("a", of())]));
    assert!(gateway.all_pass(&token("a", of())));
    assert!(gateway.all_pass(&token_by("https://q.example", "b", of())));
}

/// The key set lies elsewhere, where that is allowed by name.
#[test]
fn a_description_may_lead_to_another_host_that_is_named() {
    let hosts = json!([
        {"authority": "www.keys.example", "upstream": "keys"},
        {"authority": "10.0.0.1:6443", "upstream": "api"}
    ]);
    let fields = json!({"path": null, "discovery": true, "jwks_hosts": hosts});
    for dialect in Dialect::BOTH {
        let gateway = Gateway::new(dialect, 2, &config_with(fields.clone()));
        for (uri, asked) in [
            (
                "https://www.keys.example/v3/certs",
                ("keys", "www.keys.example", "/v3/certs"),
            ),
            (
                "https://10.0.0.1:6443/jwks",
                ("api", "10.0.0.1:6443", "/jwks"),
            ),
            (
                "https://id.example.com/certs",
                ("idp", "id.example.com", "/certs"),
            ),
        ] {
            until_refresh(&gateway);
            gateway.answer(&description(ISSUER, uri));
            let call = gateway.call();
            assert_eq!((&*call.upstream, &*call.authority, &*call.path), asked);
            gateway.answer(&set(&[("a", of())]));
            gateway.tick();
            assert!(gateway.all_pass(&token("a", of())), "{uri}");
        }
        until_refresh(&gateway);
        gateway.answer(&description(ISSUER, "https://keys.example/certs"));
        assert!(gateway.asking().is_empty());
        assert_eq!(gateway.fetches("foreign_jwks_uri"), 1);
    }
}

#[test]
fn a_template_is_described_by_its_own_shape() {
    let template = "https://login.example/{tid}/v2.0";
    let remote = json!({
        "upstream": "idp", "authority": "login.example",
        "discovery": {"path": "/common/v2.0/.well-known/openid-configuration"}
    });
    let mut provider = provider(ISSUER, &remote);
    provider["issuer"] = json!({"template": template});
    let gateway = Gateway::new(Dialect::Kong, 2, &providers(&[("p", provider)]));
    let keys = "https://login.example/common/keys";
    for (name, taken) in [
        ("https://login.example/t1/v2.0", false),
        ("https://login.example/{a}/{b}/v2.0", false),
        ("https://login.example/{tenantid}/v2.0", true),
    ] {
        until_refresh(&gateway);
        assert_eq!(
            gateway.call().path,
            "/common/v2.0/.well-known/openid-configuration"
        );
        gateway.answer(&description(name, keys));
        assert_eq!(!gateway.asking().is_empty(), taken, "{name}");
    }
    gateway.answer(&set(&[("a", of())]));
    gateway.tick();
    let of_tenant = |iss: &str, tid: &str| {
        let claims = json!({
            "iss": format!("https://login.example/{iss}/v2.0"), "tid": tid, "aud": "rag-api",
            "exp": 4_000_000_000_u64
        });
        of().token("EdDSA", json!({"kid": "a"}), &claims)
    };
    assert!(gateway.all_pass(&of_tenant("t1", "t1")));
    assert!(gateway.all_refuse(&of_tenant("t1", "t2"), 401, "unknown_issuer"));
}
