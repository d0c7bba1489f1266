//! Rules, alerts and the dashboard's queries, evaluated by a real Prometheus on what real gateways say.

use std::net::Ipv4Addr;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use portcullis_e2e::{Gateway, until};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;

use crate::dashboard::{Query, queries};
use crate::files::{names, rules, yaml};
use crate::programs::promtool;
use crate::prometheus::{Prometheus, has_data, is_data, wait_for_value};
use crate::scene::{Egress, SLOTS, UNREADABLE, all_outcomes, edge, keep_refusing, query_from};

/// Before the first address of other clients.
const OTHERS: Ipv4Addr = Ipv4Addr::new(127, 1, 0, 0);

/// A Prometheus that has seen both gateways; `None` where there is no Prometheus to run.
async fn watching(gateway: &Gateway, egress: &Egress) -> Result<Option<Prometheus>> {
    let targets = [
        ("edge", gateway.admin().address()),
        ("egress", egress.admin().address()),
    ];
    let prometheus = Prometheus::start("prometheus.yml", &targets).await?;
    if let Some(prometheus) = &prometheus {
        // Counters must be seen to grow: a series whose first value is its last has no rate.
        wait_for_value(prometheus, "sum(up)", 2.0).await?;
    }
    Ok(prometheus)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_alerts_and_panels_have_data_of_live_gateways_and_one_that_is_gone_is_told()
-> Result<()> {
    let (gateway, egress) = (edge().await?, Egress::start().await?);
    let Some(prometheus) = watching(&gateway, &egress).await? else {
        return Ok(());
    };
    let asked = panels_of_rates_have_data(&prometheus, &gateway).await?;
    egress.ask_the_model().await?;
    panels_have_data(&prometheus, Query::is_of_first_tokens).await?;
    let answers = all_outcomes(&gateway).await?;
    // Queries that the backend answered: the health route is another, and refusals take no time of its.
    let queries = answers
        .iter()
        .filter(|(outcome, _)| matches!(*outcome, "forwarded" | "failed"));
    let answered = asked + queries.count() - 1;
    tokio::select! {
        checked = rules_alerts_and_panels_have_data(&prometheus, answered as f64) => checked?,
        refusing = keep_refusing(&gateway) => match refusing? {},
    }
    drop(gateway);
    until("GatewayDown to fire", async || {
        Ok(prometheus
            .firing()
            .await?
            .contains(&"GatewayDown".to_owned()))
    })
    .await
}

#[tokio::test]
async fn of_our_metrics_promtool_dislikes_what_is_known_and_nothing_else() -> Result<()> {
    // Envoy has no help texts. The names are those that the dashboards of the system go by
    // (circuit_breaker_failures), and Envoy adds no suffix to a counter's.
    const KNOWN: [&str; 2] = [
        "no help text",
        r#"counter metrics should have "_total" suffix"#,
    ];
    let Some(mut command) = promtool()? else {
        return Ok(());
    };
    let gateway = edge().await?;
    all_outcomes(&gateway).await?;
    let metrics = gateway.admin().get("/stats/prometheus").await?;
    let ours = metrics.lines().filter(|line| !line.contains("envoy_"));
    let ours: String = ours.map(|line| format!("{line}\n")).collect();
    assert!(ours.contains("circuit_breaker_state"), "{ours}");
    let mut process = command
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut input = process.stdin.take().context("it has no input")?;
    input.write_all(ours.as_bytes()).await?;
    drop(input);
    let output = process.wait_with_output().await?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said)?;
    // Of each metric, so that this is not about an input that promtool did not take.
    assert!(
        said.contains("circuit_breaker_state no help text"),
        "{said}"
    );
    let news = said
        .lines()
        .filter(|line| !KNOWN.iter().any(|known| line.ends_with(known)));
    assert_eq!(news.collect::<Vec<_>>(), [""; 0]);
    Ok(())
}

/// Sends queries until the panels that show how long queries take have something to show, and says how
/// many. Counters must be seen to grow for that, and a minute later they do not any more.
async fn panels_of_rates_have_data(prometheus: &Prometheus, gateway: &Gateway) -> Result<usize> {
    let mut asked = 0;
    for query in queries()?.into_iter().filter(Query::is_of_durations) {
        until(&query.panel, async || {
            asked += 1;
            // From another address each time: one alone would soon be limited.
            let address = Ipv4Addr::from_bits(OTHERS.to_bits() + asked);
            query_from(address, gateway).await?;
            Ok(is_data(&prometheus.query(&query.expression).await?))
        })
        .await?;
    }
    ensure!(asked > 0, "no panel shows how long queries take");
    Ok(asked as usize)
}

