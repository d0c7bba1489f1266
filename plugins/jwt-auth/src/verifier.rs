//! Whether a signature is good, and what finding out may cost (RFC 7515 section 5.2).

use std::rc::Rc;

use portcullis_policy::config::scalar_text;
use portcullis_policy::{ClientAddress, Entropy, Request, Timestamp};

use crate::budget::{Sender, VerifyBudget};
use crate::key::Key;
use crate::refusal::{Reason, Refusal};
use crate::rejected::{self, RejectedTokens};
use crate::remote::NoKeys;
use crate::token::UntrustedToken;

/// How many keys are tried on a token: what it can cost, in signature checks. During a rotation
/// there are two.
const MOST_TRIED: usize = 4;

/// The keys of a provider that can be used now.
pub(crate) struct KeyRing(Vec<Rc<[Key]>>);

/// Checks signatures, and sees to it that nobody can have too many bad ones checked.
pub(crate) struct Verifier {
    pub(crate) rejected: RejectedTokens,
    pub(crate) budget: VerifyBudget,
    pub(crate) client_address: ClientAddress,
}

/// The request that a token came with.
#[derive(Clone, Copy)]
pub(crate) struct Occasion<'a, 'r> {
    pub(crate) request: &'a Request<'r>,
    pub(crate) now: Timestamp,
    pub(crate) entropy: &'a dyn Entropy,
}

/// Why no key was found for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoKey {
    /// None has its name, or none is of the type that its algorithm needs.
    Unknown,
    /// The one that has its name serves other algorithms.
    OtherAlgorithm,
}

impl KeyRing {
    pub(crate) const fn new(sets: Vec<Rc<[Key]>>) -> Self {
        Self(sets)
    }

    /// The keys that may have signed a token: by its `kid` exactly, and without one all that serve
    /// its algorithm.
    pub(crate) fn find(&self, token: &UntrustedToken<'_>) -> Result<Vec<&Key>, NoKey> {
        let keys = || self.0.iter().flat_map(|set| set.iter());
        let named = |key: &&Key| token.kid.is_none() || key.kid == token.kid;
        let fitting = keys()
            .filter(named)
            .filter(|key| key.serves(token.algorithm));
        let fitting: Vec<_> = fitting.take(MOST_TRIED).collect();
        if !fitting.is_empty() {
            return Ok(fitting);
        }
        Err(match &token.kid {
            Some(_) if keys().any(|key| key.kid == token.kid) => NoKey::OtherAlgorithm,
            Some(_) | None => NoKey::Unknown,
        })
    }
}

impl Verifier {
    /// Whether one of these keys signed the token. What was found to be bad before is not checked
    /// again, and a client that sends many bad ones is not listened to for a while. `missing`: why
    /// some of the provider's keys are not among these.
    pub(crate) fn check(
        &self,
        provider: usize,
        token: &UntrustedToken<'_>,
        keys: &[&Key],
        missing: Option<NoKeys>,
        occasion: &Occasion<'_, '_>,
    ) -> Result<(), Refusal<'static>> {
        let signed = || {
            let by = |key: &&Key| key.has_signed(token.algorithm, token.signed, &token.signature);
            keys.iter().any(by)
        };
        if token.algorithm.is_symmetric() {
            // A hash: remembering it would cost as much as checking it again.
            return if signed() { Ok(()) } else { Err(bad(token)) };
        }
        let digest = rejected::digest(token.whole);
        if self.rejected.has(provider, &digest) {
            return Err(bad(token));
        }
        let client = self
            .budget
            .is_on()
            .then(|| self.client_address.of(occasion.request))
            .flatten();
        let (now, entropy) = (occasion.now, occasion.entropy);
        let subject = token.claims.get("sub").and_then(scalar_text);
        let sender = Sender {
            address: client,
            provider,
            subject: subject.as_deref().unwrap_or_default(),
        };
        let account = self.budget.ask(&sender, now, entropy);
        let account =
            account.map_err(|wait| Refusal::from(Reason::VerifyBudget).retry_after(wait))?;
        if signed() {
            self.budget.reward(&sender, entropy);
            return Ok(());
        }
        self.budget.charge(&sender, account, now, entropy);
        if let (Some(why), None) = (missing, &token.kid) {
            // A key that is not there may have signed it.
            return Err(Refusal::without_keys(why));
        }
        self.rejected.put(provider, digest);
        Err(bad(token))
    }
}

fn bad(token: &UntrustedToken<'_>) -> Refusal<'static> {
    let refusal = Refusal::from(Reason::Signature);
    match &token.kid {
        Some(kid) => refusal.with_detail("kid", kid),
        None => refusal,
    }
}
