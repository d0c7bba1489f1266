//! Figures and log lines, kept.

use std::cell::RefCell;
use std::collections::BTreeMap;

use portcullis_policy::{Counter, Gauge, LogLine, MetricRegistry, Telemetry};

/// Keeps what a policy tells.
#[derive(Default)]
pub struct RecordingTelemetry {
    names: Vec<String>,
    values: RefCell<BTreeMap<String, u64>>,
    lines: RefCell<Vec<String>>,
}

impl RecordingTelemetry {
    /// For the metrics of a registry.
    pub fn new(registry: &MetricRegistry) -> Self {
        let names = registry
            .metrics()
            .iter()
            .map(|(_, name)| name.clone())
            .collect();
        Self {
            names,
            ..Self::default()
        }
    }

    /// A metric's value; 0 when it was never touched.
    pub fn metric(&self, name: &str) -> u64 {
        assert!(
            self.names.iter().any(|known| known == name),
            "no metric {name} in {:?}",
            self.names
        );
        self.values.borrow().get(name).copied().unwrap_or(0)
    }

    /// The log lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.borrow().clone()
    }

    fn name(&self, place: usize) -> String {
        self.names[place].clone()
    }
}

impl Telemetry for RecordingTelemetry {
    fn add(&self, counter: Counter, by: u32) {
        *self
            .values
            .borrow_mut()
            .entry(self.name(counter.index()))
            .or_default() += u64::from(by);
    }

    fn set(&self, gauge: Gauge, value: u64) {
        self.values
            .borrow_mut()
            .insert(self.name(gauge.index()), value);
    }

    fn log(&self, line: LogLine) {
        self.lines.borrow_mut().push(line.as_str().to_owned());
    }
}
