//! `discovery: true`: the issuer's own description says where its keys are.

use std::collections::BTreeSet;

use anyhow::Result;
use portcullis_idp::{Answer as Served, Idp};
use serde_json::{Value, json};

use crate::jwks_scene::{
    HOST, KEYS, RAG, assert_sound, every_second, fetches, gateway, good_set, good_token,
    good_token_of, issuer, statuses, until_all, until_fetched,
};

fn discovering() -> Value {
    let mut remote = every_second(RAG);
    if let Value::Object(fields) = &mut remote {
        fields.remove("path");
    }
    remote["discovery"] = json!(true);
    remote
}

/// Where a provider describes itself.
fn description_of(provider: &str) -> String {
    format!("/realms/{provider}/.well-known/openid-configuration")
}

/// As much as issuers publish, which is more than anybody reads here.
fn description(issuer: &str, keys: &str) -> Served {
    let description = json!({
        "issuer": issuer, "jwks_uri": keys,
        "authorization_endpoint": format!("{issuer}/auth"),
        "response_types_supported": ["code", "id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    });
    Served::Json(description.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_description_leads_to_the_keys_of_its_own_issuer_on_its_own_host() -> Result<()> {
    let keys = format!("https://{HOST}{KEYS}");
    let keys = keys.as_str();
    let elsewhere = "https://keys.example.com/realms/rag/keys";
    let without_tls = "http://id.example.com/realms/rag/keys";
    let refused = [
        ("liar", "issuer_mismatch", description(&issuer(RAG), keys)),
        (
            "elsewhere",
            "foreign_jwks_uri",
            description(&issuer("elsewhere"), elsewhere),
        ),
        (
            "plain",
            "foreign_jwks_uri",
            description(&issuer("plain"), without_tls),
        ),
    ];
    let idp = Idp::start(HOST).await?;
    idp.serve(&description_of(RAG), description(&issuer(RAG), keys));
    idp.serve(KEYS, good_set());
    let mut providers = vec![(RAG, discovering())];
    for (name, _, description) in &refused {
        idp.serve(&description_of(name), description.clone());
        providers.push((name, discovering()));
    }
    let gateway = gateway("jwt_auth", &idp, &providers).start().await?;
    until_all(&gateway, 200, good_token).await?;
    for (name, result, _) in refused {
        until_fetched(&gateway, name, result, 1).await?;
        let answered = statuses(&gateway, || good_token_of(name)).await?;
        assert_eq!(answered, BTreeSet::from([503]), "{name}");
        assert_eq!(fetches(&gateway, name, "ok").await?, 0, "{name}");
    }

    // It is read again each time: when it turns bad it leads nowhere, and the keys at hand serve on.
    idp.serve(&description_of(RAG), description(&issuer("liar"), keys));
    until_fetched(&gateway, RAG, "issuer_mismatch", 1).await?;
    idp.reset();
    until_fetched(&gateway, RAG, "issuer_mismatch", 2).await?;
    assert_eq!(idp.requests(KEYS), 0, "asked where a liar sends it");
    assert_eq!(statuses(&gateway, good_token).await?, BTreeSet::from([200]));
    assert_sound(&gateway);
    Ok(())
}
