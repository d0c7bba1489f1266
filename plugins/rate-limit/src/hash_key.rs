//! The key of the fingerprints' hash, one for all workers of a gateway.

use std::hash::Hasher as _;

use portcullis_policy::{
    Entropy, Layout, Reader, SharedStore, SlotError, SlotKey, Step, Timestamp, Writer, update,
};
use siphasher::sip128::{Hasher128 as _, SipHasher24};

use crate::key::HashKey;

/// Where the key is.
pub(crate) const HASH_KEY_NAME: &str = "portcullis/rate_limit/hash_key";

/// The key of the hash as it is shared.
#[derive(Clone, Debug)]
struct SharedKey(HashKey);

impl Layout for SharedKey {
    const FORMAT: &'static str = "rate_limit/hash_key/1";

    fn encode(&self, to: &mut Writer) {
        to.bytes(&self.0);
    }

    fn decode(from: &mut Reader<'_>) -> Option<Self> {
        from.array().map(Self)
    }
}

/// The key of the hash that all workers of this gateway use; the first one draws it.
pub(crate) fn shared_hash_key(
    store: &dyn SharedStore,
    entropy: &dyn Entropy,
    now: Timestamp,
) -> Result<HashKey, SlotError> {
    let mut drawn = [0; 16];
    // Where entropy is weak or absent the time makes it harder to guess; a key that can be guessed
    // lets a client crowd a slot, and admits nothing beyond a quota that is still held.
    let _ = entropy.fill(&mut drawn);
    let mut hasher = SipHasher24::new_with_key(&drawn);
    hasher.write_u64(now.unix_nanos());
    let drawn = hasher.finish128().as_bytes();

    let key = SlotKey::new::<SharedKey>(HASH_KEY_NAME);
    update(store, &key, |shared: Option<&SharedKey>| match shared {
        Some(shared) => Step::Keep(shared.0),
        None => Step::Write(SharedKey(drawn), drawn),
    })
}

#[cfg(test)]
mod tests {
    use portcullis_policy::{EntropyUnavailable, SharedData};
    use portcullis_sim::{Dialect, SeededEntropy, Zone, ZoneStore};

    use super::*;

    struct NoEntropy;
    impl Entropy for NoEntropy {
        fn fill(&self, _: &mut [u8]) -> Result<(), EntropyUnavailable> {
            Err(EntropyUnavailable)
        }
    }

    fn drawn(zone: &Zone, entropy: &dyn Entropy, secs: u64) -> HashKey {
        let store = SharedData(ZoneStore::new(zone, None));
        shared_hash_key(&store, entropy, Timestamp::from_unix_secs(secs)).unwrap()
    }

    #[test]
    fn the_first_worker_draws_the_key_for_all_from_entropy_and_from_the_time() {
        let zone = || Zone::new(Dialect::Kong);
        let seed = |seed: u64| SeededEntropy::new(seed);
        let key = drawn(&zone(), &seed(1), 1);
        assert_eq!(drawn(&zone(), &seed(1), 1), key);
        assert_ne!(drawn(&zone(), &seed(2), 1), key);
        assert_ne!(drawn(&zone(), &seed(1), 2), key);
        assert_ne!(drawn(&zone(), &NoEntropy, 1), drawn(&zone(), &NoEntropy, 2));
        let shared = zone();
        let first = drawn(&shared, &seed(1), 1);
        assert_eq!(drawn(&shared, &seed(2), 2), first);
    }
}
