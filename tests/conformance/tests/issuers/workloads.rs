//! What runs somewhere and is no person.

use super::*;

#[test]
fn github_actions() {
    check(&Issuer {
        section: "GitHub Actions",
        keys_at: ["token.actions.githubusercontent.com", "/.well-known/jwks"],
        description: None,
        jwk: json!({"use": "sig", "alg": "RS256", "x5t": "dGh1bWI", "x5c": ["MIIDKzCCAhOgAwIBAgIU"]}),
        head: json!({"typ": "JWT", "x5t": "dGh1bWI"}),
        method: "POST",
        claims: json!({
            "iss": "https://token.actions.githubusercontent.com", "jti": "example-id",
            "sub": "repo:example/rag:ref:refs/heads/main", "aud": "https://rag.example.com",
            "ref": "refs/heads/main", "ref_type": "branch", "sha": "example-sha",
            "repository": "example/rag", "repository_owner": "example", "actor": "alice",
            "repository_id": "74", "run_id": "4873922017", "run_number": "10", "run_attempt": "2",
            "event_name": "workflow_dispatch", "workflow": "index", "runner_environment": "github-hosted",
            "job_workflow_ref": "example/rag/.github/workflows/index.yml@refs/heads/main"
        }),
        forwarded: vec![
            ("x-workflow", "repo:example/rag:ref:refs/heads/main"),
            ("x-run-id", "4873922017"),
        ],
        refused: vec![
            (
                "another repository's",
                json!({"repository": "mallory/rag", "repository_owner": "mallory"}),
                "provider_claims",
            ),
            (
                "another branch's",
                json!({"ref": "refs/heads/pull"}),
                "provider_claims",
            ),
            (
                "the default audience",
                json!({"aud": "https://github.com/example"}),
                "audience",
            ),
            (
                "an enterprise server's",
                json!({"iss": "https://ghe.example.com/_services/token"}),
                "unknown_issuer",
            ),
        ],
    });
}

#[test]
fn kubernetes_service_accounts() {
    let of = |namespace: &str, account: &str| {
        json!({
            "namespace": namespace, "node": {"name": "worker-1", "uid": "517eb86e"},
            "pod": {"name": "indexer-7d4f", "uid": "0d8b260e"},
            "serviceaccount": {"name": account, "uid": "e6a8680e"}, "warnafter": START_UNIX_SECS + 3607
        })
    };
    check(&Issuer {
        section: "Kubernetes service accounts",
        keys_at: ["kubernetes.default.svc", "/openid/v1/jwks"],
        description: None,
        jwk: plain(),
        head: json!({}),
        method: "GET",
        claims: json!({
            "iss": "https://kubernetes.default.svc.cluster.local", "aud": ["rag-api"],
            "jti": "e51f1fbc", "nbf": START_UNIX_SECS, "sub": "system:serviceaccount:batch:indexer",
            "kubernetes.io": of("batch", "indexer")
        }),
        forwarded: vec![
            ("x-service", "system:serviceaccount:batch:indexer"),
            ("x-pod", "indexer-7d4f"),
        ],
        refused: vec![
            (
                "the API server's own audience",
                json!({"aud": ["https://kubernetes.default.svc.cluster.local"]}),
                "audience",
            ),
            (
                "another namespace's",
                json!({"kubernetes.io": of("shop", "indexer")}),
                "provider_claims",
            ),
            (
                "another account's",
                json!({"kubernetes.io": of("rag", "default")}),
                "claim_mismatch",
            ),
            (
                "another cluster's",
                json!({"iss": "https://oidc.eks.eu-central-1.amazonaws.com/id/EXAMPLE"}),
                "unknown_issuer",
            ),
            (
                "a legacy secret",
                json!({"iss": "kubernetes/serviceaccount", "aud": null}),
                "unknown_issuer",
            ),
        ],
    });
}
