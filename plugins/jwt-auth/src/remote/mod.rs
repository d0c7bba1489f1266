//! Keys that an issuer publishes: one worker fetches them for all, and no request waits for it but where it is told to.
//!
//! ```text
//! tick ─ sync: has another worker brought a new set? ─ next_call: is a fetch due, and is it ours?
//!                                                           │ (a lease in shared data)
//! call's end ─ learn: reads the answer, shares the set, or writes down that it failed
//! ```

mod answer;
mod document;
mod learn;
mod record;
mod source;
mod sync;

#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use portcullis_policy::config::{ConfigError, Duration};
use portcullis_policy::{HttpCall, Ports, SharedStore, SlotKey, Span, Step, Timestamp, update};

use crate::config::RemoteJwksConfig;
use crate::discovery::Location;
use crate::issuer::Issuer;
use crate::jwks::SkippedKey;
use crate::key::Key;

pub(crate) use answer::{Failure, FetchResult};

use document::Pieces;
use record::{DocumentId, Record, Schedule};
use source::Source;

/// For how long a request may be held.
const LONGEST_WAIT: Span = Span::from_secs(60);

/// A key set that is fetched.
pub(crate) struct RemoteKeys {
    source: Source,
    schedule: Schedule,
    max_stale: Span,
    wait: Option<Span>,
    record_slot: SlotKey,
    pieces: Pieces,
    held: RefCell<Option<Held>>,
    /// The record as it was last seen.
    seen: RefCell<Record>,
    /// When a token could not be checked with the set: it has a `kid` that the set lacks, or a
    /// signature that none of its keys made.
    wanted: Cell<Option<Timestamp>>,
    /// Whether another instance, which makes the calls, was told so since what is shared was last looked at.
    told: Cell<bool>,
    fetch: RefCell<Fetch>,
    /// The keys that this worker has last said it left out.
    logged: RefCell<Vec<SkippedKey>>,
}

/// What this worker has.
struct Held {
    keys: Rc<[Key]>,
    skipped: usize,
    document: DocumentId,
    fetched_at: Timestamp,
    /// Whether it could not be shared: what is shared is older, until it is not.
    alone: bool,
}

/// What this worker fetches.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fetch {
    Nothing,
    /// The issuer's description was asked for.
    Description {
        attempt: Attempt,
    },
    /// The description said that the set is there, and nobody was asked yet.
    Known {
        attempt: Attempt,
        location: Location,
    },
    /// The set was asked for, from the one of that index among the source's hosts.
    Keys {
        attempt: Attempt,
        host: usize,
    },
}

/// A fetch, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Attempt {
    number: u64,
    /// Whether only this worker knows of it, since what is shared could not be written.
    alone: bool,
}

/// Why there are no keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoKeys {
    /// No set has ever come.
    Unavailable,
    /// The last set is older than it may be.
    Stale,
}

/// A key set as a worker has it.
pub(crate) struct State {
    pub(crate) fetched_at: Timestamp,
    /// How many keys there are.
    pub(crate) keys: usize,
    /// How many of the set can't be used.
    pub(crate) skipped: usize,
}

/// What happened to a key set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// This worker's fetch has brought a set.
    Fetched,
    /// It has brought none.
    Failed(Failure),
    /// The set that it has brought has other keys in it that can't be used than the one before.
    Skipped(Vec<SkippedKey>),
    /// This worker has other keys than before.
    Changed,
    /// This worker could not hand over what it has fetched.
    NotShared,
}

impl RemoteKeys {
    /// The keys that `config` tells of, published by `issuer`.
    pub(crate) fn from_config(
        config: RemoteJwksConfig,
        issuer: &Issuer,
    ) -> Result<Self, ConfigError> {
        let (refresh, refetch) = (config.refresh.span(), config.refetch_min_interval.span());
        for (field, span) in [("refresh", refresh), ("refetch_min_interval", refetch)] {
            if span < Span::from_secs(1) {
                return Err(ConfigError::at(field, "too short; expected at least 1s"));
            }
        }
        let max_stale = config.max_stale.span();
        let wait = config.wait.map(Duration::span);
        if wait.is_some_and(|wait| wait > LONGEST_WAIT) {
            return Err(ConfigError::at("wait", "too long; expected at most 60s"));
        }
        let source = Source::from_config(config, issuer)?;
        let name = source.slot_name();
        Ok(Self {
            schedule: Schedule {
                refresh,
                refetch_min_interval: refetch,
                lease: source.longest_fetch(),
            },
            source,
            max_stale,
            wait,
            pieces: Pieces::below(&name),
            record_slot: SlotKey::new::<Record>(name),
            held: RefCell::default(),
            seen: RefCell::default(),
            wanted: Cell::default(),
            told: Cell::default(),
            fetch: RefCell::new(Fetch::Nothing),
            logged: RefCell::default(),
        })
    }

