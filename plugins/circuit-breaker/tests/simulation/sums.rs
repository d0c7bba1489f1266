//! What workers have counted, all together.

use crate::books::reported;
use crate::gateway::Gateway;

pub(crate) const STATES: [&str; 3] = ["closed", "half_open", "open"];

/// Of the breaker `one`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sums {
    pub(crate) admitted: u64,
    /// Successes, failures and ignored.
    pub(crate) settled: u64,
    /// Transitions to each of [`STATES`].
    pub(crate) to: [u64; 3],
    /// Log lines of transitions.
    pub(crate) lines: u64,
}

impl Sums {
    /// Of one worker.
    pub(crate) fn of(worker: &Gateway) -> Self {
        let of = |what: &str| reported(worker, what, "one");
        let lines = worker.telemetry.lines();
        let changes = lines.iter().filter(|line| line.contains(" from="));
        Self {
            admitted: of("admitted"),
            settled: of("successes") + of("failures") + of("ignored"),
            to: STATES.map(|to| of(&format!("transitions.{to}"))),
            lines: changes.count() as u64,
        }
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            admitted: self.admitted + other.admitted,
            settled: self.settled + other.settled,
            to: [0, 1, 2].map(|to| self.to[to] + other.to[to]),
            lines: self.lines + other.lines,
        }
    }

    /// How often each of [`STATES`] was entered, in the order in which they were.
    pub(crate) fn entered(states: &[&str]) -> [u64; 3] {
        let changes = states.windows(2).filter(|two| two[0] != two[1]);
        let to: Vec<&str> = changes.map(|two| two[1]).collect();
        STATES.map(|state| to.iter().filter(|to| **to == state).count() as u64)
    }
}
