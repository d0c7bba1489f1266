//! Tokens and requests that are made to be believed wrongly, each by the name of what it tries.
//!
//! Every row is one request; it must be refused, with the status and for the reason that the row
//! says, by the policy, by the filter and by `edge`, on both hosts.

mod claims;
mod requests;
mod signatures;

use portcullis_conformance::token::{claims, sign, token};
use portcullis_conformance::{JWT_SECRET, Sent, everywhere};
use portcullis_issuer::{Key, compact};
use portcullis_jwt_auth::JwtAuth;
use serde_json::{Value, json};

/// `dashboard` has a secret; `company` and `partner` have public keys, with one `kid` in common;
/// `remote`'s keys were never fetched.
fn config() -> String {
    let jwk = |key: &Key, kid: &str| {
        let mut jwk = key.jwk();
        jwk["kid"] = json!(kid);
        jwk
    };
    let of = Key::of;
    let company = [
        jwk(of("RS256"), "shared"),
        jwk(of("ES256"), "e1"),
        jwk(of("ES384"), "e3"),
        jwk(of("ES512"), "e5"),
        jwk(of("EdDSA"), "d1"),
    ];
    let provider = |issuer: &str, algorithms: Value, keys: Value| json!({"issuer": issuer, "audiences": ["rag-api"], "algorithms": algorithms, "keys": keys});
    let mut dashboard = provider(
        "https://auth.example",
        json!(["HS256"]),
        json!([{"secret": {"env": "JWT_SECRET_KEY"}, "kid": "k1"}]),
    );
    dashboard["forward"] = json!({"claims": {"sub": "x-user-id", "tenant.id": "x-tenant"}});
    json!({
        "realm": "rag",
        "providers": {
            "dashboard": dashboard,
            "company": provider(COMPANY, json!(["RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA"]), json!([{"jwks": {"keys": company}}])),
            "partner": provider(PARTNER, json!(["RS256"]), json!([{"jwks": {"keys": [jwk(Key::other("RS256"), "shared")]}}])),
            "remote": provider("https://remote.example", json!(["RS256"]), json!([{"remote_jwks": {
                "upstream": "idp", "authority": "remote.example", "path": "/keys"
            }}])),
        },
        "rules": [
            {"match": {"paths": [{"exact": "/health"}], "methods": ["GET"]}, "allow": "anyone"},
            {"match": {"paths": [{"prefix": "/internal"}], "hosts": ["internal.example"]}, "allow": "anyone"},
            {"match": {"paths": [{"prefix": "/api"}]}, "require": {
                "any_of": ["dashboard", "company", "partner", "remote"], "scopes": ["rag:read"]
            }}
        ]
    })
    .to_string()
}

const COMPANY: &str = "https://id.example.com";
const PARTNER: &str = "https://partner.example";

fn claims_of(issuer: &str) -> Value {
    let mut claims = claims();
    claims["iss"] = json!(issuer);
    claims
}

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

/// A request with that token.
fn api(token: &str) -> Sent {
    Sent::get("/api/x").with("authorization", &format!("Bearer {token}"))
}

/// Header and payload as they stand, signed with the dashboard's secret.
fn signed(header: &str, payload: &str) -> Sent {
    let key = Key::secret(JWT_SECRET.as_bytes());
    let unsigned = compact(header.as_bytes(), payload.as_bytes(), b"");
    let message = unsigned.trim_end_matches('.');
    let signature = key.sign("HS256", message.as_bytes());
    api(&compact(header.as_bytes(), payload.as_bytes(), &signature))
}

const HEADER: &str = r#"{"alg":"HS256","kid":"k1"}"#;

/// Good claims, with that member in the stead of the one of this name.
fn replaced(name: &str, member: &str) -> Sent {
    let mut claims = claims();
    claims.as_object_mut().expect("an object").remove(name);
    let payload = claims.to_string().replacen('{', &format!("{{{member},"), 1);
    signed(HEADER, &payload)
}

/// What an attack is called, the request, and how it must end.
type Row = (&'static str, Sent, u16, &'static str);

fn assert_refused(rows: impl Fn() -> Vec<Row>) {
    everywhere::<JwtAuth>(&config(), |subject| {
        for (name, sent, status, reason) in rows() {
            let before = subject.logs().len();
            let seen = subject.ask(sent);
            let lines = subject.logs();
            let line = lines.get(before).map_or("", String::as_str);
            assert_eq!(seen.refused, Some(status), "{name}: {line}");
            let found = line.split(" reason=").nth(1).unwrap_or_default();
            assert_eq!(found.split(' ').next(), Some(reason), "{name}: {line}");
        }
        let good = subject.ask(api(&token()));
        assert_eq!(good.refused, None, "a good token still passes");
    });
}
