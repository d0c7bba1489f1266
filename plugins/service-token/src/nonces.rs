//! Values that are never used twice: a signature's nonce, a token's `jti`.
//!
//! A gateway's random bytes can't be relied on: Kong's are libc's `random()`, the same sequence in
//! each worker that was forked before it drew any. So what is drawn is HMAC of a counter under a
//! seed of everything that is at hand: the secret, the time, random bytes, and a number that each
//! worker takes from shared data.

use std::cell::{Cell, OnceCell};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_message_signature::Key;
use portcullis_policy::{Ports, SlotKey, Step, layout_of_one, update};

/// The slot from which workers take their numbers.
pub(crate) const SLOT: &str = "portcullis/service_token/workers";

/// One worker's.
#[derive(Debug)]
pub(crate) struct Nonces {
    slot: SlotKey,
    /// Keyed with the secret.
    secret: Key,
    /// Keyed with the seed.
    seed: OnceCell<Key>,
    counter: Cell<u64>,
}

/// How many workers have taken a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Workers(u64);

layout_of_one!(Workers, "service_token_workers/1");

impl Nonces {
    pub(crate) fn new(secret: Key) -> Self {
        Self {
            slot: SlotKey::new::<Workers>(SLOT),
            secret,
            seed: OnceCell::new(),
            counter: Cell::new(0),
        }
    }

    /// Draws the seed: when the configuration is in force, so that a gateway without shared data says
    /// so then and not with the first request.
    pub(crate) fn prepare(&self, ports: &Ports<'_>) {
        self.seed.get_or_init(|| self.draw_seed(ports));
    }

    /// The next one: 22 characters of base64url, 128 bits.
    pub(crate) fn next(&self, ports: &Ports<'_>) -> String {
        let count = self.counter.get().wrapping_add(1);
        self.counter.set(count);
        let seed = self.seed.get_or_init(|| self.draw_seed(ports));
        let drawn = seed.sign(&count.to_le_bytes());
        URL_SAFE_NO_PAD.encode(drawn.get(..16).unwrap_or(&drawn))
    }

    /// What a gateway can't tell is left out: the rest is still this worker's own.
    fn draw_seed(&self, ports: &Ports<'_>) -> Key {
        let mut random = [0; 32];
        let _ = ports.entropy.fill(&mut random);
        let worker = update(ports.store, &self.slot, |taken: Option<&Workers>| {
            let number = taken.copied().unwrap_or_default().0.wrapping_add(1);
            Step::Write(Workers(number), number)
        });
        let now = ports.clock.now().unwrap_or_default();
        let mut all = b"nonces of portcullis/service_token".to_vec();
        all.extend_from_slice(&random);
        all.extend_from_slice(&worker.unwrap_or_default().to_le_bytes());
        all.extend_from_slice(&now.unix_nanos().to_le_bytes());
        Key::new(&self.secret.sign(&all))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use portcullis_policy::{Entropy, EntropyUnavailable};
    use portcullis_sim::{Dialect, World};

    use super::*;
    use crate::ServiceToken;

    /// The same in each worker.
    struct Poor;
    impl Entropy for Poor {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyUnavailable> {
            bytes.fill(7);
            Ok(())
        }
    }

    struct None;
    impl Entropy for None {
        fn fill(&self, _: &mut [u8]) -> Result<(), EntropyUnavailable> {
            Err(EntropyUnavailable)
        }
    }

    const CONFIG: &str = r#"{"credential":{"kind":"static","allow_short":true,
        "secrets":[{"id":"a","value":"secret"}]}}"#;

    #[test]
    fn workers_with_one_secret_at_one_time_with_the_same_random_bytes_never_draw_the_same() {
        for dialect in Dialect::BOTH {
            for entropy in [&Poor as &dyn Entropy, &None] {
                let world = World::new(dialect, 1);
                let mut seen = BTreeSet::new();
                for _ in 0..4 {
                    let worker = world.worker::<ServiceToken>(CONFIG).unwrap();
                    let nonces = Nonces::new(Key::new(b"secret"));
                    for _ in 0..50 {
                        let ports = Ports {
                            entropy,
                            ..worker.ports()
                        };
                        let nonce = nonces.next(&ports);
                        assert_eq!(nonce.len(), 22);
                        assert!(seen.insert(nonce));
                    }
                }
            }
        }
    }

    #[test]
    fn another_secret_draws_others_and_a_store_that_fails_is_no_reason_to_stop() {
        let draw = |secret: &[u8]| {
            let world = World::new(Dialect::Kong, 1);
            let worker = world.worker::<ServiceToken>(CONFIG).unwrap();
            worker.store.0.fail_after(Some(0));
            let ports = Ports {
                entropy: &Poor,
                ..worker.ports()
            };
            Nonces::new(Key::new(secret)).next(&ports)
        };
        assert_eq!(draw(b"one"), draw(b"one"));
        assert_ne!(draw(b"one"), draw(b"other"));
    }
}
