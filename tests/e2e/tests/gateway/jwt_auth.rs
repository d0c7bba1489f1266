//! `envoy/jwt_auth.yaml`

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use portcullis_e2e::{Answer, Gateway, JWT_SECRET_KEY, Token};
use reqwest::Method;
use serde_json::{Value, json};

use crate::common::{HEALTH, SEARCH, assert_problem, preflight, spelled_like, token};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_token_passes_and_without_one_only_the_health_route_is_open() -> Result<()> {
    let gateway = Gateway::with("jwt_auth").workers(4).start().await?;
    for _ in 0..3 {
        let answer = gateway.get_as(&token(), SEARCH).await?;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(!answer.json()?["results"].as_array().unwrap().is_empty());
    }
    for received in gateway.requests().all() {
        assert_eq!(received.only_value("x-user-id"), Some("alice"));
        assert_eq!(received.only_value("x-user-scopes"), Some("rag:read"));
        assert_eq!(received.values("authorization").concat(), "");
    }
    let allowed = r#"jwt_auth_allowed{provider="dashboard"}"#;
    gateway.admin().wait_for_metric(allowed, 3).await?;
    gateway.requests().clear();
    without_a_token_only_the_health_route_is_open(&gateway).await?;
    a_missing_scope_is_named(&gateway).await?;
    // Of preflights the backend knows none, but it was asked.
    assert_eq!(preflight(&gateway, SEARCH).await?.status, 405);
    let half = gateway.request(Method::OPTIONS, SEARCH);
    let half = half.header("origin", "http://localhost:3103");
    assert_eq!(Answer::to(half).await?.status, 401);
    assert_eq!(gateway.requests().total(), 2);
    Ok(())
}

