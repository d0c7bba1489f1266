//! The ways from one state to another, and what they are called.

/// A state without what belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Closed,
    HalfOpen,
    Open,
}

/// Why a breaker is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    ConsecutiveFailures,
    FailureRatio,
    SlowRatio,
    ProbeFailed,
    /// A person has said so.
    Control,
}

/// The ways from one state to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transition {
    /// Closed → Open: too much has failed, or was slow.
    Tripped(Why),
    /// Open → HalfOpen: its time is up.
    Probing,
    /// HalfOpen → Open: a probe failed.
    Relapsed,
    /// HalfOpen → Closed: enough probes succeeded.
    Recovered,
    /// A person has said so, whatever it was.
    Ordered { from: Phase, to: Phase },
}

impl Phase {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }

    /// The value of the gauge `circuit_breaker_state`.
    pub(crate) const fn gauge(self) -> u64 {
        match self {
            Self::Closed => 0,
            Self::HalfOpen => 1,
            Self::Open => 2,
        }
    }
}

impl Why {
    /// A fixed word for logs and for the status.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::ConsecutiveFailures => "consecutive_failures",
            Self::FailureRatio => "failure_ratio",
            Self::SlowRatio => "slow_ratio",
            Self::ProbeFailed => "probe_failed",
            Self::Control => "control",
        }
    }
}

impl Transition {
    pub(crate) const fn from(self) -> Phase {
        match self {
            Self::Tripped(_) => Phase::Closed,
            Self::Probing => Phase::Open,
            Self::Relapsed | Self::Recovered => Phase::HalfOpen,
            Self::Ordered { from, .. } => from,
        }
    }

    pub(crate) const fn to(self) -> Phase {
        match self {
            Self::Tripped(_) | Self::Relapsed => Phase::Open,
            Self::Probing => Phase::HalfOpen,
            Self::Recovered => Phase::Closed,
            Self::Ordered { to, .. } => to,
        }
    }

    pub(crate) const fn event(self) -> &'static str {
        match self.to() {
            Phase::Closed => "closed",
            Phase::HalfOpen => "half_opened",
            Phase::Open => "opened",
        }
    }

    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::Tripped(why) => why.as_str(),
            Self::Probing => "open_time_over",
            Self::Relapsed => Why::ProbeFailed.as_str(),
            Self::Recovered => "probes_succeeded",
            Self::Ordered { .. } => Why::Control.as_str(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_transition_leads_where_the_diagram_says() {
        use Phase::{Closed, HalfOpen, Open};
        for (transition, from, to) in [
            (Transition::Tripped(Why::SlowRatio), Closed, Open),
            (Transition::Probing, Open, HalfOpen),
            (Transition::Relapsed, HalfOpen, Open),
            (Transition::Recovered, HalfOpen, Closed),
            (
                Transition::Ordered {
                    from: Open,
                    to: Closed,
                },
                Open,
                Closed,
            ),
        ] {
            assert_eq!((transition.from(), transition.to()), (from, to));
        }
        assert_eq!(
            [Closed, HalfOpen, Open].map(|phase| (phase.as_str(), phase.gauge())),
            [("closed", 0), ("half_open", 1), ("open", 2)]
        );
    }
}
