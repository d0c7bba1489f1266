//! Nonces that were used, for as long as the signatures that they came with are good.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest as _, Sha256};

use crate::Error;

/// As many as 1,400 requests per second need whose signatures are good for 60 s and a skew of 30 s;
/// about 20 MB.
pub(crate) const CAPACITY: NonZeroUsize = match NonZeroUsize::new(128 * 1024) {
    Some(capacity) => capacity,
    None => NonZeroUsize::MIN,
};

/// A nonce under its key, in as many bytes whatever its length.
type Used = [u8; 32];

/// Remembers nonces, and forgets none that could come again.
pub(crate) struct Nonces {
    capacity: NonZeroUsize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    used: HashSet<Used>,
    /// With the last second in which its signature is good, the earliest first.
    by_end: BTreeSet<(i64, Used)>,
    /// The latest end of what was forgotten. What ends no later may have been here: when the clock
    /// was set back, it would be good again.
    forgotten: Option<i64>,
}

impl Nonces {
    pub(crate) fn new(capacity: NonZeroUsize) -> Self {
        let state = Mutex::default();
        Self { capacity, state }
    }

    /// Remembers a nonce of a key until `end`, the last second in which its signature is good.
    ///
    /// # Errors
    /// It was used, there is no room for it, or its end is one of those that are forgotten.
    pub(crate) fn remember(
        &self,
        key_id: &str,
        nonce: &str,
        end: i64,
        now: i64,
    ) -> Result<(), Error> {
        // Neither of the two can have a zero byte in it.
        let hash = Sha256::new()
            .chain_update(key_id)
            .chain_update([0])
            .chain_update(nonce);
        let used: Used = hash.finalize().into();
        // What happens under the lock can't leave it half done.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.forget(now);
        if state.used.contains(&used) {
            return Err(Error::Replayed);
        }
        if state.forgotten.is_some_and(|forgotten| end <= forgotten) {
            return Err(Error::Expired);
        }
        if state.used.len() >= self.capacity.get() {
            return Err(Error::NoncesFull);
        }
        state.used.insert(used);
        state.by_end.insert((end, used));
        Ok(())
    }
}

impl State {
    fn forget(&mut self, now: i64) {
        while let Some(&(end, used)) = self.by_end.first()
            && end < now
        {
            self.by_end.pop_first();
            self.used.remove(&used);
            self.forgotten = self.forgotten.max(Some(end));
        }
    }
}

impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Nonces(at most {})", self.capacity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(capacity: usize) -> Nonces {
        Nonces::new(NonZeroUsize::new(capacity).unwrap())
    }

    #[test]
    fn a_nonce_is_remembered_up_to_its_end_and_then_makes_room() {
        let nonces = of(2);
        assert_eq!(nonces.remember("k", "a", 100, 10), Ok(()));
        assert_eq!(nonces.remember("k", "a", 100, 100), Err(Error::Replayed));
        assert_eq!(nonces.remember("other", "a", 200, 100), Ok(()));
        for _ in 0..2 {
            let third = nonces.remember("k", "b", 200, 100);
            assert_eq!(third, Err(Error::NoncesFull));
        }
        assert_eq!(nonces.remember("k", "b", 200, 101), Ok(()));
        assert_eq!(nonces.remember("k", "c", 300, 200), Err(Error::NoncesFull));
        assert_eq!(nonces.remember("k", "a", 300, 201), Ok(()), "forgotten");
        let state = nonces.state.lock().unwrap();
        assert_eq!((state.used.len(), state.by_end.len()), (1, 1));
    }

    #[test]
    fn a_clock_that_is_set_back_brings_nothing_back() {
        let nonces = of(8);
        assert_eq!(nonces.remember("k", "a", 100, 50), Ok(()));
        assert_eq!(nonces.remember("k", "b", 500, 400), Ok(()));
        // `a` is forgotten, and at 60 its signature is good again.
        assert_eq!(nonces.remember("k", "a", 100, 60), Err(Error::Expired));
        assert_eq!(nonces.remember("k", "b", 500, 60), Err(Error::Replayed));
        assert_eq!(nonces.remember("k", "c", 101, 60), Ok(()));
    }

    #[test]
    fn of_many_threads_with_one_nonce_one_gets_through() {
        let nonces = of(100);
        let passed = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| nonces.remember("k", "a", 100, 10).is_ok()))
                .collect();
            let passed = threads.into_iter().map(|thread| thread.join().unwrap());
            passed.filter(|passed| *passed).count()
        });
        assert_eq!(passed, 1);
    }
}