async fn rules_alerts_and_panels_have_data(prometheus: &Prometheus, answered: f64) -> Result<()> {
    for name in names(&rules("observability/rules/names.yml")?, "record") {
        has_data(prometheus, &name).await?;
    }
    for name in ["circuit_breaker_state", "circuit_breaker_failures"] {
        has_data(prometheus, name).await?;
    }
    let have_to_grow = |query: &Query| query.is_of_durations() || query.is_of_first_tokens();
    panels_have_data(prometheus, |query| !have_to_grow(query)).await?;

    for alert in [
        "CircuitBreakerOpen",
        "ModelStalls",
        "QdrantNodeDown",
        "RequestsRefused",
        "TokenBudgetExhausted",
        "UsageUnreadable",
    ] {
        until(&format!("{alert} to fire"), async || {
            Ok(prometheus.firing().await?.iter().any(|name| name == alert))
        })
        .await?;
    }
    wait_for_value(
        prometheus,
        r#"circuit_breaker_state{breaker="rag_service"}"#,
        2.0,
    )
    .await?;
    wait_for_value(
        prometheus,
        r#"circuit_breaker_failures{breaker="rag_service"}"#,
        5.0,
    )
    .await?;
    wait_for_value(
        prometheus,
        r#"count(circuit_breaker_state{job="egress"})"#,
        3.0,
    )
    .await?;
    what_became_of_requests_to_the_model(prometheus).await?;
    wait_for_value(
        prometheus,
        r#"qdrant_cluster_nodes_up{cluster="qdrant"}"#,
        2.0,
    )
    .await?;
    wait_for_value(prometheus, r#"qdrant_cluster_nodes{cluster="qdrant"}"#, 3.0).await?;
    wait_for_value(prometheus, "sum(qdrant_node_up)", 2.0).await?;
    wait_for_value(prometheus, "rag_query_duration_seconds_count", answered).await?;
    buckets_are_those_of_the_gateway_in_seconds(prometheus, answered).await?;

    let firing = prometheus.firing().await?;
    for alert in [
        "GatewayDown",
        "JwksStale",
        "RateLimitEvictions",
        "FilterErrors",
    ] {
        assert!(!firing.iter().any(|name| name == alert), "{firing:?}");
    }
    every_rule_was_evaluated(prometheus).await
}

async fn panels_have_data(prometheus: &Prometheus, which: impl Fn(&Query) -> bool) -> Result<()> {
    for query in queries()?.iter().filter(|query| which(query)) {
        let outcome = has_data(prometheus, &query.expression).await;
        outcome.with_context(|| query.panel.clone())?;
    }
    Ok(())
}

async fn what_became_of_requests_to_the_model(prometheus: &Prometheus) -> Result<()> {
    for (expression, value) in [
        (r#"rate_limit_elsewhere{limit="user_tokens"}"#, 1.0),
        (
            r#"rate_limit_unreadable{limit="service_tokens"}"#,
            UNREADABLE as f64,
        ),
        (
            r#"rate_limit_estimated{limit="service_tokens"}"#,
            SLOTS as f64,
        ),
        (
            r#"circuit_breaker_stalled{breaker="ollama_generation"}"#,
            SLOTS as f64,
        ),
        (
            r#"min(rate_limit_limited{limit=~"ollama_slots|service_tokens"} > bool 0)"#,
            1.0,
        ),
        (
            r#"min(rate_limit_input_tokens{limit=~".*_tokens"} > bool 99000)"#,
            1.0,
        ),
        (
            r#"min(rate_limit_output_tokens{limit=~".*_tokens"} > bool 0)"#,
            1.0,
        ),
        (r#"circuit_breaker_elsewhere > bool 0"#, 1.0),
    ] {
        wait_for_value(prometheus, expression, value).await?;
    }
    Ok(())
}

async fn buckets_are_those_of_the_gateway_in_seconds(
    prometheus: &Prometheus,
    answered: f64,
) -> Result<()> {
    let configured =
        yaml("envoy/edge.yaml")?["stats_config"]["histogram_bucket_settings"][0]["buckets"].take();
    let configured = configured.as_array().context("no buckets")?;
    let mut expected: Vec<String> = (configured.iter().filter_map(Value::as_f64))
        .map(|milliseconds| (milliseconds / 1000.0).to_string())
        .collect();
    expected.push("+Inf".to_owned());
    expected.sort();
    let series = prometheus
        .query("rag_query_duration_seconds_bucket")
        .await?;
    let mut found: Vec<&str> = (series.iter())
        .filter_map(|series| series["metric"]["le"].as_str())
        .collect();
    found.sort_unstable();
    assert_eq!(found, expected);
    let all = r#"rag_query_duration_seconds_bucket{le="+Inf"}"#;
    wait_for_value(prometheus, all, answered).await?;
    // A streamed answer has eight events, 25 ms apart.
    let mean = "rag_query_duration_seconds_sum / rag_query_duration_seconds_count";
    let mean = prometheus.value(mean).await?;
    assert!(
        mean.is_some_and(|mean| (0.02..2.0).contains(&mean)),
        "{mean:?}"
    );
    Ok(())
}

async fn every_rule_was_evaluated(prometheus: &Prometheus) -> Result<()> {
    let evaluated = prometheus.rules().await?;
    let written = [
        rules("observability/rules/names.yml")?,
        rules("observability/rules/alerts.yml")?,
    ]
    .concat();
    assert_eq!(evaluated.len(), written.len());
    for rule in evaluated {
        assert_eq!(rule["health"], "ok", "{rule:#}");
    }
    Ok(())
}
