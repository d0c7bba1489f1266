//! `kind: static`: the secret itself is the credential.

use std::fmt;

use http::HeaderName;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::secret::check;
use crate::{Credential, Error, RequestHead, Secret, SetupError, Verified};

/// The header in which the gateway sends a secret or a token, unless its configuration names
/// another.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-service-token");

/// As many bytes as a hash that nobody guesses.
const SHORTEST: usize = 32;

/// Accepts requests with one of the secrets in a header.
///
/// It keeps hashes: those are compared, each in constant time and all of them, so that neither a
/// secret's length nor how close a guess is can be told from the time that it takes.
pub struct StaticVerifier {
    header: HeaderName,
    known: Vec<Known>,
}

struct Known {
    id: String,
    hash: [u8; 32],
}

impl StaticVerifier {
    /// With the secrets that are accepted: while they are rotated, the old one and the new one.
    ///
    /// # Errors
    /// [`SetupError`]: also for a secret that is not visible ASCII, such as one with a line break at
    /// its end, since no header would ever equal it.
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Result<Self, SetupError> {
        let mut known = Vec::new();
        for secret in check(secrets, SHORTEST)? {
            let id = secret.id().to_owned();
            if !secret.bytes().iter().all(u8::is_ascii_graphic) {
                return Err(SetupError::NotVisibleAscii { id });
            }
            let hash = Sha256::digest(secret.bytes()).into();
            known.push(Known { id, hash });
        }
        let header = HEADER;
        Ok(Self { header, known })
    }

    /// The header that holds it; `x-service-token` unless it is set.
    #[must_use]
    pub fn header(mut self, header: HeaderName) -> Self {
        self.header = header;
        self
    }

    pub(crate) fn verify(&self, head: &RequestHead<'_>) -> Result<Verified, Error> {
        let hash: [u8; 32] = Sha256::digest(head.credential(&self.header)?).into();
        let matches = |known: &Known| bool::from(known.hash.ct_eq(&hash));
        let found = self.known.iter().fold(
            None,
            |found, known| {
                if matches(known) { Some(known) } else { found }
            },
        );
        let found = found.ok_or(Error::WrongSecret)?;
        Ok(Verified::new(&found.id, Credential::Static))
    }
}

impl fmt::Debug for StaticVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<&str> = self.known.iter().map(|known| known.id.as_str()).collect();
        write!(f, "StaticVerifier({}, {ids:?})", self.header)
    }
}
