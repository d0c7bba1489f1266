//! The table of keys: a fixed number of slots, each with room for a few keys.
//!
//! A key lives in the slot that its fingerprint names (a set-associative cache). When that slot is
//! full, the key that stops to matter first makes room.

use portcullis_policy::{
    Layout, Reader, SharedStore, SlotError, SlotKey, Span, Step, Timestamp, Writer, create, read,
    update,
};

use crate::hash_key::HASH_KEY_NAME;
use crate::key::Fingerprint;
use crate::quota::{Decision, Quota, Used};

/// Keys in a slot. More of them make evictions rarer and each access dearer. With eight, and keys
/// that fall evenly (a Poisson distribution), about one key in 120 finds its slot full in a table
/// that is half full, and one in 6,800 in one that is a quarter full.
const WAYS: usize = 8;

/// Where keys are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table {
    slots: u32,
    /// No count matters for longer than this.
    longest: Span,
}

/// What became of a request, and of the key that made room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Charged {
    pub(crate) decision: Decision,
    /// Under what it is counted: the key itself, or [`Fingerprint::in_the_past`].
    pub(crate) counted: Fingerprint,
    /// A key that still limited someone was forgotten.
    pub(crate) evicted: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Entry {
    fingerprint: Fingerprint,
    used: Used,
    /// From then on the entry limits nobody; the epoch for an empty one.
    idle_at: Timestamp,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Bucket([Entry; WAYS]);

impl Table {
    /// A table with room for `capacity` keys at least, of limits whose counts matter for `longest` at
    /// most.
    pub(crate) fn new(capacity: u32, longest: Span) -> Self {
        let ways = u32::try_from(WAYS).unwrap_or(1);
        Self {
            slots: capacity.div_ceil(ways.max(1)).max(1),
            longest,
        }
    }

    /// Lays all slots out, so that memory is taken when the configuration is read and not when
    /// clients come, and no two workers make one slot. The first worker does it; the others see that
    /// it is done.
    pub(crate) fn lay_out(&self, store: &dyn SharedStore) -> Result<(), SlotError> {
        let mark = SlotKey::new::<LaidOut>(LAID_OUT_NAME);
        let done = read::<LaidOut>(store, &mark)?.map_or(0, |done| done.0);
        for slot in done..self.slots {
            let key = SlotKey::new::<Bucket>(slot_name(slot));
            create(store, &key, &Bucket::default())?;
        }
        update(store, &mark, |done: Option<&LaidOut>| match done {
            Some(done) if done.0 >= self.slots => Step::Keep(()),
            Some(_) | None => Step::Write(LaidOut(self.slots), ()),
        })
    }

    /// Charges a request of `key` to its quota. One that costs nothing leaves all as it is.
    pub(crate) fn charge(
        &self,
        store: &dyn SharedStore,
        key: Fingerprint,
        quota: &Quota,
        cost: u32,
        now: Timestamp,
    ) -> Result<Charged, SlotError> {
        let horizon = now.after(self.longest);
        update(store, &self.slot_of(key), |stored: Option<&Bucket>| {
            let stored = stored.cloned().unwrap_or_default();
            let mut bucket = stored.clone();
            let is_past = stored
                .find(key)
                .is_some_and(|own| quota.precedes(now, &own.used));
            let original = key;
            let key = if is_past { key.in_the_past() } else { key };
            let is_new = stored.find(key).is_none();
            let (entry, evicted) = bucket.entry(key, original, now, horizon);
            if is_past && (is_new || quota.precedes(now, &entry.used)) {
                entry.used = quota.exhausted(now);
            }
            let (decision, used) = quota.charge(entry.used, cost, now);
            entry.used = used;
            entry.idle_at = quota.idle_at(&used);
            if !is_past {
                // The clock is right again: what was counted while it was not is over.
                bucket.forget(key.in_the_past());
            }
            let changed =
                decision.charged.is_some() || stored.find(key).map(|own| own.used) != Some(used);
            let charged = Charged {
                decision,
                counted: key,
                evicted,
            };
            if changed && cost > 0 {
                Step::Write(bucket, charged)
            } else {
                // A refusal that changes nothing needs no write: an attacker's flood stays cheap.
                let evicted = false;
                Step::Keep(Charged { evicted, ..charged })
            }
        })
    }

    /// Gives back what `key` was charged.
    pub(crate) fn give_back(
        &self,
        store: &dyn SharedStore,
        key: Fingerprint,
        charged: &Charged,
        quota: &Quota,
        (cost, now): (u32, Timestamp),
    ) -> Result<(), SlotError> {
        let Some(window) = charged.decision.charged.filter(|_| cost > 0) else {
            return Ok(());
        };
        update(store, &self.slot_of(key), |bucket: Option<&Bucket>| {
            let mut bucket = bucket.cloned().unwrap_or_default();
            let before = bucket.clone();
            for entry in &mut bucket.0 {
                if entry.fingerprint == charged.counted {
                    entry.used = quota.give_back(entry.used, window, cost, now);
                    entry.idle_at = quota.idle_at(&entry.used);
                }
            }
            if bucket == before {
                Step::Keep(())
            } else {
                Step::Write(bucket, ())
            }
        })
    }

    /// The keys of shared data that the table and the key of its hash use.
    pub(crate) fn slot_names(&self) -> impl Iterator<Item = String> {
        (0..self.slots)
            .map(slot_name)
            .chain([HASH_KEY_NAME.to_owned(), LAID_OUT_NAME.to_owned()])
    }

    fn slot_of(&self, key: Fingerprint) -> SlotKey {
        SlotKey::new::<Bucket>(slot_name(key.slot(self.slots)))
    }
}

impl Bucket {
    fn find(&self, key: Fingerprint) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.fingerprint == key)
    }

    fn forget(&mut self, key: Fingerprint) {
        for entry in &mut self.0 {
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
    fn entry(
        &mut self,
        key: Fingerprint,
        kept: Fingerprint,
        now: Timestamp,
        horizon: Timestamp,
    ) -> (&mut Entry, bool) {
        let own = self.0.iter().position(|entry| entry.fingerprint == key);
        let place = own.unwrap_or_else(|| {
            let worth = |(place, entry): &(usize, &Entry)| {
                let idle_at = if entry.idle_at > horizon {
                    Timestamp::default()
                } else {
                    entry.idle_at
                };
                let used = entry.used.current.saturating_add(entry.used.previous);
                let rotated = place.saturating_add(key.salt()).checked_rem(WAYS);
                (idle_at.max(now), used, rotated)
            };
            let others = self.0.iter().enumerate();
            let others = others.filter(|(_, entry)| entry.fingerprint != kept);
            let least = others.min_by_key(worth);
            least.map_or(0, |(place, _)| place)
        });
        let Self([first, rest @ ..]) = self;
        let entry = match place.checked_sub(1).and_then(|place| rest.get_mut(place)) {
            Some(entry) => entry,
            None => first,
        };
        let mut evicted = false;
        if own.is_none() {
            evicted = entry.idle_at > now;
            *entry = Entry {
                fingerprint: key,
                ..Entry::default()
            };
        }
        (entry, evicted)
    }
}

/// A slot's key in shared data. The number is written in four characters: CRC32 tells any two
/// texts apart that differ in a run of 32 bits only, so that Kong takes no slot for another.
fn slot_name(slot: u32) -> String {
    const DIGITS: [char; 32] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h',
        'i', 'j', 'k', 'l', 'm', 'n', 'o', 'p', 'q', 'r', 's', 't', 'u', 'v',
    ];
    let mut name = String::with_capacity(32);
    name.push_str("portcullis/rate_limit/");
    for shift in [15, 10, 5, 0] {
        let digit = usize::try_from(slot.checked_shr(shift).unwrap_or(0) & 31).unwrap_or(0);
        name.push(DIGITS.get(digit).copied().unwrap_or('0'));
    }
    name
}

