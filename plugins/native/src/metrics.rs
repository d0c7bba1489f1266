//! Metrics: counted by each worker for itself, and handed to Envoy by the main thread, with their labels.
//!
//! A name such as `circuit_breaker_transitions.breaker.qdrant.to.open` is a metric and pairs of a label and its value, so that
//! Envoy gets `circuit_breaker_transitions` with the labels `breaker` and `to`. Envoy takes definitions only while a configuration
//! is read; what a route's own configuration adds later are new values of labels that are known.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_policy::MetricKind;

use crate::abi::ConfigPtr;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use crate::sync::{Mutex, lock};

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
    /// How often it was set, and how often when Envoy was told last.
    sets: AtomicU64,
    told: AtomicU64,
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
        if let Some(metric) = lock(&self.known).by_name.get(name) {
            return (metric.kind == kind).then(|| Arc::clone(metric));
        }
        let (base, pairs) = labelled(name);
        let labels: Vec<&str> = pairs.iter().map(|(label, _)| *label).collect();
        let key = (
            kind == MetricKind::Counter,
            format!("{base}.{}", labels.join(".")),
        );
        let id = lock(&self.known).ids.get(&key).copied();
        let id = match (id, kind) {
            (Some(id), _) => id,
            (None, MetricKind::Counter) => envoy?.define_counter(base, &labels)?,
            (None, MetricKind::Gauge) => envoy?.define_gauge(base, &labels)?,
        };
        let metric = Arc::new(Metric {
            kind,
            id,
            values: pairs.iter().map(|(_, value)| (*value).to_owned()).collect(),
            set_to: AtomicU64::new(0),
            sets: AtomicU64::new(0),
            told: AtomicU64::new(0),
        });
        let mut known = lock(&self.known);
        known.ids.insert(key, id);
        // Another thread may have been faster; what both have is Envoy's.
        let metric = known.by_name.entry(name.to_owned()).or_insert(metric);
        Some(Arc::clone(metric))
    }

    /// Has all metrics shown, also those of which nothing was counted yet.
    pub(crate) fn show_all(&self) {
        for metric in lock(&self.known).by_name.values() {
            metric.sets.fetch_add(1, Ordering::Release);
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
        gauge.sets.fetch_add(1, Ordering::Release);
        self.note_change();
    }

    /// Whether there is something that Envoy was not told since this was last asked.
    pub(crate) fn have_changed(&self) -> bool {
        self.changed.load(Ordering::Relaxed) && self.changed.swap(false, Ordering::Acquire)
    }

    /// What was counted and set since this was last asked, for Envoy to be told without a lock.
    pub(crate) fn take(&self) -> Vec<(Arc<Metric>, u64)> {
        let mut taken = Vec::new();
        lock(&self.shards).retain(|shard| {
            // Of a worker that is gone: nothing is added any more.
            let is_kept = Arc::strong_count(shard) > 1;
            if !is_kept {
                // What it counted last is there for whoever has seen it go.
                fence(Ordering::Acquire);
            }
            for (count, metric) in shard.counts.iter().zip(&shard.metrics) {
                if count.load(Ordering::Relaxed) > 0 {
                    taken.push((Arc::clone(metric), count.swap(0, Ordering::Relaxed)));
                }
            }
            is_kept
        });
        for metric in lock(&self.known).by_name.values() {
            let sets = metric.sets.load(Ordering::Acquire);
            if metric.told.swap(sets, Ordering::Relaxed) != sets {
                taken.push((Arc::clone(metric), metric.set_to.load(Ordering::Relaxed)));
            }
        }
        taken
    }

    /// Tells Envoy of it.
    pub(crate) fn hand_over(&self, envoy: ConfigPtr) {
        for (metric, value) in self.take() {
            metric.tell(envoy, value);
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
    /// Tells Envoy so much more of a counter, or what a gauge is.
    pub(crate) fn tell(&self, envoy: ConfigPtr, value: u64) {
        let values: Vec<&str> = self.values.iter().map(String::as_str).collect();
        // One that Envoy does not take is one that it has not defined.
        let _ = match self.kind {
            MetricKind::Counter => envoy.add(self.id, &values, value),
            MetricKind::Gauge => envoy.set(self.id, &values, value),
        };
    }
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
    use loom::thread;

    use super::*;

    fn counter() -> Arc<Metric> {
        Arc::new(Metric {
            kind: MetricKind::Counter,
            id: 0,
            values: Vec::new(),
            set_to: AtomicU64::new(0),
            sets: AtomicU64::new(0),
            told: AtomicU64::new(0),
        })
    }

    fn sum(metrics: &Metrics) -> u64 {
        metrics.take().iter().map(|(_, value)| value).sum()
    }

    #[test]
    fn whatever_a_worker_counts_is_handed_over_once() {
        loom::model(|| {
            let metrics = Arc::<Metrics>::default();
            let shard = metrics.shard(vec![counter()]);
            let worker = thread::spawn({
                let metrics = Arc::clone(&metrics);
                move || {
                    for by in [1, 10] {
                        assert!(metrics.add(&shard, 0, by));
                    }
                }
            });
            let mut told = 0;
            for _ in 0..2 {
                if metrics.have_changed() {
                    told += sum(&metrics);
                }
            }
            worker.join().unwrap();
            // As every tick does.
            told += sum(&metrics);
            assert_eq!(told, 11);
        });
    }

    #[test]
    fn the_last_value_of_a_gauge_is_told() {
        loom::model(|| {
            let metrics = Arc::<Metrics>::default();
            let gauge = counter();
            let mut known = lock(&metrics.known);
            known.by_name.insert("gauge".to_owned(), Arc::clone(&gauge));
            drop(known);
            let worker = thread::spawn({
                let metrics = Arc::clone(&metrics);
                move || {
                    metrics.set(&gauge, 1);
                    metrics.set(&gauge, 2);
                }
            });
            let before = metrics.take();
            worker.join().unwrap();
            let told = before.into_iter().chain(metrics.take()).last();
            assert_eq!(told.unwrap().1, 2);
        });
    }

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
