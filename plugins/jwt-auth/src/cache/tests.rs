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
