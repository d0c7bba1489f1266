//! `docs/migration.md`: its examples of Envoy's jwt_authn beside ours, each judging the same requests in one gateway.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use portcullis_e2e::{Answer, Gateway, until};
use portcullis_idp::{Answer as Served, Idp};
use portcullis_issuer::{Key, jwks};
use reqwest::Method;
use serde_json::{Value, json};

use crate::common::{HEALTH, SEARCH};
use crate::jwks_scene::{HOST, trust};
use crate::migration::{NATIVE, both, example};

/// What is sent beside a token.
type Sent<'a> = &'a [(&'a str, &'a str)];

/// What came of a request.
#[derive(Debug, PartialEq, Eq)]
enum Judged {
    Refused(u16),
    /// It reached the backend with these values of the headers that are looked at; no header and an empty one are alike to
    /// a backend.
    Passed(Vec<String>),
}

impl Judged {
    fn passes(&self) -> bool {
        matches!(self, Self::Passed(_))
    }
}

async fn judged(
    gateway: &Gateway,
    method: &Method,
    path: &str,
    headers: Sent<'_>,
    looked_at: &[&str],
) -> Result<Judged> {
    gateway.requests().clear();
    let request = gateway.request(method.clone(), path);
    let request = headers.iter().fold(request, |request, (name, value)| {
        request.header(*name, *value)
    });
    let answer = Answer::to(request).await?;
    Ok(match gateway.requests().all().first() {
        None => Judged::Refused(answer.status),
        Some(received) => {
            let values = looked_at.iter().map(|name| received.values(name).concat());
            Judged::Passed(values.collect())
        }
    })
}

/// What Envoy's filter makes of a request, and what ours does.
async fn by_both(
    gateway: &Gateway,
    method: &Method,
    path: &str,
    headers: Sent<'_>,
    looked_at: &[&str],
) -> Result<[Judged; 2]> {
    let native = [headers, &[NATIVE]].concat();
    Ok([
        judged(gateway, method, path, &native, looked_at).await?,
        judged(gateway, method, path, headers, looked_at).await?,
    ])
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs()
}

/// Good claims with some changed, or taken out by `null`.
fn claims(issuer: &str, changes: Value) -> Value {
    let mut claims = json!({
        "iss": issuer, "aud": "rag-api", "sub": "alice", "tenant": { "id": "acme" }, "exp": now() + 600,
    });
    for (name, value) in changes.as_object().into_iter().flatten() {
        claims[name] = value.clone();
    }
    claims
        .as_object_mut()
        .unwrap()
        .retain(|_, value| !value.is_null());
    claims
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_remote_key_set_lets_the_same_tokens_pass_with_the_same_headers() -> Result<()> {
    const KEYS: &str = "/.well-known/jwks.json";
    let idp = Idp::start(HOST).await?;
    idp.serve(
        KEYS,
        Served::Json(jwks(&[("rsa-1", Key::of("RS256"))]).to_string()),
    );
    let gateway = both("jwt_auth", example("A remote key set")?, 2)
        .edit(|bootstrap| trust(bootstrap, "idp", &idp, HOST, idp.ca_pem()));
    let gateway = gateway.start().await?;
    until("both to have the keys", async || {
        let token = token("RS256", "rsa-1", Key::of("RS256"), json!({}));
        let headers = [("authorization", token.as_str())];
        for _ in 0..4 {
            let judged = by_both(&gateway, &Method::GET, SEARCH, &headers, &[]).await?;
            if !judged.iter().all(Judged::passes) {
                return Ok(false);
            }
        }
        Ok(true)
    })
    .await?;

    let good = Key::of("RS256");
    let alice = || Judged::Passed(["alice", "acme", "", ""].map(str::to_owned).to_vec());
    let refused = Judged::Refused;
    let looked_at = ["x-user-id", "x-tenant", "authorization", "x-user.id"];
    for (about, token, theirs, ours) in [
        (
            "good",
            token("RS256", "rsa-1", good, json!({})),
            alice(),
            alice(),
        ),
        (
            "of a list",
            token("RS256", "rsa-1", good, json!({ "aud": ["x", "rag-api"] })),
            alice(),
            alice(),
        ),
        (
            "just expired",
            token("RS256", "rsa-1", good, json!({ "exp": now() - 30 })),
            alice(),
            alice(),
        ),
        (
            "expired",
            token("RS256", "rsa-1", good, json!({ "exp": now() - 90 })),
            refused(401),
            refused(401),
        ),
        (
            "early",
            token("RS256", "rsa-1", good, json!({ "nbf": now() + 90 })),
            refused(401),
            refused(401),
        ),
        (
            "a little early",
            token("RS256", "rsa-1", good, json!({ "nbf": now() + 30 })),
            alice(),
            alice(),
        ),
        (
            "another issuer",
            token("RS256", "rsa-1", good, json!({ "iss": "https://x" })),
            refused(401),
            refused(401),
        ),
        (
            "another key",
            token("RS256", "rsa-1", Key::other("RS256"), json!({})),
            refused(401),
            refused(401),
        ),
        (
            "another kid",
            token("RS256", "rsa-9", Key::other("RS256"), json!({})),
            refused(401),
            refused(401),
        ),
        (
            "no token",
            "Bearer x".to_owned(),
            refused(401),
            refused(401),
        ),
        // As the page says.
        (
            "another audience",
            token("RS256", "rsa-1", good, json!({ "aud": "x" })),
            refused(403),
            refused(401),
        ),
        (
            "no expiry",
            token("RS256", "rsa-1", good, json!({ "exp": null })),
            alice(),
            refused(401),
        ),
    ] {
        let headers = [("authorization", token.as_str()), ("x-user-id", "root")];
        let judged = by_both(&gateway, &Method::GET, SEARCH, &headers, &looked_at).await?;
        assert_eq!(judged, [theirs, ours], "{about}");
    }

    // What each hands on of the payload is the same text.
    let token = token("RS256", "rsa-1", good, json!({}));
    let headers = [("authorization", token.as_str())];
    let judged = by_both(&gateway, &Method::GET, SEARCH, &headers, &["x-jwt-payload"]).await?;
    let payload = token.split('.').nth(1).unwrap_or_default().to_owned();
    assert_eq!(
        judged,
        [vec![payload.clone()], vec![payload]].map(Judged::Passed)
    );

    let ask = async |method: Method, path: &str, headers: Sent<'_>| {
        by_both(&gateway, &method, path, headers, &["x-user-id"]).await
    };
    let nobody = || Judged::Passed(vec![String::new()]);
    assert_eq!(ask(Method::GET, HEALTH, &[]).await?, [nobody(), nobody()]);
    let preflight = [
        ("origin", "https://app.example"),
        ("access-control-request-method", "GET"),
    ];
    assert_eq!(
        ask(Method::OPTIONS, SEARCH, &preflight).await?,
        [nobody(), nobody()]
    );
    assert_eq!(
        ask(Method::GET, SEARCH, &[]).await?,
        [refused(401), refused(401)]
    );
    // As the page says: no rule, and a prefix that is text.
    assert_eq!(
        ask(Method::GET, "/other", &[]).await?,
        [nobody(), refused(403)]
    );
    assert_eq!(
        ask(Method::GET, "/api/v1/ragged", &[]).await?,
        [refused(401), refused(403)]
    );
    // And what a client made up where nobody asks for a token.
    let forged = ask(Method::GET, HEALTH, &[("x-user-id", "root")]).await?;
    assert_eq!(forged[1], nobody(), "{forged:?}");
    Ok(())
}