impl Layout for Bucket {
    const FORMAT: &'static str = "rate_limit/bucket/1";

    fn encode(&self, to: &mut Writer) {
        for entry in &self.0 {
            to.bytes(&entry.fingerprint.0);
            to.u64(entry.used.at);
            to.u32(entry.used.current);
            to.u32(entry.used.previous);
            to.u64(entry.idle_at.unix_nanos());
        }
    }

    fn decode(from: &mut Reader<'_>) -> Option<Self> {
        let mut bucket = Self::default();
        for entry in &mut bucket.0 {
            entry.fingerprint = Fingerprint(from.array()?);
            entry.used.at = from.u64()?;
            entry.used.current = from.u32()?;
            entry.used.previous = from.u32()?;
            entry.idle_at = Timestamp::from_unix_nanos(from.u64()?);
        }
        Some(bucket)
    }
}

const LAID_OUT_NAME: &str = "portcullis/rate_limit/laid_out";

/// How many slots there are.
#[derive(Clone, Copy, Debug)]
struct LaidOut(u32);

impl Layout for LaidOut {
    const FORMAT: &'static str = "rate_limit/laid_out/1";

    fn encode(&self, to: &mut Writer) {
        to.u32(self.0);
    }

    fn decode(from: &mut Reader<'_>) -> Option<Self> {
        from.u32().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use portcullis_policy::colliding;

    use super::*;
    use crate::config::Algorithm;

    #[test]
    fn kong_takes_no_slot_for_another() {
        let names: Vec<String> = Table::new(1_000_000, Span::ZERO).slot_names().collect();
        assert_eq!(names.len(), 125_002);
        assert_eq!(colliding(names.iter().map(String::as_str)), None);
    }

    #[test]
    fn a_full_bucket_gives_up_the_key_that_stops_to_matter_first() {
        let quota = Quota {
            algorithm: Algorithm::FixedWindow,
            quota: 5,
            window: Span::from_secs(60),
            burst: 5,
        };
        let mut bucket = Bucket::default();
        let start = Timestamp::from_unix_secs(1_767_254_400);
        let horizon = start.after(Span::from_secs(86_400));
        for key in 0..8_u8 {
            let now = start.after(Span::from_secs(60 * u64::from(key)));
            let (entry, evicted) = bucket.entry(
                Fingerprint([key + 1; 16]),
                Fingerprint([key + 1; 16]),
                now,
                horizon,
            );
            assert!(!evicted);
            entry.used = quota.charge(entry.used, 1, now).1;
            entry.idle_at = quota.idle_at(&entry.used);
        }
        let late = start.after(Span::from_secs(60));
        assert!(
            !bucket
                .clone()
                .entry(Fingerprint([9; 16]), Fingerprint([9; 16]), late, horizon)
                .1,
            "the first key's window is over"
        );
        let (entry, evicted) =
            bucket.entry(Fingerprint([9; 16]), Fingerprint([9; 16]), start, horizon);
        assert!(evicted);
        assert_eq!(entry.used, Used::default());
        assert!(
            !bucket
                .0
                .iter()
                .any(|entry| entry.fingerprint == Fingerprint([1; 16]))
        );
    }
}
