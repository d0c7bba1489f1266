//! Key sets as issuers publish them, and where.

use portcullis_conformance::{START_UNIX_SECS, module};
use portcullis_sim::Dialect;
use portcullis_testhost::Host;

use super::*;

#[test]
fn sets_as_issuers_publish_them_are_read_key_by_key() {
    let padded = |key: &Key| {
        let mut jwk = key.jwk();
        for member in ["n", "e", "x", "y"] {
            if let Some(number) = jwk[member].as_str() {
                let padding = "=".repeat((4 - number.len() % 4) % 4);
                jwk[member] = json!(format!("{number}{padding}"));
            }
        }
        for member in ["use", "alg", "key_ops", "kid"] {
            jwk[member] = Value::Null;
        }
        jwk
    };
    let set = json!([
        null,
        {"kty": "AKP", "kid": "pq", "alg": "ML-DSA-65", "pub": "AA"},
        padded(Key::of("RS256")),
        padded(Key::of("ES256")),
        padded(Key::of("EdDSA"))
    ]);
    let fields = json!({
        "algorithms": ["RS256", "ES256", "EdDSA"], "keys": [{"jwks": {"keys": set}}]
    });
    assert_reasons(&config(fields, json!({})), &|| {
        let of = |name: &str, header: Value| token(Key::of(name), name, header, json!({}));
        vec![
            ("RS256", of("RS256", json!({})), None),
            ("ES256", of("ES256", json!({})), None),
            ("EdDSA, by a name", of("EdDSA", json!({"kid": "k"})), None),
            (
                "by another key",
                token(Key::other("EdDSA"), "EdDSA", json!({"kid": "k"}), json!({})),
                Some("signature"),
            ),
        ]
    });
}

#[test]
fn one_name_may_be_that_of_several_keys() {
    let named = |of: &str, alg: Value| {
        let mut jwk = Key::of(of).jwk();
        (jwk["kid"], jwk["alg"]) = (json!("one"), alg);
        jwk
    };
    let keys = json!([
        named("RS256", json!("RS256")),
        named("RS256", json!("RS512")),
        named("EdDSA", json!(null))
    ]);
    let fields = json!({
        "algorithms": ["RS256", "RS512", "EdDSA"], "keys": [{"jwks": {"keys": keys}}]
    });
    assert_reasons(&config(fields, json!({})), &|| {
        let of =
            |key: &str, name: &str| token(Key::of(key), name, json!({"kid": "one"}), json!({}));
        vec![
            ("RS256", of("RS256", "RS256"), None),
            ("RS512", of("RS512", "RS512"), None),
            ("EdDSA", of("EdDSA", "EdDSA"), None),
        ]
    });
}

/// `company`, whose keys are found by discovery, perhaps on another host.
fn discovering() -> String {
    let remote = json!({
        "upstream": "idp:443", "authority": "id.example.com", "discovery": true,
        "jwks_hosts": [{"authority": "www.keys.example", "upstream": "keys:443"}]
    });
    config(json!({"keys": [{"remote_jwks": remote}]}), json!({}))
}

#[test]
fn keys_may_lie_on_another_host_that_is_named() {
    let call = |upstream: &str, host: &str, path: &str| {
        Some([upstream, "https", host, path].map(str::to_owned))
    };
    everywhere::<JwtAuth>(&discovering(), |subject| {
        let description = |uri: &str| json!({"issuer": ISSUER, "jwks_uri": uri}).to_string();
        subject.tick();
        let first = call(
            "idp:443",
            "id.example.com",
            "/.well-known/openid-configuration",
        );
        assert_eq!(subject.call(), first);
        let elsewhere = description("https://evil.example/certs");
        subject.answer_call(Some((200, &elsewhere)));
        assert_eq!(subject.call(), None, "nobody else is asked");
        let line = "result=foreign_jwks_uri jwks_uri=https://evil.example/certs";
        assert!(subject.logs().iter().any(|told| told.ends_with(line)));
        subject.advance_millis(1_000);
        subject.tick();
        let other = json!({"issuer": "https://other.example", "jwks_uri": "https://x/y"});
        subject.answer_call(Some((200, &other.to_string())));
        let line =
            "result=issuer_mismatch expected=https://id.example.com found=https://other.example";
        assert!(subject.logs().iter().any(|told| told.ends_with(line)));
        subject.advance_millis(2_000);
        subject.tick();
        subject.answer_call(Some((200, &description("https://www.keys.example/certs"))));
        assert_eq!(
            subject.call(),
            call("keys:443", "www.keys.example", "/certs")
        );
        let set = portcullis_issuer::jwks(&[("d1", Key::of("EdDSA"))]).to_string();
        subject.answer_call(Some((200, &set)));
        assert_eq!(
            reason(subject, &good(json!({"kid": "d1"}), json!({}))),
            None
        );
    });
}

