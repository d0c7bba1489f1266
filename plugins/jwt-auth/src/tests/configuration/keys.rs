//! What wrong keys are told.

use base64::engine::general_purpose::STANDARD;
use portcullis_issuer::Key as Signer;

use super::*;

/// A set that is fetched.
pub(super) fn remote() -> Value {
    json!({"upstream": "idp", "authority": "id.example.com", "path": "/certs"})
}

/// That each of these first keys of the dashboard is refused: at which path below it, and why.
pub(super) fn assert_wrong(table: &[(Value, &str, &str)]) {
    for (value, path, rule) in table {
        let expected = format!("providers.dashboard.keys[0]{path}: {rule}");
        assert_errors("/providers/dashboard/keys/0", &[(value.clone(), &expected)]);
    }
}

#[test]
fn what_is_wrong_with_a_secret_is_said() {
    let pem = Signer::of("RS256").public_pem();
    let on_one_line = pem.replace('\n', "\\n");
    let is_pem = "PEM, which is no secret; expected `public_key`";
    let base64 = STANDARD.encode(format!("\r\n {pem}"));
    assert_wrong(&[
        (
            json!({"secret": {"value": "k".repeat(47)}}),
            ".secret",
            "47 bytes are too short for HS384; expected at least 48, or `allow_short: true`",
        ),
        (
            json!({"secret": {"env": "UNSET"}}),
            ".secret",
            "the environment variable UNSET is not set or not shown to the filter",
        ),
        (
            json!({"secret": {"value": ""}}),
            ".secret",
            "the secret is empty",
        ),
        (
            json!({"secret": {}}),
            ".secret",
            "neither `env` nor `value`; expected one of them",
        ),
        // No secret holds a line break, in PEM or not.
        (
            json!({"secret": {"value": pem}}),
            ".secret",
            "the secret holds a line break or a NUL",
        ),
        (json!({"secret": {"value": on_one_line}}), ".secret", is_pem),
        (
            json!({"secret": {"value": format!(" \t{on_one_line}")}}),
            ".secret",
            is_pem,
        ),
        (
            json!({"secret": {"value": base64, "encoding": "base64"}}),
            ".secret",
            is_pem,
        ),
        (
            json!({"secret": {"value": "-----BEGIN"}, "allow_short": true}),
            ".secret",
            is_pem,
        ),
    ]);
}

