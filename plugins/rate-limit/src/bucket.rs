//! What a slot holds: a few keys, each with what it has used.

use portcullis_policy::{Layout, Reader, Timestamp, Writer};

use crate::key::Fingerprint;
use crate::quota::{Count, Decision, Form, Log, Quota, Used};

/// Keys in a slot. More of them make evictions rarer and each access dearer. With eight, and keys
/// that fall evenly (a Poisson distribution), about one key in 120 finds its slot full in a table
/// that is half full, and one in 6,800 in one that is a quarter full.
pub(crate) const WAYS: usize = 8;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Entry {
    fingerprint: Fingerprint,
    used: Used,
}

/// A slot's keys, all of one form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bucket {
    form: Form,
    entries: [Entry; WAYS],
}

/// A request, as a limit's slot is asked for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) key: Fingerprint,
    pub(crate) quota: &'a Quota,
    pub(crate) cost: u32,
    pub(crate) now: Timestamp,
    /// What matters for longer than that is of a clock that was wrong.
    pub(crate) horizon: Timestamp,
}

/// What a slot makes of a request.
#[derive(Clone, Debug)]
pub(crate) struct Charged {
    pub(crate) decision: Decision,
    /// What the key had used before.
    pub(crate) before: Used,
    /// A key that still limited someone was forgotten.
    pub(crate) evicted: bool,
    /// Under what it is counted: the key itself, or [`Fingerprint::in_the_past`].
    counted: Fingerprint,
    /// What the slot holds in other words then.
    changes: Vec<Change>,
}

/// An entry that a charge changed: what it was pushed out is among them, or the key's own.
#[derive(Clone, Copy, Debug)]
struct Change {
    place: usize,
    before: Entry,
    after: Entry,
}

impl Bucket {
    pub(crate) fn new(form: Form) -> Self {
        Self {
            form,
            entries: Default::default(),
        }
    }

    /// Asks for a request: what becomes of it, and the slot as it is then; `None` where nothing is to
    /// be written. A refusal writes nothing, but for the first of a clock that was set back: from
    /// when on that time's counts run must be known. What costs nothing writes nothing.
    pub(crate) fn charge(&self, ask: &Ask<'_>) -> (Charged, Option<Self>) {
        let Ask {
            key: original,
            quota,
            cost,
            now,
            ..
        } = *ask;
        if self.form != quota.form() {
            // They have names of their own: what is there is not ours, and limits nobody.
            return Self::new(quota.form()).charge(ask);
        }
        let mut bucket = self.clone();
        let is_past = self
            .find(original)
            .is_some_and(|own| quota.precedes(now, &own.used));
        let key = if is_past {
            original.in_the_past()
        } else {
            original
        };
        let is_new = self.find(key).is_none();
        let (entry, evicted) = bucket.entry(key, original, ask);
        let begins_past = is_past && (is_new || quota.precedes(now, &entry.used));
        if begins_past {
            entry.used = quota.exhausted(now);
        }
        let before = entry.used;
        let (decision, used) = quota.charge(before, cost, now);
        entry.used = used;
        if !is_past {
            // The clock is right again: what was counted while it was not is over.
            bucket.forget(key.in_the_past());
        }
        let writes = cost > 0 && (decision.charged.is_some() || begins_past);
        let charged = Charged {
            decision,
            before,
            counted: key,
            evicted: evicted && writes,
            changes: if writes {
                self.changes_to(&bucket)
            } else {
                Vec::new()
            },
        };
        (charged, writes.then_some(bucket))
    }

    /// Takes a charge back; `None` where nothing is to be written.
    ///
    /// Where the charge is the last thing that became of the entries that it changed, they are what
    /// they were, one that was pushed out among them. Where others of its key have come since, it is
    /// taken off what is there; where that leaves nothing used, the entry makes room as if it had
    /// never been.
    pub(crate) fn give_back(&self, charged: &Charged, ask: &Ask<'_>) -> Option<Self> {
        let number = charged.decision.charged?;
        let mut bucket = self.clone();
        let untouched = |change: &Change| self.entries.get(change.place) == Some(&change.after);
        let whole = charged.changes.iter().all(untouched);
        for (place, entry) in bucket.entries.iter_mut().enumerate() {
            let change = charged.changes.iter().find(|change| change.place == place);
            let restored = change.map(|change| change.before).filter(|before| {
                // One that was pushed out may have come back in another place.
                before.fingerprint == charged.counted || self.find(before.fingerprint).is_none()
            });
            let restored = restored.unwrap_or_default();
            if whole {
                if change.is_some() {
                    *entry = restored;
                }
            } else if entry.fingerprint == charged.counted {
                entry.used = ask.quota.give_back(entry.used, number, ask.cost, ask.now);
                if ask.quota.is_unused(&entry.used, ask.now) {
                    *entry = if restored.fingerprint == charged.counted {
                        Entry::default()
                    } else {
                        restored
                    };
                }
            }
        }
        (bucket != *self).then_some(bucket)
    }

