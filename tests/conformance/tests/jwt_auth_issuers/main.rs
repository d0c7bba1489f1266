//! `jwt_auth`: tokens and key sets as real issuers make them.

mod key_sets;
mod waiting;

use portcullis_conformance::token::claims;
use portcullis_conformance::{Sent, Subject, everywhere};
use portcullis_issuer::{Key, compact};
use portcullis_jwt_auth::JwtAuth;
use serde_json::{Value, json};

const ISSUER: &str = "https://id.example.com";

/// One provider, `company`, of EdDSA, with these fields; and these of the plugin.
fn config(provider: Value, rest: Value) -> String {
    let mut company = json!({
        "issuer": ISSUER, "audiences": ["rag-api"], "algorithms": ["EdDSA"],
        "keys": [{"jwks": {"keys": [Key::of("EdDSA").jwk()]}}]
    });
    for (name, value) in provider.as_object().expect("an object") {
        company[name] = value.clone();
    }
    let mut config = json!({
        "providers": {"company": company},
        "rules": [{"match": {"paths": [{"prefix": "/api"}]}, "require": {"any_of": ["company"]}}]
    });
    for (name, value) in rest.as_object().expect("an object") {
        config[name] = value.clone();
    }
    config.to_string()
}

/// Good claims with these in their stead; they outlive every test.
fn with(changes: Value) -> Value {
    let mut claims = claims();
    claims["iss"] = json!(ISSUER);
    claims["exp"] = json!(4_000_000_000_u64);
    for (name, value) in changes.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    claims
}

fn token(key: &Key, algorithm: &str, header: Value, changes: Value) -> String {
    key.token(algorithm, header, &with(changes))
}

fn good(header: Value, changes: Value) -> String {
    token(Key::of("EdDSA"), "EdDSA", header, changes)
}

fn bearer(token: &str) -> Sent {
    Sent::get("/api/x").with("authorization", &format!("Bearer {token}"))
}

/// What becomes of a token: the reason of its refusal, or nothing.
fn reason(subject: &mut dyn Subject, token: &str) -> Option<String> {
    let before = subject.logs().len();
    let seen = subject.ask(bearer(token));
    let lines = subject.logs();
    let new = lines.get(before..).unwrap_or_default().iter();
    let mut told = new.filter_map(|line| line.split_once(" reason=")?.1.split(' ').next());
    let found = told.next().map(str::to_owned);
    assert_eq!(seen.refused.is_some(), found.is_some(), "{lines:?}");
    found
}

/// What a token is called, the token, and why it is refused, if it is.
type Row = (&'static str, String, Option<&'static str>);

/// That each of these tokens has that outcome, everywhere.
fn assert_reasons(config: &str, rows: &dyn Fn() -> Vec<Row>) {
    everywhere::<JwtAuth>(config, |subject| {
        for (name, token, expected) in rows() {
            assert_eq!(reason(subject, &token).as_deref(), expected, "{name}");
        }
    });
}

#[test]
fn a_bound_token_is_refused_unless_that_is_somebody_elses_business() {
    let bound = || {
        good(
            json!({}),
            json!({"cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2Hg"}}),
        )
    };
    assert_reasons(&config(json!({}), json!({})), &|| {
        vec![
            ("bound", bound(), Some("bound_token")),
            (
                "bound to a certificate",
                good(
                    json!({}),
                    json!({"cnf": {"x5t#S256": "bwcK0esc3ACC3DB2Y5"}}),
                ),
                Some("bound_token"),
            ),
            ("free", good(json!({}), json!({})), None),
        ]
    });
    assert_reasons(
        &config(json!({"bound_tokens": "accept"}), json!({})),
        &|| vec![("bound", bound(), None)],
    );
}

#[test]
fn a_provider_may_ask_for_access_tokens() {
    let typed = |typ: Value| good(json!({"typ": typ}), json!({}));
    assert_reasons(&config(json!({"types": ["at+jwt"]}), json!({})), &|| {
        vec![
            ("at+jwt", typed(json!("at+jwt")), None),
            (
                "in capitals, whole",
                typed(json!("application/AT+JWT")),
                None,
            ),
            ("an ID token", typed(json!("JWT")), Some("token_type")),
            ("none", good(json!({}), json!({})), Some("token_type")),
            ("a number", typed(json!(1)), Some("token_type")),
        ]
    });
}

