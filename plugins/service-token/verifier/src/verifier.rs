//! The kinds of credential, behind one front.

use std::time::SystemTime;

use crate::limits::unix_secs;
use crate::{Error, RequestHead, SignatureVerifier, StaticVerifier, TokenVerifier, Verified};

/// Accepts requests that came through the gateway. It may be shared between threads.
#[derive(Debug)]
pub struct Verifier(Vec<Kind>);

#[derive(Debug)]
enum Kind {
    Static(StaticVerifier),
    Token(TokenVerifier),
    Signature(SignatureVerifier),
}

impl Verifier {
    /// Accepts what either of them does: while a gateway goes from one kind of credential to another.
    /// They are asked in their order. What is stronger in one of them is then of no use yet.
    #[must_use]
    pub fn or(mut self, other: impl Into<Self>) -> Self {
        self.0.extend(other.into().0);
        self
    }

    /// What is known of a request, if it came through the gateway. `now`: the time by the clock of
    /// this machine, of which whole seconds count.
    ///
    /// A signature is accepted once: ask once for each request.
    ///
    /// # Errors
    /// [`Error`]: of several kinds, that of the credential which got furthest.
    pub fn verify<'r>(
        &self,
        request: impl Into<RequestHead<'r>>,
        now: SystemTime,
    ) -> Result<Verified, Error> {
        let (head, now) = (request.into(), unix_secs(now));
        let mut refused = Error::Missing;
        for kind in &self.0 {
            let verified = match kind {
                Kind::Static(verifier) => verifier.verify(&head),
                Kind::Token(verifier) => verifier.verify(&head, now),
                Kind::Signature(verifier) => verifier.verify(&head, now),
            };
            match verified {
                Ok(verified) => return Ok(verified),
                Err(error) => refused = refused.or_further(error),
            }
        }
        Err(refused)
    }
}

impl From<StaticVerifier> for Verifier {
    fn from(verifier: StaticVerifier) -> Self {
        Self(vec![Kind::Static(verifier)])
    }
}

impl From<TokenVerifier> for Verifier {
    fn from(verifier: TokenVerifier) -> Self {
        Self(vec![Kind::Token(verifier)])
    }
}

impl From<SignatureVerifier> for Verifier {
    fn from(verifier: SignatureVerifier) -> Self {
        Self(vec![Kind::Signature(verifier)])
    }
}
