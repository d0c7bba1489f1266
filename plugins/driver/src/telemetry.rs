//! Metrics that are added up in the worker.
//!
//! Counters of requests that pass are handed over by the tick, so that they cost a request no host call; whatever is worth
//! a log line is handed over at once.

use std::cell::{Cell, RefCell};

use portcullis_policy::{Counter, Gauge, LogLine, MetricRegistry, Telemetry};

use crate::host::{Host, MetricId};

/// The metrics of one policy. A metric that the host did not define is not counted.
pub(crate) struct BatchedTelemetry<H: Host> {
    host: H,
    ids: Vec<Option<MetricId>>,
    pending: RefCell<Vec<u32>>,
    urgent: Cell<bool>,
}

impl<H: Host> BatchedTelemetry<H> {
    pub(crate) fn define(host: H, registry: &MetricRegistry) -> Self {
        let mut ids = Vec::with_capacity(registry.metrics().len());
        let mut undefined = Vec::new();
        for (kind, name) in registry.metrics() {
            let id = host.define_metric(*kind, name);
            if id.is_none() {
                undefined.push(name.as_ref());
            }
            ids.push(id);
        }
        if !undefined.is_empty() {
            log::warn!(
                "metrics that could not be defined, and are not counted: {}",
                undefined.join(", ")
            );
        }
        Self {
            host,
            pending: RefCell::new(vec![0; ids.len()]),
            ids,
            urgent: Cell::new(false),
        }
    }

    /// Hands counters over if a callback was about more than a request that passes.
    pub(crate) fn flush_if_urgent(&self) {
        if self.urgent.replace(false) {
            self.flush();
        }
    }

    /// Hands all counters over. What the host does not take now is tried again.
    pub(crate) fn flush(&self) {
        let Ok(mut pending) = self.pending.try_borrow_mut() else {
            return;
        };
        for (count, id) in pending.iter_mut().zip(&self.ids) {
            if let (1.., Some(id)) = (*count, id)
                && self.host.add(*id, *count).is_ok()
            {
                *count = 0;
            }
        }
    }
}

/// A filter that is configured anew, or goes, hands over what it has counted.
impl<H: Host> Drop for BatchedTelemetry<H> {
    fn drop(&mut self) {
        self.flush();
    }
}

impl<H: Host> Telemetry for BatchedTelemetry<H> {
    fn add(&self, counter: Counter, by: u32) {
        if !H::ADDS_COUNTERS_UP
            && let Some(Some(id)) = self.ids.get(counter.index())
            && self.host.add(*id, by).is_ok()
        {
            return;
        }
        if let Ok(mut pending) = self.pending.try_borrow_mut()
            && let Some(count) = pending.get_mut(counter.index())
        {
            *count = count.saturating_add(by);
        }
    }

    fn set(&self, gauge: Gauge, value: u64) {
        if let Some(Some(id)) = self.ids.get(gauge.index()) {
            // A gauge that the host did not take is right again with the next change.
            let _ = self.host.set(*id, value);
        }
    }

    fn log(&self, line: LogLine) {
        self.urgent.set(true);
        log::info!("{}", line.as_str());
    }
}
