//! What a slot holds: a few keys, each with what it has used.
//!
//! ```text
//! form 1 | fingerprint 16, used 16 or 80 | … (8 of them)
//! ```
//!
//! It is read as it lies there. What a request changes is written down as [`Change`]s, of which most
//! requests make one, so that nothing is copied but what one key has used.

use portcullis_policy::Timestamp;

use crate::key::Fingerprint;
use crate::quota::{Counting, Decision, Form, Used};

/// Keys in a slot. More of them make evictions rarer and each access dearer. With eight, and keys
/// that fall evenly (a Poisson distribution), about one key in 120 finds its slot full in a table
/// that is half full, and one in 6,800 in one that is a quarter full.
pub(crate) const WAYS: usize = 8;

/// The format of the record.
pub(crate) const FORMAT: &str = "rate_limit/bucket/2";

/// Bytes of a fingerprint.
const KEY: usize = 16;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Entry {
    key: Fingerprint,
    used: Used,
}

/// A slot's keys, all of one form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket<'a> {
    form: Form,
    entries: &'a [u8],
}

/// A request, as a limit's slot is asked for it.
#[derive(Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) key: Fingerprint,
    pub(crate) quota: &'a dyn Counting,
    pub(crate) cost: u32,
    pub(crate) now: Timestamp,
    /// What counts for longer than that is of a clock that was wrong.
    pub(crate) horizon: Timestamp,
}

/// What a slot makes of a request.
#[derive(Clone, Debug)]
pub(crate) struct Charged {
    pub(crate) decision: Decision,
    /// A key that still limited someone was forgotten.
    pub(crate) evicted: bool,
    /// Under what it is counted: the key itself, or [`Fingerprint::in_the_past`].
    pub(crate) counted: Fingerprint,
    /// What is to be written; nothing where the slot stays as it is.
    pub(crate) changes: Vec<Change>,
}

/// An entry that changes: the key's own, which another was pushed out of perhaps, or one that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    index: usize,
    before: Entry,
    after: Entry,
}

impl Entry {
    fn read(bytes: &[u8]) -> Self {
        let Some((key, used)) = bytes.split_first_chunk() else {
            return Self::default();
        };
        Self {
            key: Fingerprint(*key),
            used: Used::read(used),
        }
    }
}

/// Whether an entry is that key's.
fn is_of(bytes: &[u8], key: Fingerprint) -> bool {
    bytes.first_chunk() == Some(&key.0)
}

impl Charged {
    /// What would be left had the request cost nothing.
    pub(crate) fn uncharged(&self, quota: &dyn Counting, now: Timestamp) -> Decision {
        let own = self
            .changes
            .iter()
            .find(|change| change.after.key == self.counted);
        match (self.decision.charged, own) {
            (Some(_), Some(own)) => quota.charge(&mut own.used_before(), 0, now),
            (None, _) | (_, None) => self.decision,
        }
    }
}

impl Change {
    /// What its key had used; an entry that was another's it had not used.
    fn used_before(&self) -> Used {
        if self.before.key == self.after.key {
            self.before.used
        } else {
            Used::default()
        }
    }
}

/// Bytes of a record of that form.
pub(crate) const fn length(form: Form) -> usize {
    entry_size(form).saturating_mul(WAYS).saturating_add(1)
}

const fn entry_size(form: Form) -> usize {
    KEY.saturating_add(form.size())
}

/// Says in a record that is all zero of which form it is.
pub(crate) fn begin(record: &mut [u8], form: Form) {
    if let Some(mark) = record.first_mut() {
        *mark = form.mark();
    }
}

/// Writes changes into a record.
pub(crate) fn write(record: &mut [u8], form: Form, changes: &[Change]) {
    begin(record, form);
    let entries = record.get_mut(1..).unwrap_or_default();
    for Change { index, after, .. } in changes {
        let mut entries = entries.chunks_exact_mut(entry_size(form));
        if let Some((key, used)) = entries.nth(*index).and_then(|e| e.split_first_chunk_mut()) {
            *key = after.key.0;
            after.used.write(used);
        }
    }
}

impl<'a> Bucket<'a> {
    /// The keys of a record.
    pub(crate) fn of(record: &'a [u8], form: Form) -> Self {
        Self {
            form,
            entries: record.get(1..).unwrap_or_default(),
        }
    }

    /// What becomes of a request. A refusal changes nothing, but for the first of a clock that was set
    /// back: from when on that time's counts run must be known. What costs nothing changes nothing.
    pub(crate) fn charge(&self, ask: &Ask<'_>) -> Charged {
        let Ask {
            key,
            quota,
            cost,
            now,
            ..
        } = *ask;
        let found = self.find(key);
        let is_past = found.is_some_and(|(_, own)| quota.precedes(now, &own.used));
        let (counted, found) = if is_past {
            (key.in_the_past(), self.find(key.in_the_past()))
        } else {
            (key, found)
        };
        let is_new = found.is_none();
        let (index, before) = found.unwrap_or_else(|| self.weakest(counted, ask));
        let mut used = if is_new { Used::default() } else { before.used };
        let begins_past = is_past && (is_new || quota.precedes(now, &used));
        if begins_past {
            used = quota.exhausted(now);
        }
        let decision = quota.charge(&mut used, cost, now);
        let mut charged = Charged {
            decision,
            counted,
            evicted: false,
            changes: Vec::new(),
        };
        if cost > 0 && (decision.charged.is_some() || begins_past) {
            charged.evicted = is_new && quota.idle_at(&before.used) > now;
            let after = Entry { key: counted, used };
            charged.changes = vec![Change {
                index,
                before,
                after,
            }];
            if !is_past {
                // The clock is right again: what was counted while it was not is over.
                let over = self.forget(key.in_the_past());
                let over = over.filter(|change| change.index != index);
                charged.changes.extend(over);
            }
        }
        charged
    }

