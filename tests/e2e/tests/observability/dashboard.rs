//! `observability/grafana/dashboards/portcullis.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context as _, Result, ensure};
use portcullis_e2e::repository;
use serde_json::Value;

/// A query of a panel, as Grafana would send it with all gateways chosen.
pub(crate) struct Query {
    pub(crate) panel: String,
    pub(crate) expression: String,
}

impl Query {
    /// Whether it asks how long queries take.
    pub(crate) fn is_of_durations(&self) -> bool {
        self.expression.contains("rag_query_duration_seconds")
    }

    /// Whether it asks how long models take to their first token.
    pub(crate) fn is_of_first_tokens(&self) -> bool {
        self.expression.contains("first_token_ms")
    }
}

/// The dashboard.
pub(crate) fn dashboard() -> Result<Value> {
    let path = repository().join("observability/grafana/dashboards/portcullis.json");
    Ok(serde_json::from_str(&fs::read_to_string(path)?)?)
}

/// All queries of all panels.
pub(crate) fn queries() -> Result<Vec<Query>> {
    let dashboard = dashboard()?;
    let mut queries = Vec::new();
    for panel in panels(&dashboard)? {
        let title = panel["title"].as_str().context("no title")?;
        let targets = panel["targets"].as_array().context("no queries")?;
        ensure!(!targets.is_empty(), "{title} shows nothing");
        for target in targets {
            let written = target["expr"].as_str().context("no expression")?;
            let expression = written
                .replace("$gateway", ".*")
                .replace("$__rate_interval", "1m");
            ensure!(
                !expression.contains('$'),
                "a variable is not known: {expression}"
            );
            queries.push(Query {
                panel: title.to_owned(),
                expression,
            });
        }
    }
    Ok(queries)
}

fn panels(dashboard: &Value) -> Result<&Vec<Value>> {
    dashboard["panels"].as_array().context("no panels")
}

#[test]
fn it_has_its_panels_with_units_and_thresholds() -> Result<()> {
    let dashboard = dashboard()?;
    let mut kinds = BTreeMap::new();
    for panel in panels(&dashboard)? {
        kinds.insert(
            panel["title"].as_str().unwrap_or_default(),
            panel["type"].as_str().unwrap_or_default(),
        );
        let defaults = &panel["fieldConfig"]["defaults"];
        assert!(defaults["unit"].is_string(), "{panel:#}");
        let steps = defaults["thresholds"]["steps"].as_array();
        // Grafana takes the first for everything below the second.
        assert!(
            steps.is_some_and(|steps| !steps.is_empty() && steps[0]["value"].is_null()),
            "{panel:#}"
        );
        assert!(panel["description"].is_string(), "{panel:#}");
    }
    let expected = BTreeMap::from([
        ("Circuit breakers", "gauge"),
        ("Error rate", "stat"),
        ("First token P95", "timeseries"),
        ("Gateway request rate", "timeseries"),
        ("Limits", "timeseries"),
        ("Qdrant cluster", "table"),
        ("Query latency P95", "timeseries"),
        ("Refused tokens", "timeseries"),
        ("Requests to upstreams and models", "timeseries"),
        ("Sent elsewhere", "timeseries"),
        ("Slots", "timeseries"),
        ("Streams that stall", "timeseries"),
        ("Token budgets", "timeseries"),
        ("Tokens", "timeseries"),
        ("Tokens by model", "timeseries"),
        ("Upstreams and models", "timeseries"),
    ]);
    assert_eq!(kinds, expected);
    Ok(())
}

#[test]
fn it_can_be_imported_beside_any_data_source() -> Result<()> {
    let dashboard = dashboard()?;
    // Grafana gives an imported dashboard an id of its own; one that is there would overwrite another's.
    assert!(dashboard["id"].is_null());
    assert!(dashboard["uid"].is_string() && dashboard["schemaVersion"].as_u64() >= Some(36));
    let variables = dashboard["templating"]["list"].as_array();
    let names: BTreeSet<&str> = (variables.into_iter().flatten())
        .filter_map(|variable| variable["name"].as_str())
        .collect();
    assert_eq!(names, BTreeSet::from(["datasource", "gateway"]));
    let mut ids = BTreeSet::new();
    for panel in panels(&dashboard)? {
        assert!(ids.insert(panel["id"].as_u64()), "an id is there twice");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{panel:#}");
        let mut references = BTreeSet::new();
        for target in panel["targets"].as_array().into_iter().flatten() {
            assert!(references.insert(target["refId"].as_str()), "{target:#}");
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{target:#}");
        }
    }
    Ok(())
}

#[test]
fn no_panel_covers_another() -> Result<()> {
    let dashboard = dashboard()?;
    let mut taken = BTreeSet::new();
    for panel in panels(&dashboard)? {
        let side = |name: &str| panel["gridPos"][name].as_u64().context("no place");
        for x in side("x")?..side("x")? + side("w")? {
            ensure!(x < 24, "{} is wider than the page", panel["title"]);
            for y in side("y")?..side("y")? + side("h")? {
                ensure!(taken.insert((x, y)), "{} covers another", panel["title"]);
            }
        }
    }
    Ok(())
}