#[test]
fn what_is_wrong_with_a_public_key_is_said() {
    let pem = Signer::of("RS256").public_pem();
    let ed25519 = Signer::of("EdDSA").jwk();
    let named = |kid: &str| with(ed25519.clone(), "kid", json!(kid));
    let only_one = "expected only one of `secret`, `public_key`, `jwks` and `remote_jwks`";
    assert_wrong(&[
        (
            json!({"kid": "k"}),
            "",
            "expected one of `secret`, `public_key`, `jwks` and `remote_jwks`",
        ),
        (
            json!({"secret": {"env": "JWT_SECRET_KEY"}, "public_key": {"pem": pem}}),
            "",
            only_one,
        ),
        (
            json!({"public_key": {"pem": pem}, "jwks": {"keys": [ed25519]}}),
            "",
            only_one,
        ),
        (
            json!({"jwks": {"keys": [ed25519]}, "remote_jwks": remote(), "kid": "k"}),
            "",
            only_one,
        ),
        (
            json!({"jwks": {"keys": [ed25519]}, "kid": "k"}),
            ".kid",
            "the keys of a set have their own",
        ),
        (
            json!({"remote_jwks": remote(), "kid": "k"}),
            ".kid",
            "the keys of a set have their own",
        ),
        (
            json!({"public_key": {"pem": pem}, "allow_short": true}),
            ".allow_short",
            "it is for a secret",
        ),
        (
            json!({"jwks": {"keys": [ed25519]}, "allow_short": true}),
            ".allow_short",
            "it is for a secret",
        ),
        (
            json!({"remote_jwks": remote(), "allow_short": true}),
            ".allow_short",
            "it is for a secret",
        ),
        (
            json!({"public_key": {}}),
            ".public_key",
            "neither `pem` nor `env`; expected one of them",
        ),
        (
            json!({"public_key": {"pem": pem, "env": "KEY"}}),
            ".public_key",
            "both `pem` and `env`; expected one of them",
        ),
        (
            json!({"public_key": {"env": "UNSET"}}),
            ".public_key",
            "the environment variable UNSET is not set or not shown to the filter",
        ),
        (
            json!({"public_key": {"env": "JWT_SECRET_KEY"}}),
            ".public_key",
            "not PEM; expected -----BEGIN PUBLIC KEY----- and what belongs to it",
        ),
        (
            json!({"jwks": {"keys": []}}),
            ".jwks.keys",
            "the list is empty; expected at least one entry",
        ),
        (
            json!({"jwks": {"keys": vec![&ed25519; 65]}}),
            ".jwks.keys",
            "65 keys; at most 64 are read",
        ),
        // In a set that an issuer publishes these are passed over.
        (
            json!({"jwks": {"keys": [ed25519, Signer::of("HS256").jwk()]}}),
            ".jwks.keys[1]",
            "a secret has no place in a set of public keys; expected `secret`",
        ),
        (
            json!({"jwks": {"keys": [Signer::of("ES256").private_jwk()]}}),
            ".jwks.keys[0]",
            "a private key; expected the public half only",
        ),
        (
            json!({"jwks": {"keys": [named("a"), named("b"), named("a")]}}),
            ".jwks.keys[2].kid",
            r#""a" is there twice"#,
        ),
    ]);
    assert_errors(
        "/providers/dashboard/keys",
        &[(
            json!([{"secret": {"value": SECRET}, "kid": "a"}, {"secret": {"env": "JWT_SECRET_KEY"}, "kid": "a"}]),
            r#"providers.dashboard.keys[1].kid: "a" is there twice"#,
        )],
    );
    let twice = json!([
        {"jwks": {"keys": [named("a")]}},
        {"public_key": {"pem": Signer::of("EdDSA").public_pem()}, "kid": "a"}
    ]);
    let error = error("/providers/dashboard/keys", twice);
    assert!(error.ends_with(r#""a" is there twice"#), "{error}");
}

#[test]
fn what_is_wrong_with_a_set_that_is_fetched_is_said() {
    let set = |name: &str, value: Value| json!({"remote_jwks": with(remote(), name, value)});
    assert_wrong(&[
        (
            set("refresh", json!("999ms")),
            ".remote_jwks.refresh",
            "too short; expected at least 1s",
        ),
        (
            set("refetch_min_interval", json!("999ms")),
            ".remote_jwks.refetch_min_interval",
            "too short; expected at least 1s",
        ),
        (
            set("timeout", json!("60001ms")),
            ".remote_jwks.timeout",
            "too long; expected at most 60s",
        ),
        (
            set("discovery", json!(true)),
            ".remote_jwks",
            "both `path` and `discovery: true`; expected one of them",
        ),
        (
            set("path", json!(null)),
            ".remote_jwks",
            "neither `path` nor `discovery: true`; expected one of them",
        ),
        (
            set("path", json!("certs")),
            ".remote_jwks.path",
            r#""certs" is not a path; expected one that begins with / and has no #"#,
        ),
        (
            set("authority", json!("https://id.example.com")),
            ".remote_jwks.authority",
            r#""https://id.example.com" is not an authority; expected a host such as id.example.com, or host:port"#,
        ),
        (
            set("upstream", json!("the idp")),
            ".remote_jwks.upstream",
            r#""the idp" is not an upstream; expected a cluster's name (Envoy) or host:port (Kong)"#,
        ),
        (
            set("scheme", json!("ftp")),
            ".remote_jwks.scheme",
            "unknown variant `ftp`, expected `https` or `http`",
        ),
    ]);

    // Where the issuer is no URL, nothing says where its description lies.
    let discovery = json!({"upstream": "idp", "authority": "id.example.com", "discovery": true});
    let mut config = config();
    config["providers"]["dashboard"]["algorithms"] = json!(["RS256"]);
    config["providers"]["dashboard"]["keys"] = json!([{"remote_jwks": discovery}]);
    assert_eq!(Gateway::try_new(config.clone()).err(), None);
    config["providers"]["dashboard"]["issuer"] = json!("dashboard");
    assert_eq!(
        Gateway::try_new(config).err().unwrap(),
        r#"providers.dashboard.keys[0].remote_jwks.discovery: "dashboard", the provider's issuer, is not a URL; expected `path`"#
    );
}

#[test]
fn an_algorithm_that_no_key_serves_is_a_mistake() {
    let rsa = with(Signer::of("RS256").jwk(), "alg", json!("RS256"));
    let jwks = json!({"jwks": {"keys": [rsa]}});
    let pem = json!({"public_key": {"pem": Signer::of("ES256").public_pem()}});
    let secret = json!({"secret": {"env": "JWT_SECRET_KEY"}});
    let remote = json!({"remote_jwks": remote()});
    for (algorithms, keys, expected) in [
        (
            json!(["HS256", "ES256"]),
            json!([secret]),
            Some((1, "ES256")),
        ),
        (json!(["RS256", "HS256"]), json!([jwks]), Some((1, "HS256"))),
        (json!(["PS256"]), json!([jwks]), Some((0, "PS256"))),
        (json!(["ES256", "ES384"]), json!([pem]), Some((1, "ES384"))),
        (
            json!(["RS256", "HS512", "ES256"]),
            json!([jwks, secret, pem]),
            None,
        ),
        // A set that is fetched may hold any public key, and no secret.
        (json!(["RS256", "ES512", "EdDSA"]), json!([remote]), None),
        (
            json!(["RS256", "HS384"]),
            json!([remote]),
            Some((1, "HS384")),
        ),
        (json!(["RS256", "HS384"]), json!([remote, secret]), None),
    ] {
        let mut config = config();
        config["providers"]["dashboard"]["algorithms"] = algorithms.clone();
        config["providers"]["dashboard"]["keys"] = keys;
        let expected = expected.map(|(at, name)| {
            let rule = format!("{name:?} is one that none of the keys serves");
            format!("providers.dashboard.algorithms[{at}]: {rule}")
        });
        assert_eq!(Gateway::try_new(config).err(), expected, "{algorithms}");
    }
}

#[test]
fn a_secret_in_the_wrong_place_is_not_repeated() {
    let private = "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----";
    let jwk = |name: &str| with(Signer::of("EdDSA").jwk(), name, json!("hunter2"));
    for (name, value) in [
        ("", json!("hunter2")),
        ("/0", json!("hunter2")),
        ("/0/secret", json!("hunter2")),
        ("/0/secret", json!({"env": "hunter2!"})),
        ("/0/secret", json!({"value": "hunter2\nx"})),
        ("/0/secret", json!({"value": "hunter2"})),
        ("/0", json!({"public_key": "hunter2"})),
        ("/0", json!({"public_key": private})),
        ("/0", json!({"public_key": {"pem": private}})),
        ("/0", json!({"public_key": {"pem": "hunter2"}})),
        ("/0", json!({"public_key": {"env": "hunter2!"}})),
        ("/0", json!({"jwks": "hunter2"})),
        ("/0", json!({"jwks": {"keys": "hunter2"}})),
        ("/0", json!({"jwks": {"keys": [jwk("d")]}})),
        (
            "/0",
            json!({"jwks": {"keys": [with(jwk("k"), "kty", json!("oct"))]}}),
        ),
        ("/0", json!({"remote_jwks": "hunter2"})),
    ] {
        let error = error(&format!("/providers/dashboard/keys{name}"), value);
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