fn token(algorithm: &str, kid: &str, key: &Key, changes: Value) -> String {
    let claims = claims("https://id.example.com", changes);
    format!(
        "Bearer {}",
        key.token(algorithm, json!({ "kid": kid }), &claims)
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_providers_let_the_same_requests_pass() -> Result<()> {
    let [mut theirs, mut ours] = example("Several providers, and a token that need not be there")?;
    let keys = [
        ("dashboard", "a", Key::of("EdDSA")),
        ("devices", "b", Key::other("EdDSA")),
    ];
    for (provider, kid, key) in keys {
        let set = jwks(&[(kid, key)]);
        let native = &mut theirs["typed_config"]["providers"][provider];
        native["local_jwks"]["inline_string"] = json!(set.to_string());
        ours["providers"][provider]["keys"][0]["jwks"] = set;
    }
    let gateway = both("jwt_auth", [theirs, ours], 1).start().await?;

    let of = |key: &Key, kid: &str, issuer: &str| {
        key.token("EdDSA", json!({ "kid": kid }), &claims(issuer, json!({})))
    };
    let [(_, _, dash), (_, _, dev)] = keys;
    let bearer = |token: String| format!("Bearer {token}");
    let dashboard = bearer(of(dash, "a", "https://auth.example"));
    let device = of(dev, "b", "https://devices.example");
    let bad = bearer(of(dev, "a", "https://auth.example"));
    let dashboard = ("authorization", dashboard.as_str());
    let device = ("x-device-token", device.as_str());
    let bad = ("authorization", bad.as_str());
    for (path, headers, passes) in [
        ("public", &[][..], true),
        ("public", &[dashboard], true),
        ("public", &[bad], true),
        ("optional", &[], true),
        ("optional", &[dashboard], true),
        ("optional", &[bad], false),
        ("both", &[], false),
        ("both", &[dashboard], false),
        ("both", &[device], false),
        ("both", &[dashboard, device], true),
        ("both", &[bad, device], false),
        ("search", &[], false),
        ("search", &[dashboard], true),
        ("search", &[device], true),
        ("search", &[bad], false),
    ] {
        let path = format!("/api/v1/rag/{path}?q=a");
        let looked_at = ["authorization", "x-device-token"];
        let judged = by_both(&gateway, &Method::GET, &path, headers, &looked_at).await?;
        let [native, own] = &judged;
        assert_eq!(
            [native.passes(), own.passes()],
            [passes; 2],
            "{path} {headers:?} {judged:?}"
        );
        match headers {
            // As the page says: one that is bad is taken out.
            [one] if *one == bad && passes => {
                assert_eq!(
                    *native,
                    Judged::Passed(vec![bad.1.to_owned(), String::new()])
                );
                assert_eq!(*own, Judged::Passed(vec![String::new(); 2]));
            }
            _ => assert_eq!(native, own, "{path} {headers:?}"),
        }
    }
    Ok(())
}
