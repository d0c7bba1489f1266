//! Random bytes that can be drawn again.

use std::cell::RefCell;

use portcullis_policy::{Entropy, EntropyUnavailable};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

/// ChaCha8 from a seed.
pub struct SeededEntropy(RefCell<ChaCha8Rng>);

impl SeededEntropy {
    /// The same seed gives the same bytes.
    pub fn new(seed: u64) -> Self {
        Self(RefCell::new(ChaCha8Rng::seed_from_u64(seed)))
    }

    /// A number below `bound`.
    pub fn below(&self, bound: u64) -> u64 {
        self.0.borrow_mut().next_u64() % bound.max(1)
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyUnavailable> {
        self.0.borrow_mut().fill_bytes(bytes);
        Ok(())
    }
}
