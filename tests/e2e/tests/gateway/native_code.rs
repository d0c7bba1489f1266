//! What only native code does: the files of `envoy/native` as they stand, routes with a configuration of their own, and what
//! others can read.

use anyhow::Result;
use portcullis_e2e::{Gateway, JWT_SECRET_KEY, Token};
use serde_json::{Value, json};

const SEARCH: &str = "/api/v1/rag/search?q=circuit+breaker";

fn per_route(name: &str, config: &Value) -> Value {
    json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilterPerRoute",
        "dynamic_module_config": { "name": "portcullis" },
        "filter_name": name,
        "filter_config": { "@type": "type.googleapis.com/google.protobuf.Struct", "value": config },
    })
}

#[tokio::test]
async fn each_file_serves_as_it_stands() -> Result<()> {
    for name in [
        "edge",
        "jwt_auth",
        "rate_limit",
        "circuit_breaker",
        "service_token",
    ] {
        let gateway = Gateway::with(&format!("native/{name}"))
            .workers(2)
            .start()
            .await?;
        let token = Token::of("alice").signed(JWT_SECRET_KEY);
        let answer = gateway.get_as(&token, SEARCH).await?;
        assert_eq!(answer.status, 200, "{name}: {answer:?}");
        let without = gateway.get(SEARCH).await?.status;
        let guarded = matches!(name, "edge" | "jwt_auth");
        assert_eq!(without, if guarded { 401 } else { 200 }, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn a_route_has_limits_of_its_own_and_the_log_reads_who_calls() -> Result<()> {
    let limit = json!({ "limits": [{ "name": "route", "key": ["client_address"], "quota": 2, "window": "1h" }] });
    let gateway = Gateway::with("native/jwt_auth")
        .workers(2)
        .edit(|bootstrap| {
            bootstrap.filter("jwt_auth")?["identity_metadata"] = json!(true);
            let format = json!({ "log_format": { "text_format_source": {
                "inline_string": "caller=%DYNAMIC_METADATA(portcullis:x-user-id)% details=%RESPONSE_CODE_DETAILS%\n",
            } } });
            let manager = bootstrap.connection_manager()?;
            manager["access_log"][0]["typed_config"]["log_format"] = format["log_format"].clone();
            let route = json!({
                "match": { "prefix": "/api/v1/rag/search" },
                "route": { "cluster": "rag" },
                "typed_per_filter_config": { "jwt_auth": per_route("rate_limit/of_route", &limit) },
            });
            bootstrap.add_route(route)
        })
        .start()
        .await?;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(gateway.get(SEARCH).await?.status);
    }
    assert_eq!(statuses, [200, 200, 429, 429]);
    // Elsewhere it is the listener's.
    let elsewhere = "/api/v1/rag/status";
    assert_eq!(gateway.get(elsewhere).await?.status, 401);
    let token = Token::of("alice").signed(JWT_SECRET_KEY);
    gateway.get_as(&token, elsewhere).await?;
    gateway.output().wait_for(&["caller=alice"]).await?;
    gateway
        .output()
        .wait_for(&["details=rate_limit{route}"])
        .await?;
    Ok(())
}

#[tokio::test]
async fn what_is_counted_is_not_lost_when_the_configuration_changes_under_load() -> Result<()> {
    let mut gateway = Gateway::with("native/rate_limit")
        .workers(2)
        .reloadable()
        .edit(|bootstrap| {
            bootstrap.filter("rate_limit")?["limits"][0]["quota"] = json!(40);
            Ok(())
        })
        .start()
        .await?;
    let mut admitted = 0;
    for round in 0..4 {
        for _ in 0..15 {
            admitted += u32::from(gateway.get(SEARCH).await?.status == 200);
        }
        gateway
            .reload(|bootstrap| {
                bootstrap.filter("rate_limit")?["headers"] =
                    json!(if round % 2 == 0 { "none" } else { "both" });
                Ok(())
            })
            .await?;
    }
    assert_eq!(admitted, 40);
    let admin = gateway.admin();
    admin
        .wait_for_metric(r#"rate_limit_allowed{limit="per_ip"}"#, 40)
        .await?;
    admin
        .wait_for_metric(r#"rate_limit_limited{limit="per_ip"}"#, 20)
        .await
}

#[tokio::test]
async fn a_module_that_is_told_of_no_such_filter_refuses_the_listener_with_a_line() -> Result<()> {
    let mut gateway = Gateway::with("native/rate_limit")
        .reloadable()
        .start()
        .await?;
    let refused = gateway
        .reload(|bootstrap| {
            let filters = bootstrap.http_filters()?;
            filters[0]["typed_config"]["filter_name"] = json!("rate_limits");
            Ok(())
        })
        .await;
    assert!(refused.is_err());
    gateway
        .output()
        .wait_for(&["filter_name", "rate_limits", "expected one of"])
        .await?;
    assert_eq!(gateway.get(SEARCH).await?.status, 200);
    Ok(())
}
