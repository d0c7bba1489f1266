//! What is counted of each breaker.

use portcullis_policy::{Counter, Gauge, MetricRegistry};

use crate::classify::Outcome;
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
    /// Where streams may stall.
    pub(crate) stalled: Option<Counter>,
    /// Where requests go elsewhere that would be refused.
    pub(crate) elsewhere: Option<Counter>,
    pub(crate) rejected: Counter,
    pub(crate) shadow_rejected: Counter,
    to_closed: Counter,
    to_half_open: Counter,
    to_open: Counter,
}

impl Metrics {
    pub(crate) fn new(
        name: &str,
        may_stall: bool,
        falls_back: bool,
        registry: &mut MetricRegistry,
    ) -> Self {
        let state = registry.gauge(format!("circuit_breaker_state.breaker.{name}"));
        let mut of =
            |what: &str| registry.counter(format!("circuit_breaker_{what}.breaker.{name}"));
        let (admitted, successes, failures) = (of("admitted"), of("successes"), of("failures"));
        let (ignored, slow, broken_off) = (of("ignored"), of("slow"), of("broken_off"));
        let (rejected, shadow_rejected) = (of("rejected"), of("shadow_rejected"));
        let stalled = may_stall.then(|| of("stalled"));
        let elsewhere = falls_back.then(|| of("elsewhere"));
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
            stalled,
            elsewhere,
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
