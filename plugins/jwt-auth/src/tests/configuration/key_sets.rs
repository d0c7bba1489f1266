//! Sets that are written down, and where others are looked for.

use portcullis_issuer::Key as Signer;

use super::keys::{assert_wrong, remote};
use super::*;
use crate::jwks::MOST_KEYS;

#[test]
fn one_name_may_be_that_of_keys_for_several_algorithms() {
    let named = |of: &str, only: Option<&str>| {
        let jwk = with(Signer::of(of).jwk(), "kid", json!("a"));
        with(jwk, "alg", json!(only))
    };
    for (keys, error) in [
        (vec![named("RS256", None), named("ES256", None)], None),
        (
            vec![named("RS256", Some("RS256")), named("RS256", Some("RS512"))],
            None,
        ),
        (
            vec![named("RS256", Some("RS256")), named("RS256", None)],
            Some(r#"keys[1].kid: "a" is there twice"#),
        ),
        (
            vec![named("RS256", Some("RS512")), named("RS256", Some("RS512"))],
            Some(r#"keys[1].kid: "a" is there twice"#),
        ),
    ] {
        let mut config = config();
        config["providers"]["dashboard"]["algorithms"] = json!(["RS512"]);
        config["providers"]["dashboard"]["keys"] = json!([{"jwks": {"keys": keys}}]);
        if keys.iter().any(|key| key["kty"] == "EC") {
            config["providers"]["dashboard"]["algorithms"] = json!(["RS512", "ES256"]);
        }
        let told = Gateway::try_new(config).err();
        let expected = error.map(|error| format!("providers.dashboard.keys[0].jwks.{error}"));
        assert_eq!(told, expected);
    }
}

#[test]
fn as_many_keys_may_be_written_down_as_are_read() {
    let set = |count: usize| {
        let keys: Vec<_> = (0..count)
            .map(|at| with(Signer::of("ES256").jwk(), "kid", json!(at.to_string())))
            .collect();
        let mut config = config();
        config["providers"]["dashboard"]["algorithms"] = json!(["ES256"]);
        config["providers"]["dashboard"]["keys"] = json!([{"jwks": {"keys": keys}}]);
        Gateway::try_new(config).err()
    };
    assert_eq!(set(MOST_KEYS), None);
    let error = "providers.dashboard.keys[0].jwks.keys: 65 keys; at most 64 are read";
    assert_eq!(set(MOST_KEYS + 1).as_deref(), Some(error));
}

#[test]
fn an_issuers_whole_set_may_be_written_down() {
    let rsa = Signer::of("RS256");
    let foreign = [
        Value::Null,
        json!({"kty": "AKP", "kid": "pq", "alg": "ML-DSA-65", "pub": "AA"}),
        json!({"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"}),
        with(rsa.jwk(), "use", json!("enc")),
        with(rsa.jwk(), "alg", json!("RSA-OAEP")),
        with(rsa.jwk(), "key_ops", json!(["encrypt"])),
    ];
    let set = |keys: &[Value]| {
        let mut config = config();
        config["providers"]["dashboard"]["algorithms"] = json!(["EdDSA"]);
        config["providers"]["dashboard"]["keys"] = json!([{"jwks": {"keys": keys}}]);
        Gateway::try_new(config)
    };
    let mut keys = foreign.to_vec();
    keys.push(Signer::of("EdDSA").jwk());
    let gateway = set(&keys).unwrap_or_else(|error| panic!("{error}"));
    gateway.prepare();
    let lines = gateway.world.lines.borrow();
    let line = |rest: &str| {
        format!("plugin=jwt_auth event=key_skipped provider=dashboard key=keys[0].jwks.{rest}")
            .replace("key=keys[0].jwks.", "key=\"keys[0].jwks.")
    };
    assert_eq!(lines.len(), foreign.len(), "{lines:?}");
    assert_eq!(
        lines[1],
        line("keys[1]\" kid=pq why=\"`kty` is not RSA, EC or OKP\"")
    );
    for key in foreign {
        let error = set(&[key]).err().expect("nothing is left of it");
        assert!(
            error.starts_with("providers.dashboard.keys[0].jwks.keys[0]: "),
            "{error}"
        );
    }
    // What nobody publishes on purpose.
    for (wrong, rule) in [
        (
            rsa.private_jwk(),
            "a private key; expected the public half only",
        ),
        (
            with(rsa.jwk(), "n", json!("?")),
            "`n` is missing or not base64url",
        ),
        (
            with(rsa.jwk(), "kid", json!(7)),
            "`kid` is not a text of 1 to 512 bytes without control characters",
        ),
        (
            with(rsa.jwk(), "alg", json!("ES256")),
            "`alg` is not one that such a key serves",
        ),
        (json!({}), "`kty` is missing or not a text"),
    ] {
        let error = set(&[Signer::of("EdDSA").jwk(), wrong]).err();
        let expected = format!("providers.dashboard.keys[0].jwks.keys[1]: {rule}");
        assert_eq!(error, Some(expected));
    }
}

#[test]
fn what_is_wrong_with_other_hosts_of_a_key_set_is_said() {
    let with_hosts = |hosts: Value| {
        let remote = json!({
            "upstream": "idp", "authority": "id.example.com", "discovery": true, "jwks_hosts": hosts
        });
        json!({"remote_jwks": remote})
    };
    let host = |authority: &str| json!({"authority": authority, "upstream": "keys"});
    assert_wrong(&[
        (
            with_hosts(json!([host("keys.example"), host("KEYS.example:443")])),
            ".remote_jwks.jwks_hosts[1].authority",
            r#""keys.example:443" is there twice"#,
        ),
        (
            with_hosts(json!([host("id.example.com:443")])),
            ".remote_jwks.jwks_hosts[0].authority",
            r#""id.example.com:443" is there twice"#,
        ),
        (
            with_hosts(json!([{"authority": "keys.example"}])),
            ".remote_jwks.jwks_hosts[0]",
            "missing field `upstream`",
        ),
        (
            json!({"remote_jwks": with(remote(), "jwks_hosts", json!([host("keys.example")]))}),
            ".remote_jwks.jwks_hosts",
            "they are for `discovery`; `path` lies on `authority`",
        ),
        (
            json!({"remote_jwks": with(remote(), "discovery", json!({"path": "/x"}))}),
            ".remote_jwks",
            "both `path` and `discovery: true`; expected one of them",
        ),
        (
            json!({"remote_jwks": with(remote(), "discovery", json!("yes"))}),
            ".remote_jwks.discovery",
            "invalid type: string, expected true, false, or an object with `path`",
        ),
    ]);
}

#[test]
fn a_template_says_nothing_of_where_keys_lie() {
    let discovers = |discovery: Value| {
        let remote =
            json!({"upstream": "idp", "authority": "id.example.com", "discovery": discovery});
        let mut config = config();
        config["providers"]["dashboard"]["issuer"] =
            json!({"template": "https://id.example.com/{tid}"});
        config["providers"]["dashboard"]["algorithms"] = json!(["RS256"]);
        config["providers"]["dashboard"]["keys"] = json!([{"remote_jwks": remote}]);
        Gateway::try_new(config).err()
    };
    assert_eq!(
        discovers(json!({"path": "/common/.well-known/openid-configuration"})),
        None
    );
    let error = discovers(json!(true)).unwrap();
    assert!(
        error.contains("expected `discovery: { path: … }`"),
        "{error}"
    );
}
