//! What is counted of each breaker.

use portcullis_policy::{Counter, Gauge, Histogram, MetricRegistry};

use crate::classify::Outcome;
use crate::transition::Phase;

/// Bounds of the times to an answer's first content, in milliseconds.
const FIRST_TOKEN_MS: [u64; 15] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 20_000, 30_000, 60_000, 90_000, 120_000,
    150_000, 180_000,
];

/// What a breaker has that not each one has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Has {
    /// Streams that stall are failures.
    pub(crate) stalls: bool,
    /// It goes by the time to the first content.
    pub(crate) first_token: bool,
    /// Requests go elsewhere while it is open.
    pub(crate) fallback: bool,
}

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
    /// How long answers took to say something, where that is looked for.
    pub(crate) first_token: Option<Histogram>,
    /// Where requests go elsewhere that would be refused.
    pub(crate) elsewhere: Option<Counter>,
    pub(crate) rejected: Counter,
    pub(crate) shadow_rejected: Counter,
    to_closed: Counter,
    to_half_open: Counter,
    to_open: Counter,
}

impl Metrics {
    pub(crate) fn new(name: &str, has: Has, registry: &mut MetricRegistry) -> Self {
        let state = registry.gauge(format!("circuit_breaker_state.breaker.{name}"));
        let first_token = has.first_token.then(|| {
            let labels = format!("breaker.{name}");
            registry.histogram("circuit_breaker_first_token_ms", &labels, &FIRST_TOKEN_MS)
        });
        let mut of =
            |what: &str| registry.counter(format!("circuit_breaker_{what}.breaker.{name}"));
        let (admitted, successes, failures) = (of("admitted"), of("successes"), of("failures"));
        let (ignored, slow, broken_off) = (of("ignored"), of("slow"), of("broken_off"));
        let (rejected, shadow_rejected) = (of("rejected"), of("shadow_rejected"));
        let stalled = has.stalls.then(|| of("stalled"));
        let elsewhere = has.fallback.then(|| of("elsewhere"));
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
            first_token,
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
