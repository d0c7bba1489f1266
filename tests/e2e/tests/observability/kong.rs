//! `observability/prometheus.kong.yml`, on what Kong's exporter would say.

use std::net::Ipv4Addr;

use anyhow::Result;
use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::prometheus::{Prometheus, wait_for_value};

/// As Kong's `prometheus` plugin writes them; read in its sources, and not taken from a Kong.
const METRICS: &str = r#"
# TYPE pw_edge_circuit_breaker_state gauge
pw_edge_circuit_breaker_state{breaker="rag_service"} 2
# TYPE pw_circuit_breaker_circuit_breaker_state gauge
pw_circuit_breaker_circuit_breaker_state{breaker="qdrant_search"} 1
# TYPE pw_edge_rate_limit_limited counter
pw_edge_rate_limit_limited{limit="per_ip"} 7
# TYPE pw_edge_service_token_injected counter
pw_edge_service_token_injected 5
# TYPE pw_another_filter_requests counter
pw_another_filter_requests 3
# TYPE kong_upstream_latency_ms histogram
kong_upstream_latency_ms_bucket{service="rag",route="api",workspace="default",le="25"} 1
kong_upstream_latency_ms_bucket{service="rag",route="api",workspace="default",le="1000"} 4
kong_upstream_latency_ms_bucket{service="rag",route="api",workspace="default",le="+Inf"} 4
kong_upstream_latency_ms_sum{service="rag",route="api",workspace="default"} 1200
kong_upstream_latency_ms_count{service="rag",route="api",workspace="default"} 4
"#;

#[tokio::test]
async fn metrics_of_kong_go_by_the_names_that_envoy_has() -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let kong = Router::new().route("/metrics", get(|| async { METRICS }));
    let kong = tokio::spawn(async move { axum::serve(listener, kong).await });
    let targets = [("edge", address), ("egress", address)];
    let Some(prometheus) = Prometheus::start("prometheus.kong.yml", &targets).await? else {
        return Ok(());
    };
    for (expression, value) in [
        (
            r#"circuit_breaker_state{job="edge", breaker="rag_service"}"#,
            2.0,
        ),
        (
            r#"circuit_breaker_state{job="egress", breaker="qdrant_search"}"#,
            1.0,
        ),
        (r#"rate_limit_limited{job="edge", limit="per_ip"}"#, 7.0),
        (r#"service_token_injected{job="edge"}"#, 5.0),
        (r#"pw_another_filter_requests{job="edge"}"#, 3.0),
        (
            r#"rag_query_duration_seconds_bucket{job="edge", le="0.025"}"#,
            1.0,
        ),
        (
            r#"rag_query_duration_seconds_bucket{job="edge", le="1"}"#,
            4.0,
        ),
        (r#"rag_query_duration_seconds_sum{job="edge"}"#, 1.2),
    ] {
        wait_for_value(&prometheus, expression, value).await?;
    }
    kong.abort();
    Ok(())
}
