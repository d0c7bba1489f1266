//! Google, Firebase and Amazon Cognito.

use super::*;

const POOL: &str = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Example1";
const OTHER_POOL: &str = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Other001";
const POOL_KEYS: [&str; 2] = [
    "cognito-idp.eu-central-1.amazonaws.com",
    "/eu-central-1_Example1/.well-known/jwks.json",
];

#[test]
fn google() {
    check(&Issuer {
        section: "Google",
        keys_at: ["www.googleapis.com", "/oauth2/v3/certs"],
        description: None,
        jwk: plain(),
        head: json!({"typ": "JWT"}),
        method: "GET",
        claims: json!({
            "iss": "https://accounts.google.com", "azp": "1234987819200.apps.googleusercontent.com",
            "aud": "1234987819200.apps.googleusercontent.com", "sub": "110169484474386276334",
            "hd": "example.com", "email": "alice@example.com", "email_verified": true,
            "at_hash": "HK6E_P6Dh8Y93mRNtsDB1Q"
        }),
        forwarded: vec![
            ("x-user-id", "110169484474386276334"),
            ("x-user-email", "alice@example.com"),
        ],
        refused: vec![
            (
                "another client's",
                json!({"aud": "407408718192.apps.googleusercontent.com"}),
                "audience",
            ),
            (
                "another organisation's",
                json!({"hd": "evil.example"}),
                "provider_claims",
            ),
            ("a private account", json!({"hd": null}), "provider_claims"),
            (
                "an address nobody has checked",
                json!({"email_verified": false}),
                "provider_claims",
            ),
            (
                "the issuer's old name",
                json!({"iss": "accounts.google.com"}),
                "unknown_issuer",
            ),
        ],
    });
}

#[test]
fn firebase() {
    check(&Issuer {
        section: "Firebase",
        keys_at: [
            "www.googleapis.com",
            "/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com",
        ],
        description: None,
        jwk: plain(),
        head: json!({"typ": "JWT"}),
        method: "GET",
        claims: json!({
            "iss": "https://securetoken.google.com/rag-example", "aud": "rag-example",
            "user_id": "Zr8GFsd", "sub": "Zr8GFsd", "email": "alice@example.com", "email_verified": false,
            "firebase": {"identities": {"email": ["alice@example.com"]}, "sign_in_provider": "password"}
        }),
        forwarded: vec![
            ("x-user-id", "Zr8GFsd"),
            ("x-user-email", "alice@example.com"),
        ],
        refused: vec![
            (
                "another project's",
                json!({"iss": "https://securetoken.google.com/other", "aud": "other"}),
                "unknown_issuer",
            ),
            ("for another project", json!({"aud": "other"}), "audience"),
            (
                "somebody anonymous",
                json!({"firebase": {"identities": {}, "sign_in_provider": "anonymous"}}),
                "provider_claims",
            ),
            (
                "a session cookie",
                json!({"iss": "https://session.firebase.google.com/rag-example"}),
                "unknown_issuer",
            ),
        ],
    });
}

#[test]
fn cognito_access_tokens() {
    check(&Issuer {
        section: "Amazon Cognito, access tokens",
        keys_at: POOL_KEYS,
        description: None,
        jwk: plain(),
        head: json!({}),
        method: "GET",
        claims: json!({
            "iss": POOL, "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "client_id": "1example23456789",
            "token_use": "access", "scope": "openid rag/read", "version": 2, "username": "alice",
            "cognito:groups": ["readers", "testers"], "origin_jti": "o", "event_id": "e", "jti": "j"
        }),
        forwarded: vec![
            ("x-user-id", "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"),
            ("x-user-groups", "readers testers"),
        ],
        refused: vec![
            (
                "an ID token",
                json!({"token_use": "id", "client_id": null, "aud": "1example23456789", "scope": null}),
                "provider_claims",
            ),
            (
                "another client's",
                json!({"client_id": "3example23456789"}),
                "provider_claims",
            ),
            (
                "another pool's",
                json!({"iss": OTHER_POOL}),
                "unknown_issuer",
            ),
            (
                "without the scope",
                json!({"scope": "aws.cognito.signin.user.admin"}),
                "insufficient_scope",
            ),
        ],
    });
}

#[test]
fn cognito_id_tokens() {
    check(&Issuer {
        section: "Amazon Cognito, ID tokens",
        keys_at: POOL_KEYS,
        description: None,
        jwk: plain(),
        head: json!({}),
        method: "GET",
        claims: json!({
            "iss": POOL, "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "aud": "1example23456789",
            "token_use": "id", "cognito:username": "alice", "cognito:groups": ["readers"],
            "email": "alice@example.com", "email_verified": true, "origin_jti": "o", "event_id": "e"
        }),
        forwarded: vec![
            ("x-user-id", "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"),
            ("x-user-email", "alice@example.com"),
            ("x-user-groups", "readers"),
        ],
        refused: vec![
            (
                "an access token",
                json!({"token_use": "access", "aud": null, "client_id": "1example23456789"}),
                "claim_missing",
            ),
            (
                "an access token that was given an audience",
                json!({"token_use": "access"}),
                "provider_claims",
            ),
            (
                "another client's",
                json!({"aud": "3example23456789"}),
                "audience",
            ),
            (
                "another pool's",
                json!({"iss": OTHER_POOL}),
                "unknown_issuer",
            ),
        ],
    });
}