    /// What a key has used; `None` where it has used nothing.
    pub(crate) fn used(&self, key: Fingerprint) -> Option<Used> {
        self.find(key).map(|entry| entry.used)
    }

    /// The slot without what a key has used; `None` where that is nothing.
    pub(crate) fn without(&self, key: Fingerprint) -> Option<Self> {
        let mut bucket = self.clone();
        bucket.forget(key);
        bucket.forget(key.in_the_past());
        (bucket != *self).then_some(bucket)
    }

    fn changes_to(&self, next: &Self) -> Vec<Change> {
        let pairs = self.entries.iter().zip(&next.entries).enumerate();
        let changes = pairs.filter(|(_, (before, after))| before != after);
        changes
            .map(|(place, (before, after))| Change {
                place,
                before: *before,
                after: *after,
            })
            .collect()
    }

    fn find(&self, key: Fingerprint) -> Option<&Entry> {
        self.entries
            .iter()
            .find(|entry| entry.fingerprint == key && **entry != Entry::default())
    }

    fn forget(&mut self, key: Fingerprint) {
        for entry in &mut self.entries {
            if entry.fingerprint == key {
                *entry = Entry::default();
            }
        }
    }

    /// The key's entry: its own, or one that made room. Says whether that one still mattered.
    ///
    /// Room is made by the entry that stops to matter first; of several, by one that was used
    /// least; of several, by one that depends on the newcomer, so that newcomers do not drive one
    /// another out. What matters for longer than any count can (`horizon`) is of a clock that was
    /// wrong. `kept` does not make room.
    fn entry(&mut self, key: Fingerprint, kept: Fingerprint, ask: &Ask<'_>) -> (&mut Entry, bool) {
        let Ask { quota, now, .. } = *ask;
        let mut entries = self.entries.iter();
        let own = entries.position(|entry| entry.fingerprint == key);
        let place = own.unwrap_or_else(|| {
            let worth = |(place, entry): &(usize, &Entry)| {
                let idle_at = quota.idle_at(&entry.used);
                let idle_at = if idle_at > ask.horizon {
                    Timestamp::default()
                } else {
                    idle_at
                };
                let used = entry.used.amount();
                let rotated = place.saturating_add(key.salt()).checked_rem(WAYS);
                (idle_at.max(now), used, rotated)
            };
            let others = self.entries.iter().enumerate();
            let others = others.filter(|(_, entry)| entry.fingerprint != kept);
            let least = others.min_by_key(worth);
            least.map_or(0, |(place, _)| place)
        });
        let [first, rest @ ..] = &mut self.entries;
        let entry = match place.checked_sub(1).and_then(|place| rest.get_mut(place)) {
            Some(entry) => entry,
            None => first,
        };
        let mut evicted = false;
        if own.is_none() {
            evicted = quota.idle_at(&entry.used) > now;
            *entry = Entry {
                fingerprint: key,
                ..Entry::default()
            };
        }
        (entry, evicted)
    }
}

/// Each limit's slots are of one form, and so of one size.
impl Layout for Bucket {
    const FORMAT: &'static str = "rate_limit/bucket/2";

    fn encode(&self, to: &mut Writer) {
        to.u8(match self.form {
            Form::Count => 0,
            Form::Log => 1,
        });
        for Entry { fingerprint, used } in &self.entries {
            to.bytes(&fingerprint.0);
            match self.form {
                Form::Count => {
                    let count = used.count();
                    to.u64(count.at);
                    to.u32(count.current);
                    to.u32(count.previous);
                }
                Form::Log => used.log().encode(to),
            }
        }
    }

    fn decode(from: &mut Reader<'_>) -> Option<Self> {
        let form = match from.u8()? {
            0 => Form::Count,
            1 => Form::Log,
            _ => return None,
        };
        let mut bucket = Self::new(form);
        for entry in &mut bucket.entries {
            entry.fingerprint = Fingerprint(from.array()?);
            entry.used = match form {
                Form::Count => Used::Count(Count {
                    at: from.u64()?,
                    current: from.u32()?,
                    previous: from.u32()?,
                }),
                Form::Log => Used::from(Log::decode(from)?),
            };
        }
        Some(bucket)
    }
}

#[cfg(test)]
#[path = "bucket_tests.rs"]
mod tests;
