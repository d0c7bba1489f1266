//! Failures in a row, as Envoy's `consecutive_5xx` and resilience4j count them: a success between
//! two of them, by when its head came, ends the row, on whichever worker that was. One that breaks
//! off behind its head takes that back, as long as no other success came after it: else an upstream
//! whose every stream breaks off would never have failed twice in a row.
//!
//! Who sees a success after failures that are on record needs no clock to end them. What is reported of
//! a success later is held against the failures' dates, as far as these can be believed: where they
//! show that the clock was set back, the success may have been anywhere among them.

use std::cell::Cell;

use portcullis_policy::Timestamp;

use crate::batch::is_later;

/// Failures with no success between them, as far as that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) failures: u32,
    /// When the first of them came; the epoch once one of them came earlier than the one before it
    /// by a clock that was set back: no success is then known to be from before all of them.
    pub(crate) began: Timestamp,
    /// When the last of them came.
    pub(crate) last: Timestamp,
    /// How often a success has ended a row so far, which is the number of the last one.
    pub(crate) ends: u32,
    /// How many failures that one took out, as long as it can bring them back.
    pub(crate) taken: u32,
}

impl Run {
    /// Whether a success would change nothing.
    pub(crate) const fn is_clear(&self) -> bool {
        self.failures == 0 && self.taken == 0
    }

    /// A success is reported as its head comes. Where it ends a row it gets a number, by which it can take
    /// that back; where it does not, who ended the last row can no longer.
    pub(crate) fn succeeded(self) -> (Self, Option<u32>) {
        match self.failures {
            0 => (self.without(), None),
            taken => {
                let ends = self.ends.wrapping_add(1);
                let ended = Self {
                    ends,
                    taken,
                    ..Self::default()
                };
                (ended, Some(ends))
            }
        }
    }

    /// The response breaks off whose head had ended a row, as that number: what it took out is a part
    /// of the row again. When that began is not known any more.
    pub(crate) fn taken_back(self, number: u32) -> Self {
        match self.taken {
            1.. if self.ends == number => Self {
                failures: self.failures.saturating_add(self.taken),
                began: Timestamp::default(),
                taken: 0,
                ..self
            },
            0.. => self,
        }
    }

    /// No row at all.
    fn without(self) -> Self {
        Self {
            ends: self.ends,
            ..Self::default()
        }
    }

    /// One more failure.
    pub(crate) fn failed(self, now: Timestamp) -> Self {
        Self {
            failures: self.failures.saturating_add(1),
            began: match self.failures {
                0 => now,
                1.. if now < self.last => Timestamp::default(),
                1.. => self.began,
            },
            last: now,
            ..self
        }
    }

    /// What is left of it once a success is reported at `now` whose head came at `head`. One that came
    /// in the midst leaves the last failure, and perhaps takes others that came after it: what is
    /// known late may keep a breaker closed for longer, and must not open it. So a date that lies in
    /// the future, by a clock that was set back, leaves none.
    pub(crate) fn after(self, head: Timestamp, now: Timestamp) -> Self {
        if head >= self.last || self.last > now {
            self.without()
        } else if head < self.began {
            Self { taken: 0, ..self }
        } else {
            Self {
                failures: 1,
                began: self.last,
                last: self.last,
                ..self.without()
            }
        }
    }
}

/// What one worker knows of a run, and has not reported to the others.
///
/// While no failure is on record a success is remembered by the time of its head, which costs no
/// look at shared data; the worker tells of it with its next failure, or with its tick if failures
/// are on record by then. As soon as it has seen failures on record, a success ends them at once.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    /// The last success since this worker saw no failure on record, and its number here.
    last: Cell<Option<(Head, u32)>>,
    /// How many it has remembered so far.
    count: Cell<u32>,
    record: Cell<OnRecord>,
}

/// A success's head: the generation in which its request was admitted, and when it came.
pub(crate) type Head = (u32, Timestamp);

/// What was on record when this worker last looked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum OnRecord {
    #[default]
    NoFailures,
    Failures,
}

impl Heads {
    /// The record was seen. With no failure on it, successes so far are from before any that comes.
    pub(crate) fn saw(&self, record: OnRecord) {
        match record {
            OnRecord::NoFailures => self.reported(record),
            OnRecord::Failures => self.record.set(record),
        }
    }

    /// All that this worker knew is on record by now, which has failures or none.
    pub(crate) fn reported(&self, record: OnRecord) {
        self.last.set(None);
        self.record.set(record);
    }

    pub(crate) fn on_record(&self) -> OnRecord {
        self.record.get()
    }

    /// A success's head has come, of which this is the number. One of an earlier generation than is
    /// known says nothing any more.
    pub(crate) fn succeeded(&self, head: Head) -> u32 {
        let number = self.count.get().wrapping_add(1);
        self.count.set(number);
        match self.last.get() {
            Some(((known, _), _)) if is_later(known, head.0) => {}
            Some(_) | None => self.last.set(Some((head, number))),
        }
        number
    }

    /// The response of that number breaks off: it is not to be reported that it was a success.
    pub(crate) fn taken_back(&self, number: u32) {
        if self.last.get().is_some_and(|(_, last)| last == number) {
            self.last.set(None);
        }
    }

    /// What is to be reported.
    pub(crate) fn last(&self) -> Option<Head> {
        self.last.get().map(|(head, _)| head)
    }
}

#[cfg(test)]
mod tests;
