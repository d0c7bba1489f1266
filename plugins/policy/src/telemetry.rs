//! Counters, gauges and log lines.

use std::fmt::{self, Write as _};

use crate::Request;

/// Where a policy's figures and log lines go.
pub trait Telemetry {
    /// Adds one to a counter.
    fn count(&self, counter: Counter) {
        self.add(counter, 1);
    }
    /// Adds so much to a counter.
    fn add(&self, counter: Counter, by: u32);
    /// Sets a gauge.
    fn set(&self, gauge: Gauge, value: u64);
    /// Writes a line, at `info`.
    fn log(&self, line: LogLine);
}

/// A counter, by its index in the [`MetricRegistry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter(usize);

/// A gauge, by its index in the [`MetricRegistry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gauge(usize);

impl Counter {
    /// Its index.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0
    }
}

impl Gauge {
    /// Its index.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0
    }
}

/// How long something took, as Prometheus counts it: for each bound a counter of what was no longer. Counters, since every gateway
/// has these, and adds up those of all workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    buckets: Vec<(u64, Counter)>,
    all: Counter,
    sum: Counter,
}

impl Histogram {
    /// Counts something that took so many milliseconds.
    pub fn record(&self, millis: u64, telemetry: &dyn Telemetry) {
        for (bound, counter) in &self.buckets {
            if millis <= *bound {
                telemetry.count(*counter);
            }
        }
        telemetry.count(self.all);
        telemetry.add(self.sum, u32::try_from(millis).unwrap_or(u32::MAX));
    }
}

/// Counter or gauge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// Has a value.
    Gauge,
}

/// The metrics that a policy has announced. Names consist of configuration and fixed words, never
/// of anything that a client sends.
#[derive(Debug, Default)]
pub struct MetricRegistry(Vec<(MetricKind, String)>);

impl MetricRegistry {
    /// Announces a counter; the same name gives the same counter.
    pub fn counter(&mut self, name: impl Into<String>) -> Counter {
        Counter(self.index(MetricKind::Counter, name.into()))
    }

    /// Announces a gauge; the same name gives the same gauge.
    pub fn gauge(&mut self, name: impl Into<String>) -> Gauge {
        Gauge(self.index(MetricKind::Gauge, name.into()))
    }

    /// Announces the counters `NAME_bucket.LABELS.le.BOUND`, of which the last one's bound is `+Inf`, and the sum,
    /// `NAME_sum.LABELS`. `bounds`: in milliseconds, rising.
    pub fn histogram(&mut self, name: &str, labels: &str, bounds: &[u64]) -> Histogram {
        let mut bucket =
            |bound: &dyn fmt::Display| self.counter(format!("{name}_bucket.{labels}.le.{bound}"));
        Histogram {
            buckets: bounds.iter().map(|bound| (*bound, bucket(bound))).collect(),
            all: bucket(&"+Inf"),
            sum: self.counter(format!("{name}_sum.{labels}")),
        }
    }

    /// All metrics, each by its index.
    #[must_use]
    pub fn metrics(&self) -> &[(MetricKind, String)] {
        &self.0
    }

    fn index(&mut self, kind: MetricKind, name: String) -> usize {
        match self
            .0
            .iter()
            .position(|known| known.0 == kind && known.1 == name)
        {
            Some(index) => index,
            None => {
                self.0.push((kind, name));
                self.0.len().saturating_sub(1)
            }
        }
    }
}

/// One line of `key=value` pairs. Whatever is not plain is quoted and escaped, and cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine(String);

impl LogLine {
    /// Longest value that is written in full, in bytes.
    const LONGEST: usize = 256;

    /// A line about `event`, such as `refused`, of a plugin.
    #[must_use]
    pub fn new(plugin: &str, event: &str) -> Self {
        Self(format!("plugin={plugin} event={event}"))
    }

    /// Adds a pair. `key` is a fixed word; `value` may be anything at all.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl AsRef<[u8]>) -> Self {
        self.0.push(' ');
        self.0.push_str(key);
        self.0.push('=');
        self.push_value(value.as_ref());
        self
    }

    /// Adds the request's correlation id, where it has one that can be repeated.
    #[must_use]
    pub fn with_id_of(self, request: &Request<'_>) -> Self {
        match request.id() {
            Some(id) => self.with("request_id", id),
            None => self,
        }
    }

    /// The line.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn push_value(&mut self, value: &[u8]) {
        let shown = value.get(..Self::LONGEST).unwrap_or(value);
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/%+@,".contains(byte);
        if !shown.is_empty() && shown.len() == value.len() && shown.iter().all(plain) {
            // Plain bytes are ASCII.
            self.0
                .push_str(std::str::from_utf8(shown).unwrap_or_default());
            return;
        }
        self.0.push('"');
        for byte in shown {
            match byte {
                b'"' | b'\\' => {
                    self.0.push('\\');
                    self.0.push(char::from(*byte));
                }
                b' '..=b'~' => self.0.push(char::from(*byte)),
                _ => {
                    // Writing into a String does not fail.
                    let _ = write!(self.0, "\\x{byte:02x}");
                }
            }
        }
        self.0.push_str(if shown.len() < value.len() {
            "…\""
        } else {
            "\""
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_ports::Recorded;

    #[test]
    fn a_client_can_not_forge_a_second_line_or_field() {
        let line = LogLine::new("jwt_auth", "refused")
            .with("path", "/plain/path")
            .with("kid", "x\" reason=none\nplugin=forged \u{1b}[31m");
        assert_eq!(
            line.as_str(),
            "plugin=jwt_auth event=refused path=/plain/path \
             kid=\"x\\\" reason=none\\x0aplugin=forged \\x1b[31m\""
        );
    }

    #[test]
    fn a_long_value_is_cut() {
        let line = LogLine::new("p", "e").with("path", "a".repeat(5000));
        assert!(line.as_str().len() < 300 && line.as_str().ends_with("…\""));
    }

    #[test]
    fn what_took_long_is_in_the_buckets_that_are_long_enough() {
        let mut registry = MetricRegistry::default();
        let times = registry.histogram("wait_ms", "of.x", &[10, 100]);
        let recorded = Recorded::default();
        for millis in [10, 11, 4_000] {
            times.record(millis, &recorded);
        }
        let counted = registry.metrics().iter().enumerate();
        let counted: Vec<_> = counted
            .map(|(index, (_, name))| {
                let times = recorded.counted.borrow();
                let times = times.iter().filter(|counted| **counted == index).count();
                (name.as_str(), times)
            })
            .collect();
        assert_eq!(
            counted,
            [
                ("wait_ms_bucket.of.x.le.10", 1),
                ("wait_ms_bucket.of.x.le.100", 2),
                ("wait_ms_bucket.of.x.le.+Inf", 3),
                ("wait_ms_sum.of.x", 4_021),
            ]
        );
    }

    #[test]
    fn one_name_is_one_metric() {
        let mut registry = MetricRegistry::default();
        assert_eq!(registry.counter("a"), registry.counter("a"));
        assert_ne!(registry.counter("a").index(), registry.gauge("a").index());
    }
}
