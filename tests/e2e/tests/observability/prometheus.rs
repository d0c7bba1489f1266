//! A Prometheus with the configuration of `observability/`.

use std::cell::Cell;
use std::fs;
use std::net::SocketAddr;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use portcullis_e2e::{PATIENCE, repository, until};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::files::yaml;
use crate::programs::program;

/// A Prometheus that scrapes until it is dropped.
pub(crate) struct Prometheus {
    address: SocketAddr,
    client: reqwest::Client,
    _process: Child,
    _files: TempDir,
}

impl Prometheus {
    /// Starts one that scrapes the jobs of a configuration at these addresses, each second, and for
    /// which alerts need not last; `None` where there is no Prometheus.
    pub(crate) async fn start(
        config: &str,
        targets: &[(&str, SocketAddr)],
    ) -> Result<Option<Self>> {
        let Some(program) = program("PROMETHEUS_BIN", "prometheus")? else {
            return Ok(None);
        };
        let files = tempfile::tempdir()?;
        let mut alerts = yaml("observability/rules/alerts.yml")?;
        for group in alerts["groups"].as_array_mut().context("no groups")? {
            for rule in group["rules"].as_array_mut().context("no rules")? {
                rule["for"] = json!("1s");
            }
        }
        let alerts_file = files.path().join("alerts.yml");
        fs::write(&alerts_file, alerts.to_string())?;
        let mut config = yaml(&format!("observability/{config}"))?;
        config["global"] = json!({ "scrape_interval": "1s", "evaluation_interval": "1s" });
        config["rule_files"] = json!([
            repository().join("observability/rules/names.yml"),
            alerts_file
        ]);
        for job in config["scrape_configs"].as_array_mut().context("no jobs")? {
            let target = targets.iter().find(|(name, _)| job["job_name"] == *name);
            let (_, address) = target.with_context(|| format!("nothing for {job}"))?;
            job["static_configs"][0]["targets"] = json!([address.to_string()]);
        }
        let config_file = files.path().join("prometheus.yml");
        fs::write(&config_file, config.to_string())?;

        let mut process = Command::new(program)
            .arg("--config.file")
            .arg(config_file)
            .arg("--storage.tsdb.path")
            .arg(files.path().join("data"))
            .args(["--web.listen-address", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = process.stderr.take().context("it has no output")?;
        let mut lines = BufReader::new(output).lines();
        let listening = async {
            let mut seen = Vec::new();
            while let Some(line) = lines.next_line().await? {
                let address = line.split_once(r#"msg="Listening on" address="#);
                if let Some((_, address)) = address {
                    let address = address.split(' ').next().unwrap_or_default();
                    return Ok(address.parse::<SocketAddr>()?);
                }
                seen.push(line);
            }
            anyhow::bail!("Prometheus ended:\n{}", seen.join("\n"))
        };
        let address = timeout(PATIENCE, listening)
            .await
            .context("Prometheus does not say where it listens")??;
        // Read on, or it would wait for room to write.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let client = reqwest::Client::builder().no_proxy().build()?;
        // It listens before it answers queries.
        let ready = format!("http://{address}/-/ready");
        until("Prometheus to be ready", async || {
            Ok(client.get(&ready).send().await?.status().is_success())
        })
        .await?;
        Ok(Some(Self {
            address,
            client,
            _process: process,
            _files: files,
        }))
    }

    /// The series that a query has now.
    pub(crate) async fn query(&self, expression: &str) -> Result<Vec<Value>> {
        let mut data = self.get("query", &[("query", expression)]).await?;
        let series = data["result"].as_array_mut().map(std::mem::take);
        series.with_context(|| format!("{expression} is no vector: {data}"))
    }

    /// The value of a query that has one series.
    pub(crate) async fn value(&self, expression: &str) -> Result<Option<f64>> {
        let series = self.query(expression).await?;
        ensure!(series.len() < 2, "{expression}: {series:?}");
        let value = series
            .first()
            .and_then(|series| series["value"][1].as_str());
        Ok(value.map(str::parse).transpose()?)
    }

    /// All rules, with what became of their last evaluation.
    pub(crate) async fn rules(&self) -> Result<Vec<Value>> {
        let data = self.get("rules", &[]).await?;
        let groups = data["groups"].as_array().context("no groups")?;
        let rules = groups.iter().filter_map(|group| group["rules"].as_array());
        Ok(rules.flatten().cloned().collect())
    }

    /// The names of the alerts that fire.
    pub(crate) async fn firing(&self) -> Result<Vec<String>> {
        let data = self.get("alerts", &[]).await?;
        let alerts = data["alerts"].as_array().context("no alerts")?;
        let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
        let names = firing.filter_map(|alert| alert["labels"]["alertname"].as_str());
        Ok(names.map(str::to_owned).collect())
    }

    async fn get(&self, what: &str, parameters: &[(&str, &str)]) -> Result<Value> {
        let url = format!("http://{}/api/v1/{what}", self.address);
        let url = reqwest::Url::parse_with_params(&url, parameters)?;
        let mut answer: Value = self.client.get(url).send().await?.json().await?;
        ensure!(
            answer["status"] == "success",
            "{what} {parameters:?}: {answer}"
        );
        Ok(answer["data"].take())
    }
}

/// Waits until a query has data.
pub(crate) async fn has_data(prometheus: &Prometheus, expression: &str) -> Result<()> {
    until(&format!("data of {expression}"), async || {
        Ok(is_data(&prometheus.query(expression).await?))
    })
    .await
}

/// Whether there is anything to show: one number at least. The P95 of no queries is a series, too, of NaN.
pub(crate) fn is_data(series: &[Value]) -> bool {
    let values = series
        .iter()
        .filter_map(|series| series["value"][1].as_str());
    let mut numbers = values.filter_map(|value| value.parse::<f64>().ok());
    numbers.any(f64::is_finite)
}

/// Waits until a query of one series has this value.
pub(crate) async fn wait_for_value(
    prometheus: &Prometheus,
    expression: &str,
    expected: f64,
) -> Result<()> {
    let last = Cell::new(None);
    let what = format!("{expression} to be {expected}");
    let reached = until(&what, async || {
        last.set(prometheus.value(expression).await?);
        Ok(last.get() == Some(expected))
    });
    reached
        .await
        .with_context(|| format!("it is {:?}", last.get()))
}

#[test]
fn what_is_no_number_is_no_data() {
    let series = |values: &[&str]| -> Vec<Value> {
        let series = values.iter().map(|value| json!({ "value": [0, value] }));
        series.collect()
    };
    assert!(is_data(&series(&["NaN", "0"])));
    for values in [&[][..], &["NaN"], &["+Inf", "-Inf"]] {
        assert!(!is_data(&series(values)), "{values:?}");
    }
}
