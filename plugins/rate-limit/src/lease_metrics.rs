//! What is counted of a limit's leases.

use portcullis_policy::{Counter, MetricRegistry, Ports};

use crate::quota::Told;

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
