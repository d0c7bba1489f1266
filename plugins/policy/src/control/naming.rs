//! What callers are called in log lines: by names that only the control path can read.
//!
//! A name is the caller's own, encrypted by AES-SIV (RFC 5297) under a key that is made of the control path's token
//! (HMAC-SHA-256). It is the same each time, so that lines of one caller can be found, on every gateway with that token.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use aes_siv::KeyInit as _;
use aes_siv::siv::Aes128Siv;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::config::Secret;

/// Names callers, and tells who they are.
#[derive(Clone)]
pub struct CallerNames(Zeroizing<[u8; 32]>);

/// What keys of other uses of the token are told apart by.
const PURPOSE: &[u8] = b"portcullis control path: names of callers";
/// What a name of a subject begins with.
const SUBJECT: &str = "s.";
/// Longer subjects are cut, so that a name, with the longest name of a provider in it, is a field of a line in full.
const LONGEST_SUBJECT: usize = 108;

impl CallerNames {
    pub(super) fn of(token: &Secret) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        // An HMAC takes a key of any length.
        if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(token.as_bytes()) {
            mac.update(PURPOSE);
            key.copy_from_slice(&mac.finalize().into_bytes());
        }
        Self(key)
    }

    /// What the subject of a provider's tokens is called.
    #[must_use]
    pub fn name(&self, provider: &str, subject: &str) -> String {
        let plain = format!("{provider}\0{}", shortened(subject));
        let sealed = self.cipher().encrypt(NO_HEADERS, plain.as_bytes());
        // It fails for texts of more bytes than there are.
        let sealed = sealed.unwrap_or_default();
        format!("{SUBJECT}{}", URL_SAFE_NO_PAD.encode(sealed))
    }

    /// The provider and the subject of a name; `None` where it is none, or of another token's.
    #[must_use]
    pub fn who(&self, name: &str) -> Option<(String, String)> {
        let sealed = URL_SAFE_NO_PAD.decode(name.strip_prefix(SUBJECT)?).ok()?;
        let plain = self.cipher().decrypt(NO_HEADERS, &sealed).ok()?;
        let plain = String::from_utf8(plain).ok()?;
        let (provider, subject) = plain.split_once('\0')?;
        Some((provider.to_owned(), subject.to_owned()))
    }

    fn cipher(&self) -> Aes128Siv {
        Aes128Siv::new((&*self.0).into())
    }
}

/// A subject that fits. Of a longer one its beginning, and `…` and a hash of all of it, so that it is told from others.
fn shortened(subject: &str) -> Cow<'_, str> {
    const ELLIPSIS: char = '…';
    const HASHED: usize = 8;
    if subject.len() <= LONGEST_SUBJECT {
        return Cow::Borrowed(subject);
    }
    let kept = LONGEST_SUBJECT
        .saturating_sub(ELLIPSIS.len_utf8())
        .saturating_sub(2 * HASHED);
    let beginning = subject
        .char_indices()
        .take_while(|(at, c)| at.saturating_add(c.len_utf8()) <= kept);
    let mut short: String = beginning.map(|(_, c)| c).collect();
    short.push(ELLIPSIS);
    for byte in Sha256::digest(subject).iter().take(HASHED) {
        // Writing into a String does not fail.
        let _ = write!(short, "{byte:02x}");
    }
    Cow::Owned(short)
}

const NO_HEADERS: [&[u8]; 0] = [];

impl fmt::Debug for CallerNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallerNames")
    }
}
