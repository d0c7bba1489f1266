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
mod tests {
    use std::cell::Cell;

    use portcullis_policy::EntropyUnavailable;
    use serde_json::json;

    use super::*;

    /// Counts how often it was asked.
    struct Bytes(Result<u8, EntropyUnavailable>, Cell<u32>);
    impl Entropy for Bytes {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyUnavailable> {
            self.1.set(self.1.get() + 1);
            bytes.fill(self.0?);
            Ok(())
        }
    }

    fn random() -> Bytes {
        Bytes(Ok(7), Cell::new(0))
    }

    fn caller(claims: Value) -> Rc<Caller> {
        Rc::new(Caller {
            provider: 0,
            provider_name: "p".into(),
            claims,
            expires: Timestamp::from_unix_secs(100),
            identity: [].into(),
            has_unfit: false,
        })
    }

    fn now(secs: u64) -> Timestamp {
        Timestamp::from_unix_secs(secs)
    }

    #[test]
    fn a_token_is_found_by_all_of_its_bytes_until_it_expires() {
        let (cache, random) = (TokenCache::new(2), random());
        let alice = caller(json!({"sub": "alice"}));
        cache.put(b"a.b.c", &alice, &random);
        let found = cache.get(b"a.b.c", now(99), &random).unwrap();
        assert!(Rc::ptr_eq(&found, &alice), "nothing is copied");
        assert!(cache.get(b"a.b.d", now(99), &random).is_none());
        assert!(cache.get(b"a.b.c", now(100), &random).is_none());
        assert_eq!(cache.held.borrow().bytes, 0, "it was dropped");
        assert!(cache.held.borrow().by_age.is_empty());
        assert_eq!(random.1.get(), 1, "one key for all");
    }

    #[test]
    fn a_token_of_the_same_hash_is_not_taken_for_another() {
        let (cache, random) = (TokenCache::new(2), random());
        let hash = cache.hash(b"mine", &random);
        cache
            .held
            .borrow_mut()
            .insert(hash, b"forged", caller(json!({})), 1);
        assert!(cache.get(b"mine", now(0), &random).is_none());
    }

    #[test]
    fn tokens_are_the_same_when_each_byte_is() {
        let token = b"header.payload.signature";
        for length in 0..token.len() {
            assert!(!is_same(token, &token[..length]) && !is_same(&token[..length], token));
            let mut other = *token;
            other[length] ^= 1;
            assert!(!is_same(token, &other), "byte {length}");
            assert!(is_same(&token[..length], &token[..length]));
        }
    }

    #[test]
    fn what_is_too_long_to_be_a_token_is_not_looked_up() {
        let (cache, random) = (TokenCache::new(1), random());
        let long = [b'a'; LONGEST + 1];
        cache.put(&long, &caller(json!({})), &random);
        assert!(cache.get(&long, now(0), &random).is_none());
        cache.put(&long[1..], &caller(json!({})), &random);
        assert!(cache.get(&long[1..], now(0), &random).is_some());
    }

    #[test]
    fn the_oldest_makes_room_and_nothing_grows() {
        let (cache, random) = (TokenCache::new(3), random());
        for token in 0..1000_u32 {
            cache.put(&token.to_be_bytes(), &caller(json!({})), &random);
            cache.put(&token.to_be_bytes(), &caller(json!({})), &random);
        }
        let held = |token: u32| cache.get(&token.to_be_bytes(), now(0), &random).is_some();
        assert!(held(997) && held(998) && held(999) && !held(996));
        let state = cache.held.borrow();
        assert_eq!((state.by_hash.len(), state.by_age.len()), (3, 3));
    }

    #[test]
    fn bytes_are_bounded_whatever_the_claims_are() {
        let (cache, random) = (TokenCache::new(65_536), random());
        // Many small objects take up the most for their length.
        let claims = json!(vec![json!({"a": 1}); 700]);
        for token in 0..100_u32 {
            cache.put(&token.to_be_bytes(), &caller(claims.clone()), &random);
            assert!(cache.held.borrow().bytes <= BUDGET);
        }
        assert!(cache.held.borrow().by_hash.len() < 100);
        assert!(cache.get(&99_u32.to_be_bytes(), now(0), &random).is_some());
    }

    #[test]
    fn what_takes_up_all_there_is_is_held_and_what_takes_up_more_pushes_nobody_out() {
        let (cache, random) = (TokenCache::new(9), random());
        let sized = |objects: usize| caller(json!(vec![json!({"a": 1}); objects]));
        let each = Entry::size(b"", &sized(2)) - Entry::size(b"", &sized(1));
        let most = sized(BUDGET / each - 9);
        let left = BUDGET - Entry::size(b"", &most);
        assert!(left > 0 && left < LONGEST);
        cache.put(b"small", &caller(json!({})), &random);
        cache.put(&vec![b'a'; left + 1], &most, &random);
        assert!(cache.get(b"small", now(0), &random).is_some());
        let whole = vec![b'a'; left];
        cache.put(&whole, &most, &random);
        assert!(cache.get(&whole, now(0), &random).is_some());
        assert!(cache.get(b"small", now(0), &random).is_none());
    }

    #[test]
    fn words_that_differ_alike_do_not_make_up_for_one_another() {
        let (mut one, mut other) = ([0_u8; 16], [0_u8; 16]);
        (one[3], one[11]) = (1, 1);
        assert!(!is_same(&one, &other));
        (other[3], other[11]) = (1, 1);
        assert!(is_same(&one, &other));
    }

    #[test]
    fn an_object_takes_up_a_node_for_each_few_entries() {
        let of = |entries: usize| {
            let entries = (0..entries).map(|n| (n.to_string(), Value::Null));
            heap_size(&Value::Object(entries.collect()))
        };
        let node = 11 * (size_of::<String>() + size_of::<Value>());
        assert!((node..node + 9).contains(&of(1)));
        assert!((2 * node..4 * node).contains(&of(12)), "{}", of(12));
    }

    #[test]
    fn a_provider_with_other_keys_is_forgotten_and_no_other() {
        let (cache, random) = (TokenCache::new(3), random());
        let theirs = Rc::new(Caller {
            provider: 1,
            provider_name: "q".into(),
            claims: json!({}),
            expires: Timestamp::from_unix_secs(100),
            identity: [].into(),
            has_unfit: false,
        });
        cache.put(b"ours", &caller(json!({"a": "b"})), &random);
        cache.put(b"theirs", &theirs, &random);
        cache.forget(0);
        assert!(cache.get(b"ours", now(0), &random).is_none());
        assert!(cache.get(b"theirs", now(0), &random).is_some());
        cache.forget(1);
        assert_eq!(cache.held.borrow().bytes, 0);
    }

    #[test]
    fn a_gateway_without_random_bytes_has_a_cache_all_the_same() {
        let (cache, none) = (
            TokenCache::new(1),
            Bytes(Err(EntropyUnavailable), Cell::new(0)),
        );
        cache.put(b"t", &caller(json!({})), &none);
        assert!(cache.get(b"t", now(0), &none).is_some());
    }

    #[test]
    fn a_cache_that_is_in_use_is_gone_without() {
        let (cache, random) = (TokenCache::new(1), random());
        let _busy = cache.held.borrow_mut();
        cache.put(b"t", &caller(json!({})), &random);
        assert!(cache.get(b"t", now(0), &random).is_none());
    }
}
