//! Auth0, Keycloak, Okta and Spring.

use super::*;

#[test]
fn auth0() {
    check(&Issuer {
        section: "Auth0",
        keys_at: ["example.eu.auth0.com", "/.well-known/jwks.json"],
        description: None,
        jwk: json!({"use": "sig", "alg": "RS256", "x5t": "dGh1bWI", "x5c": ["MIIDDTCCAfWgAwIBAgIJ"]}),
        head: json!({"typ": "JWT"}),
        method: "GET",
        claims: json!({
            "iss": "https://example.eu.auth0.com/", "sub": "auth0|6352a1f0c7d8e9",
            "aud": ["https://rag.example.com/api", "https://example.eu.auth0.com/userinfo"],
            "azp": "Sx8Zl0Rag", "scope": "openid profile rag:read",
            "permissions": ["rag:read", "rag:write"], "https://rag.example.com/tenant": "acme"
        }),
        forwarded: vec![
            ("x-user-id", "auth0|6352a1f0c7d8e9"),
            ("x-user-permissions", "rag:read rag:write"),
            ("x-tenant", "acme"),
        ],
        refused: vec![
            (
                "an ID token",
                json!({"aud": "Sx8Zl0Rag", "scope": null, "permissions": null, "nonce": "n"}),
                "audience",
            ),
            (
                "another API's",
                json!({"aud": ["https://shop.example.com/api"]}),
                "audience",
            ),
            (
                "another tenant's",
                json!({"iss": "https://other.eu.auth0.com/"}),
                "unknown_issuer",
            ),
            (
                "the issuer without its slash",
                json!({"iss": "https://example.eu.auth0.com"}),
                "unknown_issuer",
            ),
            (
                "without the scope",
                json!({"scope": "openid"}),
                "insufficient_scope",
            ),
        ],
    });
}

#[test]
fn keycloak() {
    let issuer = "https://id.example.com/realms/rag";
    check(&Issuer {
        section: "Keycloak",
        keys_at: [
            "id.example.com",
            "/realms/rag/protocol/openid-connect/certs",
        ],
        description: Some((
            "/realms/rag/.well-known/openid-configuration",
            json!({
                "issuer": issuer,
                "jwks_uri": format!("{issuer}/protocol/openid-connect/certs"),
                "token_endpoint": format!("{issuer}/protocol/openid-connect/token"),
                "grant_types_supported": ["authorization_code"]
            }),
        )),
        jwk: json!({"use": "sig", "alg": "RS256", "x5c": ["MIIClTCCAX0CBgF"], "x5t#S256": "dGh1bWI"}),
        head: json!({"typ": "JWT"}),
        method: "GET",
        claims: json!({
            "iss": issuer, "jti": "onrtac:7f1c", "aud": ["rag-api", "account"],
            "sub": "f4b6c1c2-8f5e-4a53-9d0f-0d2f9f0d1a11", "typ": "Bearer", "azp": "rag-web",
            "sid": "5c0f", "acr": "1", "allowed-origins": ["https://rag.example.com"],
            "realm_access": {"roles": ["offline_access", "rag-reader"]},
            "resource_access": {"account": {"roles": ["view-profile"]}},
            "scope": "openid profile email", "preferred_username": "alice",
            "groups": ["/Domain Users", "/rag"]
        }),
        forwarded: vec![
            ("x-user-id", "f4b6c1c2-8f5e-4a53-9d0f-0d2f9f0d1a11"),
            ("x-user-roles", "offline_access,rag-reader"),
            ("x-user-groups", "/Domain Users,/rag"),
        ],
        refused: vec![
            (
                "an ID token",
                json!({"typ": "ID", "aud": "rag-web"}),
                "audience",
            ),
            (
                "an ID token for the API",
                json!({"typ": "ID", "aud": "rag-api"}),
                "provider_claims",
            ),
            (
                "a refresh token",
                json!({"typ": "Refresh"}),
                "provider_claims",
            ),
            ("without the mapper", json!({"aud": "account"}), "audience"),
            (
                "another realm's",
                json!({"iss": "https://id.example.com/realms/master"}),
                "unknown_issuer",
            ),
            (
                "without the role",
                json!({"realm_access": {"roles": []}}),
                "claim_mismatch",
            ),
        ],
    });
}

#[test]
fn okta() {
    check(&Issuer {
        section: "Okta",
        keys_at: ["example.okta.com", "/oauth2/default/v1/keys"],
        description: None,
        jwk: plain(),
        head: json!({}),
        method: "GET",
        claims: json!({
            "ver": 1, "jti": "AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE",
            "iss": "https://example.okta.com/oauth2/default", "aud": "api://default",
            "cid": "nmdP1fcyvdVO11AL7ECm", "uid": "00uid4BxXw6I6TV4m0g3", "scp": ["openid", "rag:read"],
            "sub": "alice@example.com", "groups": ["Everyone", "Domain Users"]
        }),
        forwarded: vec![
            ("x-user-id", "00uid4BxXw6I6TV4m0g3"),
            ("x-user-login", "alice@example.com"),
            ("x-user-groups", r#"["Everyone","Domain Users"]"#),
        ],
        refused: vec![
            (
                "an ID token",
                json!({"aud": "nmdP1fcyvdVO11AL7ECm", "scp": null, "cid": null}),
                "audience",
            ),
            (
                "the organisation's own",
                json!({"iss": "https://example.okta.com", "aud": "https://example.okta.com"}),
                "unknown_issuer",
            ),
            (
                "without the scope",
                json!({"scp": ["openid"]}),
                "insufficient_scope",
            ),
        ],
    });
}

#[test]
fn spring_authorization_server() {
    check(&Issuer {
        section: "Spring Authorization Server",
        keys_at: ["auth.example.com", "/oauth2/jwks"],
        description: None,
        jwk: json!({}),
        head: json!({}),
        method: "GET",
        claims: json!({
            "iss": "https://auth.example.com", "sub": "alice", "aud": "rag-web", "nbf": START_UNIX_SECS,
            "scope": ["openid", "rag:read"], "jti": "7b1b0a4c"
        }),
        forwarded: vec![("x-user-id", "alice"), ("x-user-scopes", "openid rag:read")],
        refused: vec![
            (
                "an ID token",
                json!({"scope": null, "azp": "rag-web", "sid": "s", "nonce": "n"}),
                "insufficient_scope",
            ),
            ("another client's", json!({"aud": "shop-web"}), "audience"),
            (
                "without the scope",
                json!({"scope": ["openid"]}),
                "insufficient_scope",
            ),
        ],
    });
}
