//! What is counted of the engine.

use std::cell::Cell;

use portcullis_policy::{Counter, Gauge, MetricRegistry, Ports};

/// How often it was asked, and how it is.
#[derive(Debug)]
pub(crate) struct EngineMetrics {
    pub(crate) calls: Counter,
    pub(crate) failed: Counter,
    /// Requests that were decided on without it.
    pub(crate) without: Counter,
    away: Gauge,
    /// What the gauge shows.
    shown: Cell<Option<bool>>,
}

impl EngineMetrics {
    pub(crate) fn announce(metrics: &mut MetricRegistry) -> Self {
        Self {
            calls: metrics.counter("rate_limit_engine_calls"),
            failed: metrics.counter("rate_limit_engine_failures"),
            without: metrics.counter("rate_limit_engine_without"),
            away: metrics.gauge("rate_limit_engine_away"),
            shown: Cell::new(None),
        }
    }

    /// Shows whether it is away.
    pub(crate) fn show(&self, is_away: bool, ports: &Ports<'_>) {
        if self.shown.replace(Some(is_away)) != Some(is_away) {
            ports.telemetry.set(self.away, is_away.into());
        }
    }
}
