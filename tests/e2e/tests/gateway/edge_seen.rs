//! `envoy/edge.yaml`: what pages, people and machines get to see of it.

use anyhow::Result;
use portcullis_e2e::{Answer, Bootstrap, Gateway};
use serde_json::json;

use crate::common::{SEARCH, grpc_status, preflight, token};

#[tokio::test]
async fn a_page_of_the_dashboard_can_read_refusals_and_one_from_elsewhere_can_not() -> Result<()> {
    let gateway = Gateway::with("edge").edit(|b| quota(b, 4)).start().await?;
    let origin = ("origin", "http://localhost:3103");
    let bearer = format!("Bearer {}", token());
    let readable = |answer: &Answer| {
        assert_eq!(
            answer.header("access-control-allow-origin"),
            Some(origin.1),
            "{answer:?}"
        );
        assert_eq!(
            answer.header("access-control-allow-credentials"),
            Some("true"),
            "{answer:?}"
        );
        let exposed = answer
            .header("access-control-expose-headers")
            .unwrap()
            .to_lowercase();
        let exposed: Vec<&str> = exposed.split(',').map(str::trim).collect();
        for name in answer.headers.keys().filter(|name| {
            let name = name.as_str();
            name.starts_with("ratelimit")
                || name.starts_with("x-ratelimit")
                || name == "retry-after"
        }) {
            let kept = exposed.contains(&name.as_str()) || name.as_str().ends_with("-hour");
            assert!(kept, "{name} is not exposed: {exposed:?}");
        }
    };
    let good = gateway
        .get_with(SEARCH, &[origin, ("authorization", &bearer)])
        .await?;
    assert_eq!(good.status, 200);
    readable(&good);
    let unauthenticated = gateway.get_with(SEARCH, &[origin]).await?;
    assert_eq!(unauthenticated.status, 401);
    readable(&unauthenticated);
    let forbidden = gateway.get_with("/other", &[origin]).await?;
    assert_eq!(forbidden.status, 403);
    readable(&forbidden);
    let elsewhere = [("origin", "http://localhost:3104")];
    let answer = gateway.get_with(SEARCH, &elsewhere).await?;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("access-control-allow-origin"), None);
    let limited = gateway.get_with(SEARCH, &[origin]).await?;
    assert_eq!(limited.status, 429);
    readable(&limited);
    // Preflights are answered even now, since they are not counted.
    let allowed = preflight(&gateway, SEARCH).await?;
    assert_eq!(allowed.status, 200);
    assert_eq!(
        allowed.header("access-control-allow-origin"),
        Some(origin.1)
    );
    assert_eq!(
        allowed.header("access-control-allow-methods"),
        Some("GET, POST")
    );
    let headers = allowed.header("access-control-allow-headers").unwrap();
    assert!(
        headers.contains("authorization") && headers.contains("content-type"),
        "{headers}"
    );
    assert_eq!(gateway.requests().total(), 1);
    Ok(())
}

#[tokio::test]
async fn grpc_clients_get_grpc_statuses() -> Result<()> {
    let gateway = Gateway::with("edge").edit(|b| quota(b, 1)).start().await?;
    assert_eq!(grpc_status(&gateway, SEARCH).await?, (200, "16".to_owned()));
    assert_eq!(grpc_status(&gateway, SEARCH).await?, (200, "8".to_owned()));
    Ok(())
}

/// Of a gateway with the configuration of `envoy/edge.yaml`.
pub(crate) async fn every_metric_has_its_name_and_labels(gateway: &Gateway) -> Result<()> {
    let samples = gateway.admin().metrics("").await?;
    let mut ours: Vec<String> = Vec::new();
    for sample in samples {
        let plugin = [
            "jwt_auth_",
            "rate_limit_",
            "circuit_breaker_",
            "service_token_",
        ];
        if plugin.iter().any(|plugin| sample.name.starts_with(plugin)) {
            let labels: Vec<&str> = sample
                .labels
                .iter()
                .map(|(name, _)| name.as_str())
                .collect();
            ours.push(format!("{}{{{}}}", sample.name, labels.join(",")));
        }
    }
    ours.sort();
    ours.dedup();
    for metric in [
        "circuit_breaker_failures{breaker}",
        "circuit_breaker_rejected{breaker}",
        "circuit_breaker_state{breaker}",
        "circuit_breaker_transitions{breaker,to}",
        "jwt_auth_allowed{provider}",
        "jwt_auth_cache_hits{}",
        "jwt_auth_cache_misses{}",
        "jwt_auth_denied{reason}",
        "rate_limit_allowed{limit}",
        "rate_limit_errors{reason}",
        "rate_limit_evictions{limit}",
        "rate_limit_limited{limit}",
        "rate_limit_shadow_limited{limit}",
        "service_token_errors{reason}",
        "service_token_injected{}",
        "service_token_spoofed{}",
    ] {
        assert!(
            ours.iter().any(|found| found == metric),
            "{metric} is missing: {ours:#?}"
        );
    }
    // A name that still ends in a value was not understood by the tags.
    let values = [
        "per_ip",
        "rag_service",
        "dashboard",
        "no_token",
        "edit_failed",
        "half_open",
    ];
    let unlabelled = |found: &&String| values.iter().any(|value| found.contains(value));
    assert_eq!(ours.iter().filter(unlabelled).collect::<Vec<_>>(), [""; 0]);
    Ok(())
}

/// So many requests an hour.
pub(crate) fn quota(bootstrap: &mut Bootstrap, quota: u32) -> Result<()> {
    let limit = &mut bootstrap.filter("edge")?["rate_limit"]["limits"][0];
    limit["quota"] = json!(quota);
    limit["window"] = json!("1h");
    Ok(())
}
