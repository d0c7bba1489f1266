//! What the limiter itself may fail at, each counted.

use portcullis_policy::{Counter, HostFailure, MetricRegistry, Ports, Problem, SlotError};

/// Why the limiter itself failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    Clock,
    Address,
    Slot(SlotError),
    Host(HostFailure),
}

impl Failure {
    const ALL: [Self; 8] = [
        Self::Clock,
        Self::Address,
        Self::Slot(SlotError::Unavailable),
        Self::Slot(SlotError::Contended),
        Self::Slot(SlotError::Foreign),
        Self::Host(HostFailure::Headers),
        Self::Host(HostFailure::HeadersCut),
        Self::Host(HostFailure::Edit),
    ];

    /// What a client is told, where nothing is let pass.
    pub(crate) const fn problem(self) -> Problem {
        match self {
            Self::Host(failure) => failure.problem(),
            Self::Clock | Self::Address | Self::Slot(_) => Problem::UNAVAILABLE,
        }
    }

    /// Whether `on_error` decides.
    pub(crate) const fn is_our_own(self) -> bool {
        match self {
            Self::Host(failure) => failure.is_the_gateways(),
            Self::Clock | Self::Address | Self::Slot(_) => true,
        }
    }

    /// A fixed word for logs and metrics.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::Clock => "clock_unavailable",
            Self::Address => "client_address_unknown",
            Self::Slot(error) => error.reason(),
            Self::Host(failure) => failure.reason(),
        }
    }
}

/// A counter for each failure.
pub(crate) struct Errors(Vec<(Failure, Counter)>);

impl Errors {
    pub(crate) fn announce(metrics: &mut MetricRegistry) -> Self {
        let announce = |failure: &Failure| {
            let name = format!("rate_limit_errors.reason.{}", failure.reason());
            (*failure, metrics.counter(name))
        };
        Self(Failure::ALL.iter().map(announce).collect())
    }

    pub(crate) fn count(&self, failure: Failure, ports: &Ports<'_>) {
        for (known, counter) in &self.0 {
            if *known == failure {
                ports.telemetry.count(*counter);
            }
        }
    }
}
