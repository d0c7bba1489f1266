//! What may change a breaker, and what it did.

use crate::rules::Outcome;
use crate::window::Counts;

/// What an admitted request keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) epoch: u64,
    pub(crate) standing: Standing,
    pub(crate) word: Word,
}

/// What became of the head of its success.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Word {
    #[default]
    None,
    /// Its worker remembers it, by this number.
    Remembered(u64),
    /// It has ended a row, the one of this number in its epoch.
    Ended(u64),
}

/// As what a request was admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Through a closed breaker, with failures on record or without.
    Plain {
        after_failures: bool,
    },
    Probe,
    /// As a probe that has lost its permit while its body was outstanding.
    Lost,
    /// Through one that is forced closed.
    Forced,
}

/// What may change a breaker.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// A request, by its number, that is whole or whose body is outstanding.
    Ask { request: u64, whole: bool },
    /// The body of a probe's request has come.
    Confirm { request: u64, epoch: u64 },
    /// The head of a success, of which failures that are on record are reported at once.
    Succeed { epoch: u64 },
    /// A request is settled; `news` are reported with it.
    Settle {
        request: u64,
        ticket: Ticket,
        outcome: Outcome,
        slow: bool,
        news: News,
    },
    /// What a worker tells with its tick.
    Tell(News),
}

/// What a worker tells of: counts, and the last success that others may not know, each with its
/// epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct News {
    pub(crate) reported: Option<(u64, Counts)>,
    pub(crate) head: Option<(u64, u64)>,
}

/// What an [`Op`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Effect {
    /// To a request.
    pub(crate) answer: Option<Verdict>,
    /// Whether anything is other than before.
    pub(crate) stores: bool,
    pub(crate) transition: Option<Transition>,
    /// The number of the end that a success has made of a row.
    pub(crate) ended: Option<u64>,
    /// Whether a permit that was to be confirmed is another's.
    pub(crate) lost: bool,
    /// What whoever looked has seen: failures on record, and a share that may be exceeded.
    pub(crate) saw: Saw,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Saw {
    pub(crate) failures: bool,
    pub(crate) suspicion: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
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