#[test]
fn a_key_that_was_replaced_under_its_name_is_fetched() {
    let remote = json!({"upstream": "idp:443", "authority": "id.example.com", "path": "/certs"});
    let remote = config(json!({"keys": [{"remote_jwks": remote}]}), json!({}));
    everywhere::<JwtAuth>(&remote, |subject| {
        let set = |key: &Key| {
            let mut set = portcullis_issuer::jwks(&[("k", key)]);
            let odd = json!({"kty": "AKP", "kid": "pq", "pub": "AA"});
            set["keys"].as_array_mut().expect("a list").push(odd);
            set.to_string()
        };
        subject.tick();
        subject.answer_call(Some((200, &set(Key::of("EdDSA")))));
        let told = subject.logs();
        let line = "key=\"keys[1]\" kid=pq why=\"`kty` is not RSA, EC or OKP\"";
        assert!(told.iter().any(|told| told.ends_with(line)), "{told:?}");
        let new = token(Key::other("EdDSA"), "EdDSA", json!({"kid": "k"}), json!({}));
        subject.advance_millis(9_000);
        for _ in 0..2 {
            assert_eq!(reason(subject, &new).as_deref(), Some("signature"));
        }
        subject.tick();
        assert_eq!(subject.call(), None, "not before refetch_min_interval");
        subject.advance_millis(1_000);
        subject.tick();
        subject.answer_call(Some((200, &set(Key::other("EdDSA")))));
        assert_eq!(reason(subject, &new), None);
    });
}

#[test]
fn an_issuer_that_hangs_delays_no_others_keys() {
    let remote = |path: &str| {
        json!([{"remote_jwks": {
            "upstream": "idp:443", "authority": "id.example.com", "path": path, "timeout": "60s"
        }}])
    };
    let mut two: Value =
        serde_json::from_str(&config(json!({"keys": remote("/hangs")}), json!({}))).expect("JSON");
    let mut other = two["providers"]["company"].clone();
    (other["issuer"], other["keys"]) = (json!("https://other.example"), remote("/keys"));
    two["providers"]["other"] = other;
    two["rules"][0]["require"]["any_of"] = json!(["company", "other"]);
    everywhere::<JwtAuth>(&two.to_string(), |subject| {
        subject.tick();
        let set = portcullis_issuer::jwks(&[("d1", Key::of("EdDSA"))]).to_string();
        subject.answer_call_to("/keys", Some((200, &set)));
        let of_other = good(
            json!({"kid": "d1"}),
            json!({"iss": "https://other.example"}),
        );
        assert_eq!(reason(subject, &of_other), None);
        let hangs = good(json!({"kid": "d1"}), json!({}));
        assert_eq!(reason(subject, &hangs).as_deref(), Some("keys_unavailable"));
        subject.answer_call_to("/hangs", Some((200, &set)));
        assert_eq!(reason(subject, &hangs), None);
    });
}

#[test]
fn a_cluster_that_does_not_exist_is_told_from_one_that_does_not_answer() {
    let remote = json!({"upstream": "ipd", "authority": "id.example.com", "path": "/certs"});
    let jwt_auth = config(json!({"keys": [{"remote_jwks": remote}]}), json!({}));
    let edge = format!(r#"{{"jwt_auth":{jwt_auth}}}"#);
    for (filter, config) in [("jwt_auth", &jwt_auth), ("edge", &edge)] {
        let mut host = Host::builder(Dialect::Envoy)
            .clusters(&["idp"])
            .now_unix_nanos(START_UNIX_SECS * 1_000_000_000)
            .build(&module(filter), config.as_bytes())
            .unwrap_or_else(|error| panic!("{filter}: {error}"));
        host.tick(0).expect("no trap");
        assert!(host.pending_calls().is_empty());
        let line = "plugin=jwt_auth event=keys_not_fetched provider=company \
                    result=no_such_upstream upstream=ipd";
        let logs = host.logs();
        assert!(
            logs.iter().any(|told| told.text == line),
            "{filter}: {logs:?}"
        );
    }
}
