//! Keys that an issuer publishes: one worker fetches them for all, and no request waits for it.
//!
//! ```text
//! tick ─ sync: has another worker brought a new set? ─ next_call: is a fetch due, and is it ours?
//!                                                           │ (a lease in shared data)
//! call's end ─ learn: reads the answer, shares the set, or writes down that it failed
//! ```

mod answer;
mod document;
mod record;
mod source;
mod sync;

#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use portcullis_policy::config::ConfigError;
use portcullis_policy::{
    CallReply, HttpCall, Ports, SharedStore, SlotKey, Span, Step, Timestamp, read, update,
};

use crate::config::{RemoteJwksConfig, Target};
use crate::jwks::Jwks;
use crate::key::Key;

pub(crate) use answer::FetchResult;

use answer::{read_description, read_keys};
use document::Pieces;
use record::{DocumentId, Record, Schedule};
use source::Source;

/// A key set that is fetched.
pub(crate) struct RemoteKeys {
    source: Source,
    schedule: Schedule,
    max_stale: Span,
    record_slot: SlotKey,
    pieces: Pieces,
    held: RefCell<Option<Held>>,
    /// The record as it was last seen.
    seen: RefCell<Record>,
    /// When a token had a `kid` that the set lacks.
    wanted: Cell<Option<Timestamp>>,
    fetch: RefCell<Fetch>,
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
        target: Target,
    },
    /// The set was asked for.
    Keys {
        attempt: Attempt,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// This worker's fetch has ended.
    Fetched(FetchResult),
    /// This worker has other keys than before.
    Changed,
    /// This worker could not hand over what it has fetched.
    NotShared,
}

impl RemoteKeys {
    /// The keys that `config` tells of, published by `issuer`.
    pub(crate) fn from_config(config: RemoteJwksConfig, issuer: &str) -> Result<Self, ConfigError> {
        let (refresh, refetch) = (config.refresh.span(), config.refetch_min_interval.span());
        for (field, span) in [("refresh", refresh), ("refetch_min_interval", refetch)] {
            if span < Span::from_secs(1) {
                return Err(ConfigError::at(field, "too short; expected at least 1s"));
            }
        }
        let max_stale = config.max_stale.span();
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
            pieces: Pieces::below(&name),
            record_slot: SlotKey::new::<Record>(name),
            held: RefCell::default(),
            seen: RefCell::default(),
            wanted: Cell::default(),
            fetch: RefCell::new(Fetch::Nothing),
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

    /// What this worker has; `None`: nothing.
    pub(crate) fn state(&self) -> Option<State> {
        let held = self.held.try_borrow().ok()?;
        held.as_ref().map(|held| State {
            fetched_at: held.fetched_at,
            keys: held.keys.len(),
            skipped: held.skipped,
        })
    }

    /// A token has a `kid` that the set lacks: perhaps there is a newer one.
    pub(crate) fn want(&self, now: Timestamp) {
        if self.wanted.get().is_none() {
            self.wanted.set(Some(now));
        }
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
            Fetch::Known { attempt, target } => {
                let call = self.source.call(target);
                *fetch = Fetch::Keys { attempt: *attempt };
                Some(call)
            }
            // Whoever asks has no call under way: if this worker had one it was given up.
            Fetch::Nothing | Fetch::Description { .. } | Fetch::Keys { .. } => {
                let attempt = self.begin(ports)?;
                *fetch = if self.source.discovers {
                    Fetch::Description { attempt }
                } else {
                    Fetch::Keys { attempt }
                };
                Some(self.source.call(&self.source.first))
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

    /// Sees the answer to this worker's call.
    pub(crate) fn learn(&self, reply: &dyn CallReply, ports: &Ports<'_>) -> Vec<Event> {
        let fetch = self.fetch.replace(Fetch::Nothing);
        let result = match fetch {
            Fetch::Nothing | Fetch::Known { .. } => return Vec::new(),
            Fetch::Description { attempt } => match read_description(reply, &self.source) {
                Ok(target) => {
                    self.fetch.replace(Fetch::Known { attempt, target });
                    return Vec::new();
                }
                Err(result) => Err((attempt, result)),
            },
            Fetch::Keys { attempt } => match read_keys(reply) {
                Ok(jwks) => Ok((attempt, jwks)),
                Err(result) => Err((attempt, result)),
            },
        };
        match result {
            Ok((attempt, jwks)) => self.succeed(attempt, jwks, ports),
            Err((attempt, result)) => {
                let Ok(now) = ports.clock.now() else {
                    return vec![Event::Fetched(result)];
                };
                let failed = |record: &Record| Some((record.failed(attempt.number, now)?, ()));
                if !attempt.alone {
                    self.change(ports.store, failed);
                } else if let Ok(mut seen) = self.seen.try_borrow_mut()
                    && let Some((next, ())) = failed(&seen)
                {
                    *seen = next;
                }
                vec![Event::Fetched(result)]
            }
        }
    }

    fn succeed(&self, attempt: Attempt, jwks: Jwks, ports: &Ports<'_>) -> Vec<Event> {
        let mut events = vec![Event::Fetched(FetchResult::Ok)];
        let Ok(now) = ports.clock.now() else {
            return events;
        };
        let Some(document) = DocumentId::of(&jwks.reduced) else {
            return events;
        };
        let record = read::<Record>(ports.store, &self.record_slot);
        if let (Ok(Some(record)), false) = (&record, attempt.alone)
            && !record.is_attempt(attempt.number)
            && (record.has_document() || self.state().is_some())
        {
            // It took too long, and somebody else has begun since: what comes then is newer.
            return events;
        }
        // Also when it is the same as before: a piece of it may have been evicted.
        let shared = self.pieces.write(&jwks.reduced, ports.store).is_ok();
        let skipped = u32::try_from(jwks.skipped).unwrap_or(u32::MAX);
        let mut changed = false;
        if let Ok(mut held) = self.held.try_borrow_mut() {
            match held.as_mut() {
                Some(held) if held.document == document => {
                    held.fetched_at = now;
                    held.alone = !shared;
                }
                Some(_) | None => {
                    changed = true;
                    *held = Some(Held {
                        keys: jwks.keys.into(),
                        skipped: jwks.skipped,
                        document,
                        fetched_at: now,
                        alone: !shared,
                    });
                }
            }
        }
        if changed {
            events.push(Event::Changed);
        }
        self.change(ports.store, |record| {
            let next = if shared {
                record.succeeded(attempt.number, now, document, skipped)?
            } else {
                record.failed(attempt.number, now)?
            };
            Some((next, ()))
        });
        if !shared {
            events.push(Event::NotShared);
        }
        if !shared && let Ok(mut seen) = self.seen.try_borrow_mut() {
            // The others fetch for themselves; this worker has what it wanted.
            *seen = seen.served_alone(now, document, skipped);
        }
        events
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
