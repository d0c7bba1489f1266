//! The files themselves, without a gateway.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context as _, Result, ensure};
use portcullis_e2e::repository;
use serde_json::Value;

use crate::programs::promtool;

/// How the names of the filters' metrics begin.
const FILTERS: [&str; 4] = [
    "jwt_auth_",
    "rate_limit_",
    "circuit_breaker_",
    "service_token_",
];

/// A YAML file of the repository.
pub(crate) fn yaml(path: &str) -> Result<Value> {
    let text = fs::read_to_string(repository().join(path)).with_context(|| path.to_owned())?;
    serde_saphyr::from_str(&text).with_context(|| path.to_owned())
}

/// All rules of a file.
pub(crate) fn rules(path: &str) -> Result<Vec<Value>> {
    let groups = yaml(path)?["groups"].take();
    let groups = groups.as_array().context("no groups")?;
    let rules = groups.iter().filter_map(|group| group["rules"].as_array());
    Ok(rules.flatten().cloned().collect())
}

/// The names under which rules record, or by which alerts are known.
pub(crate) fn names(rules: &[Value], key: &str) -> BTreeSet<String> {
    let names = rules.iter().filter_map(|rule| rule[key].as_str());
    names.map(str::to_owned).collect()
}

#[tokio::test]
async fn promtool_has_nothing_to_say_against_configurations_and_rules() -> Result<()> {
    for arguments in [
        &["check", "config", "prometheus.yml"][..],
        &["check", "config", "prometheus.kong.yml"],
        &["check", "rules", "rules/names.yml", "rules/alerts.yml"],
        &["test", "rules", "tests/names.yml", "tests/alerts.yml"],
    ] {
        let Some(mut command) = promtool()? else {
            return Ok(());
        };
        let output = command.args(arguments).output().await?;
        ensure!(
            output.status.success(),
            "promtool {arguments:?}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

#[test]
fn every_recorded_name_is_tried_by_a_unit_test() -> Result<()> {
    let tests = yaml("observability/tests/names.yml")?;
    let expressions: Vec<&str> = (tests["tests"].as_array().into_iter().flatten())
        .flat_map(|test| test["promql_expr_test"].as_array().into_iter().flatten())
        .filter_map(|case| case["expr"].as_str())
        .collect();
    for name in names(&rules("observability/rules/names.yml")?, "record") {
        assert!(
            expressions.contains(&name.as_str()),
            "no unit test asks for {name}"
        );
    }
    Ok(())
}

#[test]
fn every_metric_of_a_filter_that_is_asked_for_is_one_that_the_filter_has() -> Result<()> {
    let page = fs::read_to_string(repository().join("docs/metrics.md"))?;
    // Names stand there with what becomes labels, `jwt_auth_allowed.provider.P`, several of them in a row.
    let known: BTreeSet<&str> = (page.lines())
        .filter_map(|line| line.strip_prefix("| ")?.split(" |").next())
        .flat_map(|names| names.split('`').skip(1).step_by(2))
        .filter_map(|name| name.split('.').next())
        .collect();
    let mut asked = BTreeSet::new();
    for file in [
        "rules/names.yml",
        "rules/alerts.yml",
        "grafana/dashboards/portcullis.json",
    ] {
        let text = fs::read_to_string(repository().join("observability").join(file))?;
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let ours = words.filter(|word| FILTERS.iter().any(|filter| word.starts_with(filter)));
        asked.extend(ours.map(str::to_owned));
    }
    for filter in FILTERS {
        let asked = asked.iter().any(|name| name.starts_with(filter));
        assert!(asked, "nothing asks for any metric of {filter}");
    }
    for name in asked {
        assert!(known.contains(name.as_str()), "{name} is not a metric");
    }
    Ok(())
}

#[test]
fn every_alert_has_a_unit_test_in_which_it_fires_and_one_in_which_it_does_not() -> Result<()> {
    let tests = yaml("observability/tests/alerts.yml")?;
    let cases: Vec<&Value> = (tests["tests"].as_array().into_iter().flatten())
        .flat_map(|test| test["alert_rule_test"].as_array().into_iter().flatten())
        .collect();
    for name in names(&rules("observability/rules/alerts.yml")?, "alert") {
        let mine = cases
            .iter()
            .filter(|case| case["alertname"] == name.as_str());
        let fires: BTreeSet<bool> = mine
            .filter_map(|case| Some(!case["exp_alerts"].as_array()?.is_empty()))
            .collect();
        assert_eq!(fires, BTreeSet::from([false, true]), "{name}");
    }
    Ok(())
}

#[test]
fn every_alert_says_how_bad_it_is_and_where_it_says_what_to_do() -> Result<()> {
    let page = fs::read_to_string(repository().join("docs/observability.md"))?;
    let on_call = fs::read_to_string(repository().join("docs/on-call.md"))?;
    let sections: BTreeSet<String> = (page.lines())
        .filter_map(|line| Some(line.strip_prefix("### ")?.trim().to_lowercase()))
        .collect();
    for alert in rules("observability/rules/alerts.yml")? {
        let severity = alert["labels"]["severity"].as_str();
        assert!(
            matches!(severity, Some("warning" | "critical")),
            "{alert:#}"
        );
        assert!(alert["for"].is_string(), "{alert:#}");
        let annotations = &alert["annotations"];
        assert!(annotations["summary"].is_string(), "{alert:#}");
        assert!(annotations["description"].is_string(), "{alert:#}");
        let section = annotations["runbook"].as_str();
        let section = section.and_then(|link| link.strip_prefix("docs/observability.md#"));
        assert!(section.is_some_and(|s| sections.contains(s)), "{alert:#}");
        let link = format!("](observability.md#{})", section.unwrap_or_default());
        assert!(on_call.contains(&link), "docs/on-call.md: {alert:#}");
    }
    Ok(())
}

#[test]
fn what_is_scraped_is_a_service_of_the_stack() -> Result<()> {
    let services = yaml("envoy/compose.yaml")?["services"].take();
    for job in yaml("observability/prometheus.yml")?["scrape_configs"]
        .as_array()
        .context("nothing is scraped")?
    {
        for target in job["static_configs"][0]["targets"]
            .as_array()
            .context("no targets")?
        {
            let host = target.as_str().and_then(|target| target.split(':').next());
            let host = host.context("not a target")?;
            assert!(services[host].is_object(), "{host} is no service");
        }
    }
    Ok(())
}

#[test]
fn grafana_looks_for_prometheus_where_the_stack_has_it() -> Result<()> {
    let source = yaml("observability/grafana/provisioning/datasources/prometheus.yml")?;
    assert_eq!(source["datasources"][0]["url"], "http://prometheus:9090");
    let stack = yaml("envoy/compose.yaml")?;
    assert!(stack["services"]["prometheus"].is_object());
    let provider = yaml("observability/grafana/provisioning/dashboards/portcullis.yml")?;
    let path = provider["providers"][0]["options"]["path"].as_str();
    let mounts = stack["services"]["grafana"]["volumes"].to_string();
    let path = path.context("no path")?;
    assert!(
        mounts.contains(&format!("/grafana/dashboards:{path}:ro")),
        "{mounts}"
    );
    Ok(())
}
