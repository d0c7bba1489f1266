//! What is counted of leases.

use std::cell::Cell;

use portcullis_policy::{Counter, Gauge, MetricRegistry, Ports};

use crate::quota::Told;

/// Of the engine.
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

/// Of a limit.
#[derive(Debug)]
pub(crate) struct LeaseMetrics {
    granted: Counter,
    partial: Counter,
    empty: Counter,
    units: Counter,
    settled: Counter,
    returned: Counter,
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

impl LeaseMetrics {
    pub(crate) fn announce(limit: &str, metrics: &mut MetricRegistry) -> Self {
        let mut counter =
            |what: &str| metrics.counter(format!("rate_limit_lease_{what}.limit.{limit}"));
        Self {
            granted: counter("granted"),
            partial: counter("partial"),
            empty: counter("empty"),
            units: counter("units"),
            settled: counter("settled"),
            returned: counter("returned"),
        }
    }

    /// Counts what an engine has answered that was asked for so much.
    pub(crate) fn count(&self, told: &Told, wanted: u32, ports: &Ports<'_>) {
        ports.telemetry.count(match told.granted {
            0 => self.empty,
            granted if granted < wanted => self.partial,
            _ => self.granted,
        });
        for (counter, units) in [(self.units, told.granted), (self.settled, told.settled)] {
            if units > 0 {
                ports.telemetry.add(counter, units);
            }
        }
    }

    /// Counts what goes back.
    pub(crate) fn count_returned(&self, units: u32, ports: &Ports<'_>) {
        ports.telemetry.add(self.returned, units);
    }
}
