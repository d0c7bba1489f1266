//! Envoy's administration.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::paths::natively;
use crate::wait::until;

/// The administration of one Envoy.
#[derive(Clone, Debug)]
pub struct Admin {
    address: SocketAddr,
    client: reqwest::Client,
}

/// One line of `/stats/prometheus`.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The metric's name.
    pub name: String,
    /// Its labels, in the order in which they are shown.
    pub labels: Vec<(String, String)>,
    /// Its value.
    pub value: f64,
}

impl Admin {
    pub(crate) fn at(address: SocketAddr) -> Result<Self> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(10))
            .build()?;
        Ok(Self { address, client })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it answers to a GET.
    ///
    /// # Errors
    /// It does not answer, or not with 200.
    pub async fn get(&self, path: &str) -> Result<String> {
        let response = self
            .client
            .get(format!("http://{}{path}", self.address))
            .send()
            .await?;
        Ok(response.error_for_status()?.text().await?)
    }

    pub(crate) async fn is_ready(&self) -> bool {
        self.get("/ready").await.is_ok()
    }

    /// The address of the first listener.
    pub(crate) async fn listener(&self) -> Result<SocketAddr> {
        let listeners: Value = serde_json::from_str(&self.get("/listeners?format=json").await?)?;
        let address = &listeners["listener_statuses"][0]["local_address"]["socket_address"];
        let (ip, port) = (address["address"].as_str(), address["port_value"].as_u64());
        let (ip, port) = ip
            .zip(port)
            .with_context(|| format!("no listener: {listeners}"))?;
        Ok(SocketAddr::new(ip.parse()?, u16::try_from(port)?))
    }

    /// The samples of all metrics whose names start with `prefix`.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn metrics(&self, prefix: &str) -> Result<Vec<Sample>> {
        let text = self.get("/stats/prometheus").await?;
        let lines = text.lines().filter(|line| line.starts_with(prefix));
        Ok(lines.filter_map(Sample::parse).collect())
    }

    /// A metric's value, by its name and all of its labels as they are shown:
    /// `circuit_breaker_state{breaker="rag_service"}`.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn metric(&self, metric: &str) -> Result<Option<u64>> {
        let text = self.get("/stats/prometheus").await?;
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
        Ok(value.and_then(|value| value.parse().ok()))
    }

    /// Waits until a metric has this value. Counters of requests that pass are handed over once a
    /// second.
    ///
    /// # Errors
    /// It does not have it in time.
    pub async fn wait_for_metric(&self, metric: &str, value: u64) -> Result<()> {
        let last = std::cell::Cell::new(None);
        let what = format!("{metric} to be {value}");
        let reached = until(&what, async || {
            last.set(self.metric(metric).await?);
            Ok(last.get() == Some(value))
        });
        reached
            .await
            .with_context(|| format!("it is {:?}", last.get()))
    }
}

impl Admin {
    /// A statistic's value, by its whole name: `cluster.rag.upstream_rq_total`.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn stat(&self, name: &str) -> Result<Option<u64>> {
        // One and the same metric has the name of what the filter runs as.
        let native = name.strip_prefix("wasmcustom.").filter(|_| natively());
        let native = native.map(|metric| format!("dynamicmodulescustom.{metric}"));
        let name = native.as_deref().unwrap_or(name);
        let text = self.get(&format!("/stats?filter=^{name}$")).await?;
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        Ok(value.and_then(|value| value.parse().ok()))
    }

    /// How many connections each worker has accepted.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn connections_by_worker(&self) -> Result<Vec<u64>> {
        let path = "/stats?filter=^listener.*worker_[0-9]*.downstream_cx_total$";
        let text = self.get(path).await?;
        let values = text.lines().filter_map(|line| line.rsplit_once(": "));
        let values = values.map(|(_, value)| value.parse());
        Ok(values.collect::<Result<_, _>>()?)
    }
}

impl Sample {
    fn parse(line: &str) -> Option<Self> {
        let (series, value) = line.rsplit_once(' ')?;
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}')?),
            None => (series, ""),
        };
        // Values come from configuration, where they have neither commas nor quotes.
        let labels = labels
            .split(',')
            .filter(|label| !label.is_empty())
            .map(|label| {
                let (name, value) = label.split_once('=')?;
                Some((name.to_owned(), value.trim_matches('"').to_owned()))
            });
        Some(Self {
            name: name.to_owned(),
            labels: labels.collect::<Option<_>>()?,
            value: value.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_name_labels_and_value() {
        let sample = Sample::parse(r#"a_b{breaker="x",to="open"} 3"#).unwrap();
        assert_eq!((sample.name.as_str(), sample.value), ("a_b", 3.0));
        assert_eq!(sample.labels[1], ("to".to_owned(), "open".to_owned()));
        assert_eq!(Sample::parse("a{} 1").unwrap().labels, []);
        assert_eq!(Sample::parse("# TYPE a counter"), None);
    }
}
