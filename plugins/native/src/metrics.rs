//! Metrics: counted by each worker for itself, and handed to Envoy by the main thread, with their labels.
//!
//! A name such as `circuit_breaker_transitions.breaker.qdrant.to.open` is a metric and pairs of a label and its value, so that
//! Envoy gets `circuit_breaker_transitions` with the labels `breaker` and `to`. Envoy takes definitions only while a configuration
//! is read; what a route's own configuration adds later are new values of labels that are known.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portcullis_policy::MetricKind;

use crate::abi::ConfigPtr;

/// All metrics of a configuration, and of its routes.
#[derive(Default)]
pub(crate) struct Metrics {
    known: Mutex<Known>,
    shards: Mutex<Vec<Arc<Shard>>>,
    changed: AtomicBool,
}

#[derive(Default)]
struct Known {
    /// Envoy's ids, by kind and name with the labels' names.
    ids: BTreeMap<(bool, String), usize>,
    by_name: BTreeMap<String, Arc<Metric>>,
}

/// A metric under certain values of its labels.
pub(crate) struct Metric {
    kind: MetricKind,
    /// Envoy's name for it.
    id: usize,
    values: Vec<String>,
    /// Of a gauge: what it was set to, by whichever worker. Nothing is added to a counter so.
    set_to: AtomicU64,
    /// Whether Envoy was not told yet.
    is_set: AtomicBool,
}

/// What one worker has counted and Envoy was not told yet.
pub(crate) struct Shard {
    metrics: Vec<Arc<Metric>>,
    /// By metric.
    counts: Vec<AtomicU64>,
}

impl Metrics {
    /// The metric of that name; `None` where Envoy knows no such, and takes none. `envoy`: whom it can be defined with.
    pub(crate) fn metric(
        &self,
        kind: MetricKind,
        name: &str,
        envoy: Option<ConfigPtr>,
    ) -> Option<Arc<Metric>> {
        let mut known = lock(&self.known);
        if let Some(metric) = known.by_name.get(name) {
            return (metric.kind == kind).then(|| Arc::clone(metric));
        }
        let (base, pairs) = labelled(name);
        let labels: Vec<&str> = pairs.iter().map(|(label, _)| *label).collect();
        let key = (
            kind == MetricKind::Counter,
            format!("{base}.{}", labels.join(".")),
        );
        let id = match (known.ids.get(&key), kind) {
            (Some(id), _) => *id,
            (None, MetricKind::Counter) => envoy?.define_counter(base, &labels)?,
            (None, MetricKind::Gauge) => envoy?.define_gauge(base, &labels)?,
        };
        known.ids.insert(key, id);
        let metric = Arc::new(Metric {
            kind,
            id,
            values: pairs.iter().map(|(_, value)| (*value).to_owned()).collect(),
            set_to: AtomicU64::new(0),
            is_set: AtomicBool::new(false),
        });
        known.by_name.insert(name.to_owned(), Arc::clone(&metric));
        Some(metric)
    }

    /// Has all metrics shown, also those of which nothing was counted yet.
    pub(crate) fn show_all(&self) {
        for metric in lock(&self.known).by_name.values() {
            metric.is_set.store(true, Ordering::Release);
        }
        self.note_change();
    }

    /// Where one more worker counts.
    pub(crate) fn shard(&self, metrics: Vec<Arc<Metric>>) -> Arc<Shard> {
        let counts = metrics.iter().map(|_| AtomicU64::new(0)).collect();
        let shard = Arc::new(Shard { metrics, counts });
        lock(&self.shards).push(Arc::clone(&shard));
        shard
    }

    /// Adds to the counter at this place of a shard.
    pub(crate) fn add(&self, shard: &Shard, index: usize, by: u32) -> bool {
        let Some(count) = shard.counts.get(index) else {
            return false;
        };
        count.fetch_add(by.into(), Ordering::Relaxed);
        self.note_change();
        true
    }

    /// Sets a gauge.
    pub(crate) fn set(&self, gauge: &Metric, value: u64) {
        gauge.set_to.store(value, Ordering::Relaxed);
        gauge.is_set.store(true, Ordering::Release);
        self.note_change();
    }

    /// Whether there is something that Envoy was not told since this was last asked.
    pub(crate) fn have_changed(&self) -> bool {
        self.changed.load(Ordering::Relaxed) && self.changed.swap(false, Ordering::Acquire)
    }

    /// Hands all over to Envoy.
    pub(crate) fn hand_over(&self, to: ConfigPtr) {
        let mut shards = lock(&self.shards);
        shards.retain(|shard| {
            // Of a worker that is gone: nothing is added any more.
            let is_kept = Arc::strong_count(shard) > 1;
            for (count, metric) in shard.counts.iter().zip(&shard.metrics) {
                if count.load(Ordering::Relaxed) > 0 {
                    metric.hand_over(to, count.swap(0, Ordering::Relaxed));
                }
            }
            is_kept
        });
        drop(shards);
        for metric in lock(&self.known).by_name.values() {
            if metric.is_set.swap(false, Ordering::Acquire) {
                metric.hand_over(to, metric.set_to.load(Ordering::Relaxed));
            }
        }
    }

    fn note_change(&self) {
        // Written by whoever is first after a handing over: a line that all write would go back and forth among the cores.
        if !self.changed.load(Ordering::Relaxed) {
            self.changed.store(true, Ordering::Release);
        }
    }
}

impl Metric {
    /// Adds to it, or sets it.
    pub(crate) fn hand_over(&self, to: ConfigPtr, value: u64) -> bool {
        let values: Vec<&str> = self.values.iter().map(String::as_str).collect();
        match self.kind {
            MetricKind::Counter => to.add(self.id, &values, value),
            MetricKind::Gauge => to.set(self.id, &values, value),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A metric's own name, and its labels with their values.
fn labelled(name: &str) -> (&str, Vec<(&str, &str)>) {
    let mut words = name.split('.');
    let base = words.next().unwrap_or_default();
    let mut pairs = Vec::new();
    while let (Some(label), Some(value)) = (words.next(), words.next()) {
        pairs.push((label, value));
    }
    (base, pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_stand_in_a_metrics_name_in_pairs_behind_it() {
        assert_eq!(
            labelled("rate_limit_conflicts"),
            ("rate_limit_conflicts", vec![])
        );
        assert_eq!(
            labelled("circuit_breaker_transitions.breaker.to.to.open"),
            (
                "circuit_breaker_transitions",
                vec![("breaker", "to"), ("to", "open")]
            )
        );
    }
}
