//! `hmac-sha256` (RFC 9421 section 3.3.3).

use std::fmt;

use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// A key, with what follows from it computed once. It does not show itself.
#[derive(Clone)]
pub struct Key(Option<Hmac<Sha256>>);

impl Key {
    /// A shared secret of any length.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        // HMAC takes keys of every length: there is always one.
        Self(Hmac::new_from_slice(secret).ok())
    }

    /// The signature of a signature base.
    #[must_use]
    pub fn sign(&self, base: &[u8]) -> [u8; 32] {
        match &self.0 {
            Some(mac) => mac
                .clone()
                .chain_update(base)
                .finalize()
                .into_bytes()
                .into(),
            None => [0; 32],
        }
    }

    /// Whether `signature` is that of `base`, in time that does not tell how close it is.
    #[must_use]
    pub fn verifies(&self, base: &[u8], signature: &[u8]) -> bool {
        self.0.as_ref().is_some_and(|mac| {
            let mac = mac.clone().chain_update(base);
            mac.verify_slice(signature).is_ok()
        })
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}
