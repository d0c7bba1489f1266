//! The shared data of a gateway process, in the dialect of either gateway.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::Dialect;

/// Shared data. A clone is a handle to the same data, so two hosts may be given one zone.
///
/// Envoy: looked up by the full key, never evicted, copied under a mutex; versions come from one counter of the
/// process, never 0; a write with version 0 overwrites, and a write to an absent key succeeds whatever version it
/// names.
///
/// Kong: looked up by the CRC32 of the key and nothing else, so keys of equal CRC32 share a slot; versions count from 1
/// in each slot and start again after deletion or eviction; a write must name the current version, 0 for an absent
/// key; a read may be torn, since the value is copied after unlocking.
#[derive(Clone)]
pub struct Zone {
    inner: Arc<Mutex<Inner>>,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetResult {
    /// Written.
    Stored,
    /// Refused: the version named is not the one that is there.
    CasMismatch,
    /// Kong: the zone is full and evicts nothing, which traps the filter.
    Full,
    /// Kong: the value outgrew the memory of its slot, which has crashed workers.
    Overflow,
}

impl Zone {
    /// An empty zone.
    pub fn new(dialect: Dialect) -> Zone {
        let inner = Inner {
            dialect,
            slots: HashMap::new(),
            recent: BTreeMap::new(),
            uses: 0,
            next_cas: 1,
            capacity: None,
            evicts: true,
            torn: 0.0,
            torn_reads: 0,
            entropy: ChaCha8Rng::seed_from_u64(0),
            between: VecDeque::new(),
        };
        Zone {
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    /// From now on a read by a filter is torn with this probability (0 to 1), drawn from the seed: it mixes the value
    /// with the one before it and reports the older version. Kong only; Envoy copies under its mutex.
    pub fn tear_reads(&self, probability: f64, seed: u64) {
        let mut inner = self.lock();
        inner.torn = probability;
        inner.entropy = ChaCha8Rng::seed_from_u64(seed);
    }

    /// Kong: room for `entries`; beyond that the least recently used one is evicted. Envoy has no bound and ignores it.
    pub fn set_capacity(&self, entries: usize) {
        let mut inner = self.lock();
        inner.capacity = Some(entries);
        inner.evicts = true;
    }

    /// Kong: room for `entries` and no eviction (`eviction=none`): a write that needs another slot traps.
    pub fn set_capacity_without_eviction(&self, entries: usize) {
        let mut inner = self.lock();
        inner.capacity = Some(entries);
        inner.evicts = false;
    }

    /// Runs `other` just before the next write by a filter: what another worker does between a filter's read and its
    /// write. Each call queues one such moment.
    pub fn before_next_set(&self, other: impl FnOnce(&Zone) + Send + 'static) {
        self.lock().between.push_back(Box::new(other));
    }

    /// Takes the entry away, as eviction would. Kong's next version of it is 1 again.
    pub fn evict(&self, key: &str) -> bool {
        let mut inner = self.lock();
        let slot = inner.slot(key.as_bytes());
        inner.forget(&slot)
    }

    /// Takes every entry away, as a reload of Kong does.
    pub fn clear(&self) {
        let mut inner = self.lock();
        inner.slots.clear();
        inner.recent.clear();
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.lock().slots.len()
    }

    /// True if there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of all keys and values.
    pub fn bytes(&self) -> usize {
        let inner = self.lock();
        inner
            .slots
            .values()
            .map(|entry| entry.key.len() + entry.value.len())
            .sum()
    }

    /// The keys, as last created. On Kong one of several that share a slot.
    pub fn keys(&self) -> Vec<String> {
        let inner = self.lock();
        inner
            .slots
            .values()
            .map(|entry| String::from_utf8_lossy(&entry.key).into_owned())
            .collect()
    }

    /// How many reads were torn so far.
    pub fn torn_reads(&self) -> u64 {
        self.lock().torn_reads
    }

    /// Value and version, untorn.
    pub fn get(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        let inner = self.lock();
        inner
            .slots
            .get(&inner.slot(key.as_bytes()))
            .map(|entry| (entry.value.clone(), entry.cas))
    }

    /// Writes as a filter would, with the version it names.
    pub fn set(&self, key: &str, value: &[u8], cas: u32) -> SetResult {
        self.lock().set(key.as_bytes(), value, cas)
    }

    /// Overwrites whatever is there, in either dialect.
    pub fn put(&self, key: &str, value: &[u8]) -> SetResult {
        let mut inner = self.lock();
        let slot = inner.slot(key.as_bytes());
        let cas = inner.slots.get(&slot).map_or(0, |entry| entry.cas);
        inner.set(key.as_bytes(), value, cas)
    }

    /// As a filter reads: perhaps torn, and a use of the entry.
    pub fn filter_get(&self, key: &[u8]) -> Option<(Vec<u8>, u32)> {
        self.lock().read(key)
    }

    /// As a filter writes.
    pub fn filter_set(&self, key: &[u8], value: &[u8], cas: u32) -> SetResult {
        // Taken out first: the closure uses the zone, which must not be locked then.
        let other = self.lock().between.pop_front();
        if let Some(other) = other {
            other(self);
        }
        self.lock().set(key, value, cas)
    }

    /// Kong reads a null value as a deletion. An absent key can't be deleted: that is a mismatch.
    pub fn filter_delete(&self, key: &[u8], cas: u32) -> SetResult {
        let mut inner = self.lock();
        let slot = inner.slot(key);
        match inner.slots.get(&slot) {
            Some(entry) if entry.cas == cas => {
                inner.forget(&slot);
                SetResult::Stored
            }
            _ => SetResult::CasMismatch,
        }
    }

    /// Its dialect.
    pub fn dialect(&self) -> Dialect {
        self.lock().dialect
    }

    /// A panic in one test thread must not hide the zone from the others.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Zone")
            .field("keys", &self.keys())
            .finish_non_exhaustive()
    }
}

/// What another worker does between two accesses of this one.
type Moment = Box<dyn FnOnce(&Zone) + Send>;

struct Inner {
    dialect: Dialect,
    slots: HashMap<Vec<u8>, Entry>,
    /// Slots by when they were last used. Kong touches on reads too.
    recent: BTreeMap<u64, Vec<u8>>,
    uses: u64,
    /// Envoy's one counter.
    next_cas: u32,
    capacity: Option<usize>,
    evicts: bool,
    torn: f64,
    torn_reads: u64,
    entropy: ChaCha8Rng,
    between: VecDeque<Moment>,
}

struct Entry {
    key: Vec<u8>,
    value: Vec<u8>,
    cas: u32,
    /// Bytes of the allocation: Kong writes a new value into the old memory.
    room: usize,
    before: Option<(Vec<u8>, u32)>,
    used: u64,
}

impl Inner {
    /// What tells entries apart: the key itself, or on Kong its CRC32 alone.
    fn slot(&self, key: &[u8]) -> Vec<u8> {
        match self.dialect {
            Dialect::Envoy => key.to_vec(),
            Dialect::Kong => crc32fast::hash(key).to_be_bytes().to_vec(),
        }
    }

