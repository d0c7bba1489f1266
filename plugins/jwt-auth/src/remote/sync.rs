//! What one worker has fetched reaches the others.

use portcullis_policy::{Ports, SharedStore, Timestamp, read};

use crate::jwks::Jwks;

use super::record::{DocumentId, Record};
use super::{Event, Held, RemoteKeys};

impl RemoteKeys {
    /// Takes over what another worker has fetched.
    pub(crate) fn sync(&self, ports: &Ports<'_>) -> Option<Event> {
        // Without the store each worker fetches for itself.
        let Ok(Some(record)) = read::<Record>(ports.store, &self.record_slot) else {
            return None;
        };
        self.told.set(false);
        let now = ports.clock.now().ok()?;
        if self.has_newer_alone(&record, now) {
            return None;
        }
        let event = if record.has_document() {
            self.take_over(&record, ports.store)
        } else {
            None
        };
        // The set was shared, and is gone or another one: on Kong slots are evicted, and a worker
        // that was late may have written over it.
        if record.has_document()
            && !self.holds(&record.document)
            && let Ok(now) = ports.clock.now()
        {
            self.want(now);
        }
        if self
            .wanted
            .get()
            .is_some_and(|since| record.was_attempted_since(since))
        {
            self.wanted.set(None);
        }
        // An attempt that only this worker knows of is not forgotten, unless the clock was set back.
        let now = ports.clock.now();
        if let Ok(mut seen) = self.seen.try_borrow_mut()
            && !(seen.is_later_than(&record) && now.is_ok_and(|now| !seen.is_after(now)))
        {
            *seen = record;
        }
        event
    }

    fn has_newer_alone(&self, record: &Record, now: Timestamp) -> bool {
        let held = self.held.try_borrow();
        // A date that is yet to come says that the clock was set back, and nothing of newer.
        let dated = |held: &Held| (record.fetched_at..=now).contains(&held.fetched_at);
        let newer = |held: &Held| held.alone && dated(held);
        held.is_ok_and(|held| held.as_ref().is_some_and(newer))
    }

    fn holds(&self, document: &DocumentId) -> bool {
        let held = self.held.try_borrow();
        held.is_ok_and(|held| held.as_ref().is_some_and(|held| held.document == *document))
    }

    fn take_over(&self, record: &Record, store: &dyn SharedStore) -> Option<Event> {
        let mut held = self.held.try_borrow_mut().ok()?;
        if let Some(held) = held.as_mut()
            && held.document == record.document
        {
            held.fetched_at = record.fetched_at;
            held.alone = false;
            held.skipped = usize::try_from(record.skipped).unwrap_or(usize::MAX);
            return None;
        }
        // What is incomplete is being written; the next tick sees it whole.
        let document = self.pieces.read(&record.document, store).ok()?;
        let jwks = Jwks::parse(&document).ok()?;
        *held = Some(Held {
            keys: jwks.keys.into(),
            skipped: usize::try_from(record.skipped).unwrap_or(usize::MAX),
            document: record.document,
            fetched_at: record.fetched_at,
            alone: false,
        });
        Some(Event::Changed)
    }
}
