//! `docs/troubleshooting.md`: a row for every reason.

use std::collections::BTreeMap;
use std::path::Path;

use portcullis_edge::Edge;
use portcullis_policy::config::parse_text;
use portcullis_policy::{Abilities, Environment, MetricRegistry, Policy as _, Setup};

/// The words of log lines that no metric has.
const IN_LINES: [(&str, &[&str]); 3] = [
    (
        "rate_limit",
        &[
            "quota_exceeded",
            "key_missing",
            "key_ambiguous",
            "body_unreadable",
            "body_timed_out",
            "body_too_long",
            "cost_exceeds_quota",
        ],
    ),
    (
        "circuit_breaker",
        &[
            "open",
            "probes_out",
            "forced",
            "consecutive_failures",
            "failure_ratio",
            "slow_ratio",
            "probe_failed",
            "open_time_over",
            "probes_succeeded",
            "control",
            "time_over",
        ],
    ),
    (
        "service_token",
        &["forged", "duplicate_identity", "named_in_connection"],
    ),
];

struct Variables;
impl Environment for Variables {
    fn var(&self, _: &str) -> Option<String> {
        Some("a-secret-of-at-least-32-bytes-for-a-test".to_owned())
    }
}

/// Every reason of every plugin, from the metrics that the plugins announce.
fn reasons() -> BTreeMap<String, Vec<String>> {
    let config = r#"{
        "jwt_auth": {
            "providers": {"p": {"issuer": "i", "audiences": ["a"], "algorithms": ["HS256"], "keys": [{"secret": {"env": "S"}}]}},
            "rules": [{"allow": "anyone"}]
        },
        "rate_limit": {"limits": [{"name": "all", "key": ["constant"], "quota": 1, "window": "1s"}]},
        "circuit_breaker": {"breakers": [{"name": "b", "trip": {"consecutive_failures": 1}}]},
        "service_token": {"credential": {"kind": "static", "secrets": [{"id": "a", "env": "S"}]}}
    }"#;
    let mut metrics = MetricRegistry::default();
    let mut setup = Setup {
        environment: &Variables,
        metrics: &mut metrics,
        abilities: Abilities::NATIVE,
    };
    let config = parse_text(config.as_bytes()).expect("a configuration");
    Edge::from_config(config, &mut setup).expect("a policy");
    let mut reasons: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (_, name) in metrics.metrics() {
        if let Some((metric, reason)) = name.split_once(".reason.") {
            let plugin = metric
                .trim_end_matches("_denied")
                .trim_end_matches("_errors");
            reasons
                .entry(plugin.to_owned())
                .or_default()
                .push(reason.to_owned());
        }
    }
    for (plugin, words) in IN_LINES {
        let words = words.iter().map(|word| (*word).to_owned());
        reasons.entry(plugin.to_owned()).or_default().extend(words);
    }
    reasons
}

#[test]
fn every_reason_of_every_plugin_has_a_row() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/troubleshooting.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let reasons = reasons();
    let plugins: Vec<_> = reasons.keys().map(String::as_str).collect();
    assert_eq!(
        plugins,
        ["circuit_breaker", "jwt_auth", "rate_limit", "service_token"]
    );
    for (plugin, words) in &reasons {
        let heading = format!("\n### {plugin}\n");
        let (_, section) = page
            .split_once(&heading)
            .unwrap_or_else(|| panic!("no {heading}"));
        let section = section.split("\n#").next().unwrap_or_default();
        let rows: Vec<&str> = section
            .lines()
            .filter_map(|line| line.strip_prefix("| ")?.split(" | ").next())
            .collect();
        for word in words {
            let quoted = format!("`{word}`");
            let has_row = rows
                .iter()
                .any(|row| row.split(", ").any(|named| named == quoted));
            assert!(has_row, "{plugin}: no row for {quoted}");
        }
    }
}