    /// Takes a charge back.
    ///
    /// Where the charge is the last thing that became of the entries that it changed, they are what
    /// they were, one that was pushed out among them. Where others of its key have come since, it is
    /// taken off what is there; where that leaves nothing used, the entry makes room as if it had
    /// never been.
    pub(crate) fn give_back(&self, charged: &Charged, ask: &Ask<'_>) -> Vec<Change> {
        let Some(number) = charged.decision.charged else {
            return Vec::new();
        };
        let is_untouched = |change: &Change| {
            let entry = self.entries().nth(change.index);
            entry.is_some_and(|(_, entry)| entry == change.after)
        };
        let whole = charged.changes.iter().all(is_untouched);
        let undo = |(index, before): (usize, Entry)| {
            let change = charged.changes.iter().find(|change| change.index == index);
            let restored = change.map(|change| change.before).filter(|restored| {
                // One that was pushed out may have come back as another entry.
                restored.key == charged.counted || self.find(restored.key).is_none()
            });
            let restored = restored.unwrap_or_default();
            let after = if whole {
                change.map(|_| restored)?
            } else if before.key == charged.counted {
                let mut used = before.used;
                ask.quota.give_back(&mut used, number, ask.cost, ask.now);
                match ask.quota.is_unused(&used, ask.now) {
                    false => Entry { used, ..before },
                    true if restored.key == charged.counted => Entry::default(),
                    true => restored,
                }
            } else {
                return None;
            };
            (after != before).then_some(Change {
                index,
                before,
                after,
            })
        };
        self.entries().filter_map(undo).collect()
    }

    /// Changes what a key has used, if anything is known of it. Where that leaves nothing, the entry makes room.
    pub(crate) fn changed(&self, ask: &Ask<'_>, change: impl FnOnce(&mut Used)) -> Option<Change> {
        let (index, before) = self.find(ask.key)?;
        let mut used = before.used;
        change(&mut used);
        let after = match ask.quota.is_unused(&used, ask.now) {
            true => Entry::default(),
            false => Entry { used, ..before },
        };
        (after != before).then_some(Change {
            index,
            before,
            after,
        })
    }

    /// Writes what a key has used, whether anything is known of it or not; and whether a key that still limited someone makes room.
    pub(crate) fn put(&self, ask: &Ask<'_>, put: impl FnOnce(&mut Used)) -> (Change, bool) {
        let (index, before) = self
            .find(ask.key)
            .unwrap_or_else(|| self.weakest(ask.key, ask));
        let is_new = before.key != ask.key;
        let mut used = match is_new {
            true => Used::default(),
            false => before.used,
        };
        put(&mut used);
        let change = Change {
            index,
            before,
            after: Entry { key: ask.key, used },
        };
        (change, is_new && ask.quota.idle_at(&before.used) > ask.now)
    }

    /// What a key has used; `None` where it has used nothing.
    pub(crate) fn used(&self, key: Fingerprint) -> Option<Used> {
        let (_, entry) = self.find(key)?;
        (entry != Entry::default()).then_some(entry.used)
    }

    /// Forgets what a key has used.
    pub(crate) fn without(&self, key: Fingerprint) -> Vec<Change> {
        let past = self.forget(key.in_the_past());
        self.forget(key).chain(past).collect()
    }

    fn entries(&self) -> impl Iterator<Item = (usize, Entry)> + use<'a> {
        self.bytes()
            .map(|(index, bytes)| (index, Entry::read(bytes)))
    }

    fn find(&self, key: Fingerprint) -> Option<(usize, Entry)> {
        let (index, bytes) = self.bytes().find(|(_, bytes)| is_of(bytes, key))?;
        Some((index, Entry::read(bytes)))
    }

    fn forget(&self, key: Fingerprint) -> impl Iterator<Item = Change> + use<'a> {
        let of_key = self.bytes().filter(move |(_, bytes)| is_of(bytes, key));
        of_key.map(|(index, bytes)| Change {
            index,
            before: Entry::read(bytes),
            after: Entry::default(),
        })
    }

    /// The bytes of each entry, with its index.
    fn bytes(&self) -> impl Iterator<Item = (usize, &'a [u8])> + use<'a> {
        self.entries.chunks_exact(entry_size(self.form)).enumerate()
    }

    /// The entry that makes room for a newcomer.
    ///
    /// That is the one that expires first; of several, one that was used least; of several, one that
    /// depends on the newcomer, so that newcomers do not drive one another out. What counts for longer
    /// than any count can (`horizon`) is of a clock that was wrong. The key that is asked for, whose
    /// newcomer may be of another time, does not make room.
    fn weakest(&self, newcomer: Fingerprint, ask: &Ask<'_>) -> (usize, Entry) {
        let Ask { quota, now, .. } = *ask;
        let worth = |(index, entry): &(usize, Entry)| {
            let idle_at = quota.idle_at(&entry.used);
            let idle_at = if idle_at > ask.horizon {
                Timestamp::default()
            } else {
                idle_at
            };
            let rotated = index.saturating_add(newcomer.salt()).checked_rem(WAYS);
            (idle_at.max(now), quota.amount(&entry.used), rotated)
        };
        let others = self.entries().filter(|(_, entry)| entry.key != ask.key);
        others.min_by_key(worth).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
