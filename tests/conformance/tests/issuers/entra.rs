//! Microsoft Entra ID.

use super::*;

const TENANT: &str = "6babcaad-604b-40ac-a9d7-9fd97c0b779f";
const OTHER_TENANT: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";
const APPLICATION: &str = "535fb089-9ff3-47b6-9bfb-4f1264799865";

fn entra(section: &'static str, version: &str) -> Issuer {
    let (iss, other, aud, path) = match version {
        "2.0" => (
            format!("https://login.microsoftonline.com/{TENANT}/v2.0"),
            format!("https://login.microsoftonline.com/{OTHER_TENANT}/v2.0"),
            APPLICATION.to_owned(),
            "/6babcaad-604b-40ac-a9d7-9fd97c0b779f/discovery/v2.0/keys",
        ),
        _ => (
            format!("https://sts.windows.net/{TENANT}/"),
            format!("https://sts.windows.net/{OTHER_TENANT}/"),
            format!("api://{APPLICATION}"),
            "/6babcaad-604b-40ac-a9d7-9fd97c0b779f/discovery/keys",
        ),
    };
    Issuer {
        section,
        keys_at: ["login.microsoftonline.com", path],
        description: None,
        jwk: json!({"use": "sig", "x5t": KID, "x5c": ["MIIC/TCCAeWgAwIBAgIIUd7j"], "issuer": iss}),
        head: json!({"typ": "JWT", "x5t": KID}),
        method: "GET",
        claims: json!({
            "iss": iss, "aud": aud, "tid": TENANT, "ver": version, "scp": "Rag.Read User.Read",
            "oid": "690222be-ff1a-4d56-abd1-7e4f7d38e474", "sub": "HKZpfaHyWadeOouYlitjrI",
            "azp": "f1d0d4c1", "rh": "0.AXkA", "uti": "fqiBqXLPj0eQa82S", "roles": ["Reader"]
        }),
        forwarded: vec![
            ("x-user-id", "690222be-ff1a-4d56-abd1-7e4f7d38e474"),
            ("x-user-roles", "Reader"),
        ],
        refused: vec![
            (
                "an ID token of the same application",
                json!({"scp": null, "nonce": "n", "preferred_username": "a@example.com"}),
                "insufficient_scope",
            ),
            (
                "one for Microsoft Graph",
                json!({"aud": "00000003-0000-0000-c000-000000000000"}),
                "audience",
            ),
            (
                "another tenant's",
                json!({"iss": other, "tid": OTHER_TENANT}),
                "unknown_issuer",
            ),
        ],
    }
}

#[test]
fn entra_v2() {
    check(&entra("Entra ID, version 2", "2.0"));
}

#[test]
fn entra_v1() {
    check(&entra("Entra ID, version 1", "1.0"));
}

#[test]
fn entra_of_many_tenants() {
    let mut issuer = entra("Entra ID, many tenants", "2.0");
    issuer.keys_at = ["login.microsoftonline.com", "/common/discovery/v2.0/keys"];
    issuer.jwk["issuer"] = json!("https://login.microsoftonline.com/{tenantid}/v2.0");
    issuer.forwarded = vec![
        ("x-user-id", "690222be-ff1a-4d56-abd1-7e4f7d38e474"),
        ("x-tenant", TENANT),
    ];
    let of = |tenant: &str| format!("https://login.microsoftonline.com/{tenant}/v2.0");
    issuer.refused.pop();
    issuer.refused.extend([
        (
            "a tenant that may not",
            json!({"iss": of(OTHER_TENANT), "tid": OTHER_TENANT}),
            "provider_claims",
        ),
        (
            "one tenant's issuer, another's id",
            json!({"iss": of(OTHER_TENANT)}),
            "unknown_issuer",
        ),
        ("no tenant", json!({"tid": null}), "unknown_issuer"),
    ]);
    check(&issuer);
}
