//! Tokens whose signature was found to be bad, so that each costs one check.

use std::cell::RefCell;

use sha2::{Digest as _, Sha256};

/// How many are remembered. One that pushes another out costs that one's next sender a check.
const MOST: usize = 1024;

/// What is kept of a token: a cryptographic hash, since whoever can make two tokens that look alike
/// here could have somebody else's refused.
pub(crate) type TokenDigest = [u8; 32];

/// A bounded set of tokens, each at the index that its digest gives.
#[derive(Default)]
pub(crate) struct RejectedTokens(RefCell<Vec<Option<(usize, TokenDigest)>>>);

/// The digest of a token.
pub(crate) fn digest(token: &[u8]) -> TokenDigest {
    Sha256::digest(token).into()
}

impl RejectedTokens {
    /// Whether the provider of that index has refused this token's signature.
    pub(crate) fn has(&self, provider: usize, token: &TokenDigest) -> bool {
        let Ok(held) = self.0.try_borrow() else {
            return false;
        };
        held.get(index(token)) == Some(&Some((provider, *token)))
    }

    /// Remembers a token whose signature was bad.
    pub(crate) fn put(&self, provider: usize, token: TokenDigest) {
        let Ok(mut held) = self.0.try_borrow_mut() else {
            return;
        };
        if held.is_empty() {
            held.resize(MOST, None);
        }
        if let Some(entry) = held.get_mut(index(&token)) {
            *entry = Some((provider, token));
        }
    }

    /// Forgets what was decided with keys that a provider no longer has.
    pub(crate) fn forget(&self, provider: usize) {
        let Ok(mut held) = self.0.try_borrow_mut() else {
            return;
        };
        for entry in held.iter_mut() {
            if entry.is_some_and(|(of, _)| of == provider) {
                *entry = None;
            }
        }
    }
}

fn index(token: &TokenDigest) -> usize {
    let [first, second, ..] = *token;
    usize::from(u16::from_le_bytes([first, second])) % MOST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_token_is_known_again_until_its_provider_has_other_keys() {
        let rejected = RejectedTokens::default();
        let (bad, other) = (digest(b"a.b.c"), digest(b"a.b.d"));
        assert!(!rejected.has(0, &bad));
        rejected.put(0, bad);
        rejected.put(1, other);
        assert!(rejected.has(0, &bad) && rejected.has(1, &other));
        assert!(!rejected.has(1, &bad) && !rejected.has(0, &other));
        rejected.forget(0);
        assert!(!rejected.has(0, &bad) && rejected.has(1, &other));
    }

    #[test]
    fn tokens_whose_digests_begin_differently_do_not_push_each_other_out() {
        let rejected = RejectedTokens::default();
        let token = |first: u8| {
            let mut token = digest(b"t");
            (token[0], token[1]) = (first, 0);
            token
        };
        for first in 0..=u8::MAX {
            rejected.put(0, token(first));
        }
        assert!((0..=u8::MAX).all(|first| rejected.has(0, &token(first))));
    }

    #[test]
    fn no_number_of_tokens_makes_it_grow() {
        let rejected = RejectedTokens::default();
        for token in 0..10_000_u32 {
            let token = digest(&token.to_le_bytes());
            rejected.put(0, token);
            assert!(rejected.has(0, &token));
        }
        assert_eq!(rejected.0.borrow().len(), MOST);
    }

    #[test]
    fn what_is_in_use_is_gone_without() {
        let rejected = RejectedTokens::default();
        let _busy = rejected.0.borrow_mut();
        rejected.put(0, digest(b"t"));
        rejected.forget(0);
        assert!(!rejected.has(0, &digest(b"t")));
    }
}
