//! Counters, gauges and histograms of the process.

use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

#[derive(Debug)]
struct Metric {
    kind: Kind,
    name: String,
    value: i64,
    samples: Vec<u64>,
}

/// Defined once by kind and name: all workers of the process share the value.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    all: Vec<Metric>,
}

/// Why an operation on a metric was refused, as an ABI status.
pub(crate) const NOT_FOUND: u32 = 1;
pub(crate) const BAD_ARGUMENT: u32 = 2;

impl Metrics {
    /// The id of the metric of that kind and name; ids start at 1.
    pub(crate) fn define(&mut self, kind: u32, name: &str) -> Result<u32, u32> {
        let kind = match kind {
            0 => Kind::Counter,
            1 => Kind::Gauge,
            2 => Kind::Histogram,
            _ => return Err(BAD_ARGUMENT),
        };
        let known = self
            .all
            .iter()
            .position(|metric| metric.kind == kind && metric.name == name);
        let index = known.unwrap_or_else(|| {
            self.all.push(Metric {
                kind,
                name: name.to_owned(),
                value: 0,
                samples: Vec::new(),
            });
            self.all.len() - 1
        });
        u32::try_from(index + 1).map_err(|_| BAD_ARGUMENT)
    }

    pub(crate) fn increment(&mut self, id: u32, offset: i64) -> Result<(), u32> {
        let metric = self.find(id)?;
        match metric.kind {
            // Counters only go up: zero is refused too.
            Kind::Counter if offset <= 0 => Err(BAD_ARGUMENT),
            Kind::Counter | Kind::Gauge => {
                metric.value = metric.value.saturating_add(offset);
                Ok(())
            }
            Kind::Histogram => Err(BAD_ARGUMENT),
        }
    }

    /// Adds to a counter, sets a gauge, notes a sample in a histogram.
    pub(crate) fn record(&mut self, id: u32, value: u64) -> Result<(), u32> {
        let metric = self.find(id)?;
        let signed = i64::try_from(value).unwrap_or(i64::MAX);
        match metric.kind {
            Kind::Counter => metric.value = metric.value.saturating_add(signed),
            Kind::Gauge => metric.value = signed,
            Kind::Histogram => metric.samples.push(value),
        }
        Ok(())
    }

    pub(crate) fn get(&mut self, id: u32) -> Result<u64, u32> {
        let metric = self.find(id)?;
        match metric.kind {
            Kind::Counter | Kind::Gauge => Ok(metric.value as u64),
            Kind::Histogram => Err(BAD_ARGUMENT),
        }
    }

    pub(crate) fn value(&self, name: &str) -> Option<i64> {
        self.values()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    }

    pub(crate) fn table(&self) -> BTreeMap<String, i64> {
        self.values()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    pub(crate) fn samples(&self, name: &str) -> &[u64] {
        self.all
            .iter()
            .find(|metric| metric.kind == Kind::Histogram && metric.name == name)
            .map_or(&[], |metric| metric.samples.as_slice())
    }

    fn values(&self) -> impl Iterator<Item = (&str, i64)> {
        self.all
            .iter()
            .filter(|metric| metric.kind != Kind::Histogram)
            .map(|metric| (metric.name.as_str(), metric.value))
    }

    fn find(&mut self, id: u32) -> Result<&mut Metric, u32> {
        (id as usize)
            .checked_sub(1)
            .and_then(|index| self.all.get_mut(index))
            .ok_or(NOT_FOUND)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_defined_once_by_kind_and_name() {
        let mut metrics = Metrics::default();
        let first = metrics.define(0, "hits").unwrap();
        assert_eq!(metrics.define(0, "hits").unwrap(), first);
        assert_ne!(metrics.define(1, "level").unwrap(), first);
        assert_eq!(metrics.define(3, "odd"), Err(BAD_ARGUMENT));
    }

    #[test]
    fn a_counter_refuses_to_go_down_and_a_gauge_does_not() {
        let mut metrics = Metrics::default();
        let counter = metrics.define(0, "hits").unwrap();
        let gauge = metrics.define(1, "level").unwrap();
        assert_eq!(metrics.increment(counter, -1), Err(BAD_ARGUMENT));
        assert_eq!(metrics.increment(counter, 0), Err(BAD_ARGUMENT));
        metrics.increment(counter, 2).unwrap();
        metrics.increment(gauge, -3).unwrap();
        assert_eq!(metrics.value("hits"), Some(2));
        assert_eq!(metrics.value("level"), Some(-3));
        assert_eq!(metrics.increment(99, 1), Err(NOT_FOUND));
    }

    #[test]
    fn a_histogram_keeps_samples_and_has_no_value() {
        let mut metrics = Metrics::default();
        let id = metrics.define(2, "latency").unwrap();
        metrics.record(id, 7).unwrap();
        assert_eq!(metrics.samples("latency"), [7]);
        assert_eq!(metrics.value("latency"), None);
        assert_eq!(metrics.get(id), Err(BAD_ARGUMENT));
    }
}
