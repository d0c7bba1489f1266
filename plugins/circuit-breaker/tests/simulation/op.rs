//! What may change a breaker, and what it did.

use crate::outcome::Outcome;
use crate::window::Counts;

/// What an admitted request keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) epoch: u64,
    pub(crate) standing: Standing,
}

/// As what a request was admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Through a closed breaker; only a success after failures starts their count again.
    Plain {
        after_failures: bool,
    },
    Probe,
    /// Through one that is forced closed.
    Forced,
}

/// What may change a breaker.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// A request, by its number.
    Ask(u64),
    /// A request is settled; `told` are the counts that are told with it.
    Settle {
        request: u64,
        ticket: Ticket,
        outcome: Outcome,
        slow: bool,
        told: Counts,
    },
    /// What a worker tells with its tick of requests of one epoch.
    Tell { epoch: u64, told: Counts },
}

/// What an [`Op`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Effect {
    /// To a request.
    pub(crate) answer: Option<Answer>,
    /// Whether anything is other than before.
    pub(crate) stores: bool,
    pub(crate) transition: Option<Transition>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Pass(Ticket),
    /// Why not, and after how many seconds the next one may try.
    Refuse(&'static str, u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Transition {
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
    pub(crate) reason: &'static str,
    pub(crate) cause: Option<&'static str>,
}
