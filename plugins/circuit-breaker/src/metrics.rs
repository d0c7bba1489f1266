//! What is counted: of each breaker, and of the plugin's own failures.

use portcullis_policy::{Counter, Gauge, HostFailure, MetricRegistry, SlotError};

use crate::classify::Outcome;
use crate::fault::Fault;
use crate::transition::Phase;

/// Of one breaker. At every quiet moment as many requests are admitted as are successes, failures and
/// ignored together.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) state: Gauge,
    pub(crate) admitted: Counter,
    successes: Counter,
    failures: Counter,
    ignored: Counter,
    pub(crate) slow: Counter,
    pub(crate) broken_off: Counter,
    pub(crate) rejected: Counter,
    pub(crate) shadow_rejected: Counter,
    to_closed: Counter,
    to_half_open: Counter,
    to_open: Counter,
}

/// `circuit_breaker_errors.reason.R`
#[derive(Debug)]
pub(crate) struct Errors {
    store_unavailable: Counter,
    store_contended: Counter,
    store_foreign: Counter,
    clock_unavailable: Counter,
    headers_unreadable: Counter,
    headers_cut: Counter,
    edit_failed: Counter,
}

impl Metrics {
    pub(crate) fn new(name: &str, registry: &mut MetricRegistry) -> Self {
        let state = registry.gauge(format!("circuit_breaker_state.breaker.{name}"));
        let mut of =
            |what: &str| registry.counter(format!("circuit_breaker_{what}.breaker.{name}"));
        let (admitted, successes, failures) = (of("admitted"), of("successes"), of("failures"));
        let (ignored, slow, broken_off) = (of("ignored"), of("slow"), of("broken_off"));
        let (rejected, shadow_rejected) = (of("rejected"), of("shadow_rejected"));
        let mut to = |phase: Phase| {
            registry.counter(format!(
                "circuit_breaker_transitions.breaker.{name}.to.{}",
                phase.as_str()
            ))
        };
        Self {
            state,
            admitted,
            successes,
            failures,
            ignored,
            slow,
            broken_off,
            rejected,
            shadow_rejected,
            to_closed: to(Phase::Closed),
            to_half_open: to(Phase::HalfOpen),
            to_open: to(Phase::Open),
        }
    }

    pub(crate) const fn settled(&self, outcome: Outcome) -> Counter {
        match outcome {
            Outcome::Success => self.successes,
            Outcome::Failure(_) => self.failures,
            Outcome::Ignored => self.ignored,
        }
    }

    pub(crate) const fn to(&self, phase: Phase) -> Counter {
        match phase {
            Phase::Closed => self.to_closed,
            Phase::HalfOpen => self.to_half_open,
            Phase::Open => self.to_open,
        }
    }
}

impl Errors {
    pub(crate) fn new(registry: &mut MetricRegistry) -> Self {
        let mut of =
            |reason: &str| registry.counter(format!("circuit_breaker_errors.reason.{reason}"));
        Self {
            store_unavailable: of(SlotError::Unavailable.reason()),
            store_contended: of(SlotError::Contended.reason()),
            store_foreign: of(SlotError::Foreign.reason()),
            clock_unavailable: of(Fault::Clock.reason()),
            headers_unreadable: of(HostFailure::Headers.reason()),
            headers_cut: of(HostFailure::HeadersCut.reason()),
            edit_failed: of(HostFailure::Edit.reason()),
        }
    }

    pub(crate) const fn of(&self, fault: Fault) -> Counter {
        match fault {
            Fault::Slot(SlotError::Unavailable) => self.store_unavailable,
            Fault::Slot(SlotError::Contended) => self.store_contended,
            Fault::Slot(SlotError::Foreign) => self.store_foreign,
            Fault::Clock => self.clock_unavailable,
        }
    }

    pub(crate) const fn of_host(&self, failure: HostFailure) -> Counter {
        match failure {
            HostFailure::Headers => self.headers_unreadable,
            HostFailure::HeadersCut => self.headers_cut,
            HostFailure::Edit => self.edit_failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use portcullis_policy::Telemetry as _;
    use portcullis_sim::RecordingTelemetry;

    use super::*;

    #[test]
    fn each_failure_is_counted_under_its_own_word() {
        let faults = [
            Fault::Slot(SlotError::Unavailable),
            Fault::Slot(SlotError::Contended),
            Fault::Slot(SlotError::Foreign),
            Fault::Clock,
        ];
        let failures = [
            HostFailure::Headers,
            HostFailure::HeadersCut,
            HostFailure::Edit,
        ];
        let mut registry = MetricRegistry::default();
        let errors = Errors::new(&mut registry);
        let faults = faults.map(|fault| (errors.of(fault), fault.reason()));
        let failures = failures.map(|failure| (errors.of_host(failure), failure.reason()));
        for (counter, reason) in faults.into_iter().chain(failures) {
            let telemetry = RecordingTelemetry::new(&registry);
            telemetry.count(counter);
            let name = format!("circuit_breaker_errors.reason.{reason}");
            assert_eq!(telemetry.metric(&name), 1, "{reason}");
        }
    }
}
