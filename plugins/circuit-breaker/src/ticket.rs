//! What an admitted request keeps until it is settled.

use crate::classify::Outcome;
use crate::permits::Permit;
use crate::run::Run;

/// What an admitted request keeps until it is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) generation: u32,
    pub(crate) standing: Standing,
    pub(crate) word: Word,
}

/// Where the success is known that it was by its head: if it breaks off, that is taken back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Word {
    #[default]
    None,
    /// With the worker that heard it, under this number.
    Remembered(u32),
    /// On record, as the end of a row of failures that has this number.
    Ended(u32),
}

/// As what a request was admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Through a closed breaker with no failure on record.
    Clean,
    /// Through a closed breaker with failures on record.
    AfterFailures,
    /// As a probe.
    Probe(Permit),
    /// As a probe whose permit another took over while its request was not whole: it says nothing.
    Lost,
    /// Through a breaker that is forced closed: it is counted, and changes nothing.
    Forced,
}

impl Ticket {
    /// Of a request that nothing depends on.
    pub(crate) const FORCED: Self = Self {
        generation: 0,
        standing: Standing::Forced,
        word: Word::None,
    };

    /// Of a request through a closed breaker with that on record.
    pub(crate) const fn closed(generation: u32, run: &Run) -> Self {
        Self {
            generation,
            standing: match run.is_clear() {
                true => Standing::Clean,
                false => Standing::AfterFailures,
            },
            word: Word::None,
        }
    }

    /// Whether it holds a permit.
    pub(crate) const fn is_probe(&self) -> bool {
        matches!(self.standing, Standing::Probe(_))
    }

    /// Whether its request is one of those that make up a ratio.
    pub(crate) const fn is_of_closed(&self) -> bool {
        matches!(self.standing, Standing::Clean | Standing::AfterFailures)
    }

    /// Whether settling it so can change a record, ratios aside. A success through a closed breaker
    /// can not: what it changes it has changed when its head came.
    pub(crate) const fn matters(&self, outcome: Outcome) -> bool {
        match (self.standing, outcome) {
            (Standing::Probe(_), Outcome::Success | Outcome::Failure(_) | Outcome::Ignored)
            | (Standing::Clean | Standing::AfterFailures, Outcome::Failure(_)) => true,
            (Standing::Clean | Standing::AfterFailures, Outcome::Success | Outcome::Ignored)
            | (
                Standing::Forced | Standing::Lost,
                Outcome::Success | Outcome::Failure(_) | Outcome::Ignored,
            ) => false,
        }
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
impl Ticket {
    /// A probe's generation, and its permit's number.
    pub(crate) const fn probe(&self) -> Option<(u32, u32)> {
        match self.standing {
            Standing::Probe(permit) => Some((self.generation, permit.number())),
            Standing::Clean | Standing::AfterFailures | Standing::Forced | Standing::Lost => None,
        }
    }
}
