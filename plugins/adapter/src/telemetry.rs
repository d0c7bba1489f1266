//! Metrics and log lines, on the host's calls.
//!
//! Counters of requests that pass are added up and handed over by the tick, so that they cost a
//! request no host call; whatever is worth a log line is handed over at once.

use std::cell::{Cell, RefCell};

use portcullis_policy::{Counter, Gauge, LogLine, MetricKind, MetricRegistry, Telemetry};

use crate::abi::{self, Level, MetricType};

/// The metrics of one policy. A metric that the host did not define is not counted.
pub(crate) struct HostTelemetry {
    ids: Vec<Option<u32>>,
    pending: RefCell<Vec<u32>>,
    urgent: Cell<bool>,
}

impl HostTelemetry {
    pub(crate) fn define(registry: &MetricRegistry) -> Self {
        let define = |(kind, name): &(MetricKind, String)| {
            let kind = match kind {
                MetricKind::Counter => MetricType::Counter,
                MetricKind::Gauge => MetricType::Gauge,
            };
            let id = abi::define_metric(kind, name);
            if id.is_err() {
                log::warn!("metric {name} could not be defined");
            }
            id.ok()
        };
        let ids: Vec<_> = registry.metrics().iter().map(define).collect();
        Self {
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
                && abi::increment_metric(*id, *count).is_ok()
            {
                *count = 0;
            }
        }
    }
}

/// A filter that is configured anew, or goes, hands over what it has counted.
impl Drop for HostTelemetry {
    fn drop(&mut self) {
        self.flush();
    }
}

impl Telemetry for HostTelemetry {
    fn count(&self, counter: Counter) {
        if let Ok(mut pending) = self.pending.try_borrow_mut()
            && let Some(count) = pending.get_mut(counter.index())
        {
            *count = count.saturating_add(1);
        }
    }

    fn set(&self, gauge: Gauge, value: u64) {
        if let Some(Some(id)) = self.ids.get(gauge.index()) {
            // A gauge that the host did not take is right again with the next change.
            let _ = abi::record_metric(*id, value);
        }
    }

    fn log(&self, line: LogLine) {
        self.urgent.set(true);
        log::info!("{}", line.as_str());
    }
}

struct HostLogger;

impl log::Log for HostLogger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let level = match record.level() {
            log::Level::Error => Level::Error,
            log::Level::Warn => Level::Warn,
            log::Level::Info | log::Level::Debug | log::Level::Trace => Level::Info,
        };
        match record.args().as_str() {
            Some(line) => abi::log(level, line),
            None => abi::log(level, &record.args().to_string()),
        }
    }

    fn flush(&self) {}
}

/// Sends the `log` crate's lines to the host.
pub(crate) fn install_logger() {
    static LOGGER: HostLogger = HostLogger;
    // Fails only where there is one already: this one.
    if log::set_logger(&LOGGER).is_ok() {
        log::set_max_level(log::LevelFilter::Info);
    }
}