#[test]
fn either_name_of_ed25519_is_the_other() {
    for algorithm in ["EdDSA", "Ed25519"] {
        assert_reasons(
            &config(json!({"algorithms": [algorithm]}), json!({})),
            &|| {
                vec![
                    ("EdDSA", good(json!({}), json!({})), None),
                    ("Ed25519", good(json!({"alg": "Ed25519"}), json!({})), None),
                    (
                        "Ed448",
                        good(json!({"alg": "Ed448"}), json!({})),
                        Some("algorithm"),
                    ),
                ]
            },
        );
    }
}

#[test]
fn a_token_may_be_as_long_as_the_gateway_reads() {
    let long = |filler: usize| good(json!({}), json!({"groups": "g".repeat(filler)}));
    let rows = |at_most_8_kib: bool| {
        let over = at_most_8_kib.then_some("too_large");
        vec![
            ("short", long(5_000), None),
            ("over 8 KiB", long(6_500), over),
            ("under 20 KB", long(14_000), over),
            ("over 20 KB", long(16_000), Some("too_large")),
        ]
    };
    assert_reasons(&config(json!({}), json!({})), &|| rows(true));
    let longer = config(json!({}), json!({"max_token_bytes": 20_000}));
    assert_reasons(&longer, &|| rows(false));
}

#[test]
fn a_padded_token_is_read_where_a_provider_says_so() {
    let padded = || {
        let pad = |text: &str| format!("{text}{}", "=".repeat((4 - text.len() % 4) % 4));
        let header = json!({"alg": "EdDSA", "x": 10}).to_string();
        let unsigned = compact(
            header.as_bytes(),
            with(json!({})).to_string().as_bytes(),
            b"",
        );
        let mut segments = unsigned.split('.').map(pad);
        let head = segments.next().expect("a header");
        let signed = format!("{head}.{}", segments.next().expect("a payload"));
        let signature = Key::of("EdDSA").sign("EdDSA", signed.as_bytes());
        let signature = compact(b"", b"", &signature);
        format!("{signed}.{}", pad(signature.trim_start_matches('.')))
    };
    assert_reasons(&config(json!({}), json!({})), &|| {
        vec![("padded", padded(), Some("malformed"))]
    });
    assert_reasons(&config(json!({"padding": "accept"}), json!({})), &|| {
        vec![
            ("padded", padded(), None),
            (
                "not as it was signed",
                padded().replace('=', ""),
                Some("signature"),
            ),
        ]
    });
}

#[test]
fn an_issuer_with_a_tenant_in_it_is_filled_from_the_token() {
    let issuer = json!({"issuer": {"template": "https://login.example/{tid}/v2.0"}});
    let of = |iss: &str, tid: Value| {
        let iss = format!("https://login.example/{iss}/v2.0");
        good(json!({}), json!({"iss": iss, "tid": tid}))
    };
    assert_reasons(&config(issuer, json!({})), &|| {
        vec![
            (
                "a tenant",
                of("72f988bf-86f1", json!("72f988bf-86f1")),
                None,
            ),
            (
                "another",
                of("72f988bf-86f1", json!("other")),
                Some("unknown_issuer"),
            ),
            (
                "none",
                of("72f988bf-86f1", json!(null)),
                Some("unknown_issuer"),
            ),
            ("a slash", of("a/b", json!("a/b")), Some("unknown_issuer")),
            ("dots", of("..", json!("..")), Some("unknown_issuer")),
        ]
    });
}

#[test]
fn a_cookie_in_another_case_is_another_cookie_unless_the_token_is_kept() {
    let from = json!([{"cookie": "session"}]);
    let both = || format!("session={}; SESSION=abc", good(json!({}), json!({})));
    let strips = config(json!({"token_from": from}), json!({}));
    everywhere::<JwtAuth>(&strips, |subject| {
        let seen = subject.ask(Sent::get("/api/x").with("cookie", &both()));
        assert_eq!(seen.refused, None);
        assert_eq!(seen.header("cookie"), Some("SESSION=abc"));
        let only = subject.ask(Sent::get("/api/x").with("cookie", "SESSION=abc"));
        assert_eq!(only.status(), 401);
    });
    let keeps = json!({"token_from": from, "forward": {"token": "keep"}});
    everywhere::<JwtAuth>(&config(keeps, json!({})), |subject| {
        let seen = subject.ask(Sent::get("/api/x").with("cookie", &both()));
        assert_eq!(
            seen.status(),
            400,
            "a backend that folds may read the other one"
        );
    });
}