    /// All keys in shared data that it uses.
    pub(crate) fn slot_names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.record_slot.name()).chain(self.pieces.names())
    }

    /// The keys, if they are still to be believed.
    pub(crate) fn usable(&self, now: Timestamp) -> Result<Rc<[Key]>, NoKeys> {
        let held = self.held.try_borrow().map_err(|_| NoKeys::Unavailable)?;
        let held = held.as_ref().ok_or(NoKeys::Unavailable)?;
        if now >= self.end_of(held) {
            return Err(NoKeys::Stale);
        }
        Ok(Rc::clone(&held.keys))
    }

    /// From when on the keys at hand are not to be believed; `None` without any.
    pub(crate) fn usable_until(&self) -> Option<Timestamp> {
        let held = self.held.try_borrow().ok()?;
        held.as_ref().map(|held| self.end_of(held))
    }

    /// An outage that begins just before a refresh is not seen for `max_stale`.
    fn end_of(&self, held: &Held) -> Timestamp {
        held.fetched_at
            .after(self.schedule.refresh)
            .after(self.max_stale)
    }

    /// For how long a request is held that needs a key which is not here, where a fetch is under way, or due since the request
    /// wants it. `None` where none is, or where no request is to be held.
    pub(crate) fn wait(&self, now: Timestamp) -> Option<Span> {
        let wait = self.wait?;
        let seen = self.seen.try_borrow().ok()?;
        // What is under way may bring the key: another fetch is wanted once it has not.
        if seen.is_under_way(now, &self.schedule) {
            return Some(wait);
        }
        self.want(now);
        seen.is_due(now, true, &self.schedule).then_some(wait)
    }

    /// Whether requests may be held for it.
    pub(crate) const fn has_wait(&self) -> bool {
        self.wait.is_some()
    }

    /// What this worker has; `None`: nothing.
    pub(crate) fn state(&self) -> Option<State> {
        let held = self.held.try_borrow().ok()?;
        held.as_ref().map(|held| State {
            fetched_at: held.fetched_at,
            keys: held.keys.len(),
            skipped: held.skipped,
        })
    }

    /// A token could not be checked with the set: perhaps there is a newer one.
    pub(crate) fn want(&self, now: Timestamp) {
        if self.wanted.get().is_none() {
            self.wanted.set(Some(now));
        }
    }

    /// Whether a request wants the set, and who fetches it was not told since what is shared was last looked at.
    pub(crate) fn take_wanted(&self) -> bool {
        self.wanted.get().is_some() && !self.told.replace(true)
    }

    /// Whether a fetch of this worker's is half done.
    pub(crate) fn has_second_call(&self) -> bool {
        let fetch = self.fetch.try_borrow();
        fetch.is_ok_and(|fetch| matches!(*fetch, Fetch::Known { .. }))
    }

    /// The call that is due, if it is this worker's to make.
    pub(crate) fn next_call(&self, ports: &Ports<'_>) -> Option<HttpCall> {
        let mut fetch = self.fetch.try_borrow_mut().ok()?;
        match &*fetch {
            Fetch::Known { attempt, location } => {
                let call = self.source.call(location);
                *fetch = Fetch::Keys {
                    attempt: *attempt,
                    host: location.host,
                };
                Some(call)
            }
            // Whoever asks has no call for this set under way: if there was one it was given up.
            Fetch::Nothing | Fetch::Description { .. } | Fetch::Keys { .. } => {
                let attempt = self.begin(ports)?;
                *fetch = if self.source.discovers {
                    Fetch::Description { attempt }
                } else {
                    Fetch::Keys { attempt, host: 0 }
                };
                Some(self.source.call(&self.source.first()))
            }
        }
    }

    /// Takes the lease, if a fetch is due and nobody else has it.
    fn begin(&self, ports: &Ports<'_>) -> Option<Attempt> {
        let now = ports.clock.now().ok()?;
        let wanted = self.wanted.get().is_some();
        if !self
            .seen
            .try_borrow()
            .ok()?
            .is_due(now, wanted, &self.schedule)
        {
            return None;
        }
        let (number, alone) = self.change(ports.store, |record| {
            let due = record.is_due(now, wanted, &self.schedule);
            due.then(|| record.begun(now))
        })?;
        self.wanted.set(None);
        Some(Attempt { number, alone })
    }

    /// Changes the shared record; this worker's own copy of it, and says so, where the shared one
    /// can't be changed.
    fn change<R: Clone>(
        &self,
        store: &dyn SharedStore,
        change: impl Fn(&Record) -> Option<(Record, R)>,
    ) -> Option<(R, bool)> {
        let shared = update(store, &self.record_slot, |record: Option<&Record>| {
            let fresh = Record::default();
            match change(record.unwrap_or(&fresh)) {
                Some((next, result)) => Step::Write(next.clone(), Some((next, result))),
                None => Step::Keep(None),
            }
        });
        let mut seen = self.seen.try_borrow_mut().ok()?;
        let alone = shared.is_err();
        let (next, result) = match shared {
            Ok(changed) => changed?,
            Err(_) => change(&seen)?,
        };
        *seen = next;
        Some((result, alone))
    }
}