    fn read(&mut self, key: &[u8]) -> Option<(Vec<u8>, u32)> {
        let slot = self.slot(key);
        self.touch(&slot);
        let entry = self.slots.get(&slot)?;
        if self.dialect == Dialect::Kong && self.torn > 0.0 {
            // Drawn for every read, so that what one test writes does not shift the draws of its neighbours.
            let draw = self.entropy.next_u32();
            let cut = self.entropy.next_u32();
            if let Some((old, old_cas)) = &entry.before
                && f64::from(draw) < self.torn * (f64::from(u32::MAX) + 1.0)
            {
                let mixed = tear(old, &entry.value, cut);
                let found = (mixed, *old_cas);
                self.torn_reads += 1;
                return Some(found);
            }
        }
        Some((entry.value.clone(), entry.cas))
    }

    fn set(&mut self, key: &[u8], value: &[u8], cas: u32) -> SetResult {
        let slot = self.slot(key);
        match self.dialect {
            Dialect::Envoy => self.set_envoy(slot, key, value, cas),
            Dialect::Kong => self.set_kong(slot, key, value, cas),
        }
    }

    fn set_envoy(&mut self, slot: Vec<u8>, key: &[u8], value: &[u8], cas: u32) -> SetResult {
        if let Some(entry) = self.slots.get(&slot)
            && cas != 0
            && cas != entry.cas
        {
            return SetResult::CasMismatch;
        }
        let version = self.next_cas;
        // 0 is not a version: it means overwrite.
        self.next_cas = self.next_cas.checked_add(1).unwrap_or(1);
        self.slots.insert(slot, Entry::new(key, value, version));
        SetResult::Stored
    }

    fn set_kong(&mut self, slot: Vec<u8>, key: &[u8], value: &[u8], cas: u32) -> SetResult {
        let Some(entry) = self.slots.get_mut(&slot) else {
            if cas != 0 {
                return SetResult::CasMismatch;
            }
            while self
                .capacity
                .is_some_and(|capacity| self.slots.len() >= capacity)
            {
                let oldest = self.recent.values().next().cloned();
                match oldest {
                    Some(oldest) if self.evicts => self.forget(&oldest),
                    _ => return SetResult::Full,
                };
            }
            self.slots.insert(slot.clone(), Entry::new(key, value, 1));
            self.touch(&slot);
            return SetResult::Stored;
        };
        if cas != entry.cas {
            return SetResult::CasMismatch;
        }
        // The module makes a new allocation only if the key is longer than the old value; else it writes in place.
        if key.len() > entry.value.len() {
            entry.room = value.len();
        } else if value.len() > entry.room {
            return SetResult::Overflow;
        }
        let old = std::mem::replace(&mut entry.value, value.to_vec());
        entry.before = Some((old, entry.cas));
        entry.cas = entry.cas.wrapping_add(1);
        self.touch(&slot);
        SetResult::Stored
    }

    fn touch(&mut self, slot: &[u8]) {
        if let Some(entry) = self.slots.get_mut(slot) {
            self.recent.remove(&entry.used);
            self.uses += 1;
            entry.used = self.uses;
            self.recent.insert(self.uses, slot.to_vec());
        }
    }

    fn forget(&mut self, slot: &[u8]) -> bool {
        match self.slots.remove(slot) {
            Some(entry) => {
                self.recent.remove(&entry.used);
                true
            }
            None => false,
        }
    }
}

impl Entry {
    fn new(key: &[u8], value: &[u8], cas: u32) -> Entry {
        Entry {
            key: key.to_vec(),
            value: value.to_vec(),
            cas,
            room: value.len(),
            before: None,
            used: 0,
        }
    }
}

/// The new value up to a cut and the old one after it: what a reader copies while a writer is at work.
fn tear(old: &[u8], new: &[u8], cut: u32) -> Vec<u8> {
    let cut = (cut as usize).checked_rem(new.len()).unwrap_or(0);
    let mut mixed = new.to_vec();
    for (at, byte) in mixed.iter_mut().enumerate().skip(cut) {
        if let Some(older) = old.get(at) {
            *byte = *older;
        }
    }
    mixed
}

#[cfg(test)]
mod tests;
