//! What an answer means for this worker and for the others.

use portcullis_policy::{CallReply, Ports, read};

use crate::jwks::{Jwks, SkippedKey};

use super::answer::{FetchResult, read_description, read_keys};
use super::record::{DocumentId, Record};
use super::{Attempt, Event, Fetch, Held, RemoteKeys};

impl RemoteKeys {
    /// Sees the answer to this worker's call.
    pub(crate) fn learn(&self, reply: &dyn CallReply, ports: &Ports<'_>) -> Vec<Event> {
        let fetch = self.fetch.replace(Fetch::Nothing);
        let result = match fetch {
            Fetch::Nothing | Fetch::Known { .. } => return Vec::new(),
            Fetch::Description { attempt } => match read_description(reply, &self.source) {
                Ok(location) => {
                    self.fetch.replace(Fetch::Known { attempt, location });
                    return Vec::new();
                }
                Err(failure) => Err((attempt, failure)),
            },
            Fetch::Keys { attempt, host } => match read_keys(reply, &self.source, host) {
                Ok(jwks) => Ok((attempt, jwks)),
                Err(failure) => Err((attempt, failure)),
            },
        };
        match result {
            Ok((attempt, jwks)) => {
                let skipped = self.not_told(&jwks.skipped);
                let mut events: Vec<_> = skipped.into_iter().collect();
                events.extend(self.succeed(attempt, jwks, ports));
                events
            }
            Err((attempt, failure)) => {
                self.fail(attempt, ports);
                let none = failure.result == FetchResult::NoUsableKey;
                let skipped = none.then(|| self.not_told(&failure.skipped)).flatten();
                let mut events: Vec<_> = skipped.into_iter().collect();
                events.push(Event::Failed(failure));
                events
            }
        }
    }

    /// The keys that can't be used, where these are not those of the last time.
    fn not_told(&self, skipped: &[SkippedKey]) -> Option<Event> {
        let mut logged = self.logged.try_borrow_mut().ok()?;
        if *logged == skipped {
            return None;
        }
        *logged = skipped.to_vec();
        (!skipped.is_empty()).then(|| Event::Skipped(skipped.to_vec()))
    }

    /// Writes down that a fetch has failed.
    fn fail(&self, attempt: Attempt, ports: &Ports<'_>) {
        let Ok(now) = ports.clock.now() else {
            return;
        };
        let failed = |record: &Record| Some((record.failed(attempt.number, now)?, ()));
        if !attempt.alone {
            self.change(ports.store, failed);
        } else if let Ok(mut seen) = self.seen.try_borrow_mut()
            && let Some((next, ())) = failed(&seen)
        {
            *seen = next;
        }
    }

    fn succeed(&self, attempt: Attempt, jwks: Jwks, ports: &Ports<'_>) -> Vec<Event> {
        let mut events = vec![Event::Fetched];
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
        let left_out = jwks.skipped.len();
        let skipped = u32::try_from(left_out).unwrap_or(u32::MAX);
        let mut changed = false;
        if let Ok(mut held) = self.held.try_borrow_mut() {
            match held.as_mut() {
                Some(held) if held.document == document => {
                    held.fetched_at = now;
                    held.alone = !shared;
                    held.skipped = left_out;
                }
                Some(_) | None => {
                    changed = true;
                    *held = Some(Held {
                        keys: jwks.keys.into(),
                        skipped: left_out,
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
}