async fn without_a_token_only_the_health_route_is_open(gateway: &Gateway) -> Result<()> {
    assert_eq!(gateway.get(HEALTH).await?.status, 200);
    let refused = gateway.get(SEARCH).await?;
    assert_problem(&refused, 401, "unauthenticated");
    // RFC 6750 section 3.1: no error code where no token was sent.
    assert_eq!(
        refused.header("www-authenticate"),
        Some(r#"Bearer realm="rag""#)
    );
    let by_post = Answer::to(gateway.request(Method::POST, HEALTH)).await?;
    assert_eq!(by_post.status, 401);
    for unknown in ["/", "/api/v2/rag/search", "/api/v1/ragged"] {
        assert_problem(&gateway.get(unknown).await?, 403, "forbidden");
    }
    for (reason, times) in [("no_token", 2), ("no_rule", 3)] {
        let denied = format!("jwt_auth_denied{{reason=\"{reason}\"}}");
        gateway.admin().wait_for_metric(&denied, times).await?;
    }
    Ok(())
}

async fn a_missing_scope_is_named(gateway: &Gateway) -> Result<()> {
    let token = Token::of("alice").claim("scope", json!("rag:write rag:reader"));
    let refused = gateway
        .get_as(&token.signed(JWT_SECRET_KEY), SEARCH)
        .await?;
    assert_problem(&refused, 403, "insufficient-scope");
    assert_eq!(
        refused.header("www-authenticate"),
        Some(r#"Bearer realm="rag", error="insufficient_scope", scope="rag:read""#)
    );
    let denied = r#"jwt_auth_denied{reason="insufficient_scope"}"#;
    gateway.admin().wait_for_metric(denied, 1).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_header_that_a_client_made_up_is_overwritten_and_two_are_refused() -> Result<()> {
    let gateway = Gateway::with("jwt_auth").workers(4).start().await?;
    for forged in [
        "x-user-id: root",
        "X-USER-ID: root",
        "X_User_Id: root",
        "x-user_id: root",
    ] {
        gateway.requests().clear();
        let bearer = format!("authorization: Bearer {}", token());
        assert_eq!(
            gateway.raw_get(SEARCH, &[&bearer, forged]).await?.status,
            200,
            "{forged}"
        );
        let received = gateway.requests().last(1);
        assert_eq!(
            spelled_like(&received[0], "x-user-id"),
            ["alice"],
            "{forged}"
        );
        // Where nobody asks for a token, nobody is the caller.
        assert_eq!(
            gateway.raw_get(HEALTH, &[forged]).await?.status,
            200,
            "{forged}"
        );
        let received = gateway.requests().last(1);
        assert_eq!(
            spelled_like(&received[0], "x-user-id").concat(),
            "",
            "{forged}"
        );
    }
    gateway.requests().clear();
    let bearer = format!("authorization: Bearer {}", token());
    for twice in [
        ["x-user-id: root", "x-user-id: admin"],
        ["x-user-id: root", "x_user_id: admin"],
        ["x-user-scopes: a", "X-User_Scopes: b"],
    ] {
        let answer = gateway
            .raw_get(SEARCH, &[&bearer, twice[0], twice[1]])
            .await?;
        assert_eq!(answer.status, 400, "{twice:?}");
    }
    // So are two tokens.
    let other = Token::of("bob").signed(JWT_SECRET_KEY);
    let other = format!("Authorization: Bearer {other}");
    for other in [&other, &bearer] {
        let answer = gateway.raw_get(SEARCH, &[&bearer, other]).await?;
        assert_eq!(answer.status, 400, "{answer:?}");
    }
    assert_eq!(gateway.requests().total(), 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_that_two_parsers_could_read_differently_is_refused() -> Result<()> {
    let gateway = Gateway::with("jwt_auth").workers(4).start().await?;
    let bearer = format!("authorization: Bearer {}", token());
    for target in [
        "/api/v1/rag/status/health/../../search?q=x",
        "/api/v1/rag/status/health/%2e%2e/%2E%2e/search?q=x",
        "/api/v1/rag/status/health/..;/..;/search",
        "/api/v1/rag/status/health%2f..%2f..%2fsearch",
        "/api/v1/rag/status/health%5c..",
        "/api/v1/rag/status\\health",
        "//api/v1/rag/status/health",
        "/api/v1/rag//status/health",
        "/api/v1/rag/status/health/.",
        "/api/v1/rag/status/health%00",
        "/api/v1/rag/status/health%",
        "/api/v1/rag/status/health%zz",
    ] {
        for headers in [&[][..], &[bearer.as_str()][..]] {
            let answer = gateway.raw_get(target, headers).await?;
            assert_eq!(answer.status, 400, "{target}: {answer:?}");
            assert!(
                answer
                    .body
                    .contains("urn:portcullis:problem/ambiguous-path"),
                "{answer:?}"
            );
        }
    }
    assert_eq!(gateway.requests().total(), 0);
    // An encoded letter has one reading: the rule is that of the decoded path.
    // It reaches the backend as it came, which does not know it.
    assert_eq!(
        gateway
            .raw_get("/api/v1/rag/status/%68ealth", &[])
            .await?
            .status,
        404
    );
    assert_eq!(
        gateway
            .raw_get("/api/v1/rag/%73earch?q=x", &[])
            .await?
            .status,
        401
    );
    assert_eq!(gateway.requests().total(), 1);
    Ok(())
}

#[tokio::test]
async fn a_token_that_is_not_good_in_every_respect_is_refused_and_one_that_just_is_passes()
-> Result<()> {
    let gateway = Gateway::with("jwt_auth").start().await?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let good = || Token::of("alice");
    let signed = |token: Token| token.signed(JWT_SECRET_KEY);
    for (reason, token) in [
        (
            "signature",
            good().signed("another secret, which is long enough"),
        ),
        ("signature", good().unsigned() + "AAAA"),
        ("algorithm", good().header("alg", json!("none")).unsigned()),
        ("algorithm", signed(good().header("alg", json!("HS512")))),
        ("algorithm", signed(good().header("alg", json!("RS256")))),
        (
            "unknown_kid",
            signed(good().header("kid", json!("dash-2025"))),
        ),
        (
            "critical_header",
            signed(good().header("crit", json!(["exp"]))),
        ),
        (
            "unknown_issuer",
            signed(good().claim("iss", json!("https://evil.example"))),
        ),
        ("audience", signed(good().claim("aud", json!("other-api")))),
        ("audience", signed(good().claim("aud", json!(["a", "b"])))),
        (
            "expired",
            signed(
                good()
                    .claim("iat", json!(now - 900))
                    .claim("exp", json!(now - 300)),
            ),
        ),
        (
            "not_yet_valid",
            signed(good().claim("nbf", json!(now + 300))),
        ),
        (
            "issued_in_future",
            signed(good().claim("iat", json!(now + 300))),
        ),
        ("lifetime", signed(good().claim("exp", json!(now + 90_000)))),
        ("claim_missing", signed(good().claim("exp", Value::Null))),
        (
            "claim_type",
            signed(good().claim("exp", json!((now + 60).to_string()))),
        ),
        (
            "claim_unsafe",
            signed(good().claim("sub", json!("alice\r\nx-admin: 1"))),
        ),
        ("malformed", "abc".to_owned()),
        ("malformed", "a.b.c.d".to_owned()),
        ("malformed", signed(good()) + "="),
        (
            "too_large",
            signed(good().claim("pad", json!("x".repeat(9_000)))),
        ),
    ] {
        let refused = gateway.get_as(&token, SEARCH).await?;
        assert_problem(&refused, 401, "invalid-token");
        let challenge = refused.header("www-authenticate").unwrap();
        assert!(
            challenge.starts_with(r#"Bearer realm="rag", error="invalid_token""#),
            "{challenge}"
        );
        // What was wrong is for the log alone.
        assert!(
            !refused.body.contains(reason) && !challenge.contains(reason),
            "{refused:?}"
        );
        let id = refused.header("x-request-id").unwrap();
        let line = gateway.output().wait_for(&["event=refused", id]).await?;
        assert!(
            line.contains(&format!("reason={reason} ")),
            "{reason}: {line}"
        );
        for segment in token.split('.').filter(|segment| segment.len() > 8) {
            assert_eq!(
                gateway.output().with(&[segment]),
                [""; 0],
                "a token in the log"
            );
        }
    }
    assert_eq!(gateway.requests().total(), 0);

    // At the edge of what is allowed.
    for token in [
        good().header("kid", Value::Null),
        good().claim("aud", json!(["other-api", "rag-api"])),
        good().claim("scope", json!("rag:write rag:read")),
        good()
            .claim("scope", Value::Null)
            .claim("scp", json!(["rag:read"])),
        good()
            .claim("exp", json!(now - 10))
            .claim("iat", json!(now - 60)),
        good().claim("nbf", json!(now + 10)),
        // What a token says of its own keys is not looked at.
        good().header("jku", json!("https://evil.example/jwks.json")),
    ] {
        let answer = gateway
            .get_as(&token.signed(JWT_SECRET_KEY), SEARCH)
            .await?;
        assert_eq!(answer.status, 200, "{token:?} {answer:?}");
    }
    Ok(())
}
