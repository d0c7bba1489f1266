//! Tokens that were verified, so that each costs one signature check per worker.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::mem::size_of;
use std::rc::Rc;

use portcullis_policy::{Entropy, Timestamp};
use serde_json::Value;
use siphasher::sip::SipHasher13;
use subtle::ConstantTimeEq as _;

use crate::caller::Caller;
use crate::token::LONGEST;

/// Most bytes that a worker's cache takes up, as estimated by [`Entry::size`]: 4096 tokens of
/// 4 KiB each, claims included, which is more than ordinary ones need.
const BUDGET: usize = 16 << 20;

/// A bounded set of verified tokens; the oldest ones make room for new ones. Only what was
/// verified gets in, so that nobody without good tokens can push anything out.
pub(crate) struct TokenCache {
    tokens: usize,
    hash_key: OnceCell<[u8; 16]>,
    held: RefCell<Held>,
}

#[derive(Default)]
struct Held {
    by_hash: BTreeMap<u64, Entry>,
    /// Hashes in the order in which they came.
    by_age: BTreeMap<u64, u64>,
    next_age: u64,
    bytes: usize,
}

struct Entry {
    token: Box<[u8]>,
    caller: Rc<Caller>,
    age: u64,
    size: usize,
}

impl TokenCache {
    /// A cache of so many tokens.
    pub(crate) fn new(tokens: u32) -> Self {
        Self {
            tokens: usize::try_from(tokens).unwrap_or(usize::MAX),
            hash_key: OnceCell::new(),
            held: RefCell::default(),
        }
    }

    /// Whether it can hold anything.
    pub(crate) const fn is_on(&self) -> bool {
        self.tokens > 0
    }

    /// Whom the token was found to be from, if it was and still counts.
    pub(crate) fn get(
        &self,
        token: &[u8],
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Option<Rc<Caller>> {
        // Nothing of that length is ever verified, and hashing it has a price.
        if token.len() > LONGEST {
            return None;
        }
        // Whoever holds it is busy with it: going without it costs a signature check.
        let mut held = self.held.try_borrow_mut().ok()?;
        let hash = self.hash(token, entropy);
        let entry = held.by_hash.get(&hash)?;
        // A hash alone proves nothing.
        if !is_same(&entry.token, token) {
            return None;
        }
        if now >= entry.caller.expires {
            held.remove(hash);
            return None;
        }
        Some(Rc::clone(&entry.caller))
    }

    /// Remembers a token that was verified.
    pub(crate) fn put(&self, token: &[u8], caller: &Rc<Caller>, entropy: &dyn Entropy) {
        let Ok(mut held) = self.held.try_borrow_mut() else {
            return;
        };
        let hash = self.hash(token, entropy);
        held.remove(hash);
        let size = Entry::size(token, caller);
        if size > BUDGET {
            return;
        }
        while held.by_hash.len() >= self.tokens || held.bytes.saturating_add(size) > BUDGET {
            if !held.remove_oldest() {
                return;
            }
        }
        held.insert(hash, token, Rc::clone(caller), size);
    }

    /// Forgets a provider's tokens: they were verified with keys that it may no longer have.
    pub(crate) fn forget(&self, provider: usize) {
        let Ok(mut held) = self.held.try_borrow_mut() else {
            return;
        };
        let of = |entry: &Entry| entry.caller.provider == provider;
        let hashes = held.by_hash.iter().filter(|(_, entry)| of(entry));
        let hashes: Vec<u64> = hashes.map(|(hash, _)| *hash).collect();
        for hash in hashes {
            held.remove(hash);
        }
    }

    /// A keyed hash, so that nobody can choose tokens that push each other out. The key need not be
    /// a good one: what matters is decided by the token's bytes.
    fn hash(&self, token: &[u8], entropy: &dyn Entropy) -> u64 {
        let key = self.hash_key.get_or_init(|| {
            let mut key = *b"portcullis-cache";
            // What is left of the fixed key where the gateway has no random bytes will do.
            let _ = entropy.fill(&mut key);
            key
        });
        SipHasher13::new_with_key(key).hash(token)
    }
}

impl Held {
    fn insert(&mut self, hash: u64, token: &[u8], caller: Rc<Caller>, size: usize) {
        let age = self.next_age;
        // At a million tokens a second, 64 bits last for half a million years.
        self.next_age = self.next_age.wrapping_add(1);
        let entry = Entry {
            token: token.into(),
            caller,
            age,
            size,
        };
        self.bytes = self.bytes.saturating_add(size);
        self.by_age.insert(age, hash);
        self.by_hash.insert(hash, entry);
    }

    fn remove(&mut self, hash: u64) {
        if let Some(entry) = self.by_hash.remove(&hash) {
            self.by_age.remove(&entry.age);
            self.bytes = self.bytes.saturating_sub(entry.size);
        }
    }

    /// Whether there was one.
    fn remove_oldest(&mut self) -> bool {
        let oldest = self.by_age.first_key_value().map(|(_, hash)| *hash);
        if let Some(hash) = oldest {
            self.remove(hash);
        }
        oldest.is_some()
    }
}

impl Entry {
    /// What each takes up besides its contents; twice, since the trees' nodes are not full.
    const OVERHEAD: usize = 2 * (size_of::<Self>() + size_of::<Caller>());

    /// About how many bytes an entry takes up.
    fn size(token: &[u8], caller: &Caller) -> usize {
        let identity = caller.identity.iter().map(|value| {
            let text = value.as_ref().map_or(0, |value| value.len());
            text.saturating_add(size_of::<Option<Box<str>>>())
        });
        identity
            .fold(token.len(), usize::saturating_add)
            .saturating_add(heap_size(&caller.claims))
            .saturating_add(Self::OVERHEAD)
    }
}

/// Whether two tokens are the same, in time that depends on their lengths only. Eight bytes at a
/// time: `subtle` on single bytes would take longer than all the rest of a request.
fn is_same(ours: &[u8], theirs: &[u8]) -> bool {
    let ((ours, ours_end), (theirs, theirs_end)) = (ours.as_chunks::<8>(), theirs.as_chunks::<8>());
    if ours.len() != theirs.len() {
        return false;
    }
    let words = ours.iter().zip(theirs);
    let differing = words.fold(0, |bits, (ours, theirs)| {
        bits | (u64::from_ne_bytes(*ours) ^ u64::from_ne_bytes(*theirs))
    });
    (differing.ct_eq(&0) & ours_end.ct_eq(theirs_end)).into()
}

/// About how many bytes a value has on the heap. Tokens are parsed to a bounded depth.
fn heap_size(value: &Value) -> usize {
    /// A tree's node has room for this many entries, however few are in it.
    const NODE: usize = 11;
    const IN_NODE: usize = size_of::<String>() + size_of::<Value>();
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(values) => {
            let own = values.len().saturating_mul(size_of::<Value>());
            values
                .iter()
                .map(heap_size)
                .fold(own, usize::saturating_add)
        }
        Value::Object(values) => {
            let nodes = values.len().div_ceil(NODE / 2);
            let own = nodes.saturating_mul(NODE * IN_NODE);
            let inner = values
                .iter()
                .map(|(name, value)| name.len().saturating_add(heap_size(value)));
            inner.fold(own, usize::saturating_add)
        }
    }
}

#[cfg(test)]
mod tests;
