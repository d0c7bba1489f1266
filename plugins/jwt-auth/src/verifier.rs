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
/// there are two; issuers that name none of theirs have had up to a dozen.
pub(crate) const MOST_TRIED: usize = 16;

/// So many checks of one bad token are one of the budget's failures, so that it bounds what a
/// client can cost however many keys there are.
const CHECKS_PER_FAILURE: usize = 4;

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

/// The keys that may have signed a token: one at least.
pub(crate) struct Candidates<'k> {
    pub(crate) keys: Vec<&'k Key>,
    /// Whether they are those that the token names.
    named: bool,
}

impl KeyRing {
    pub(crate) const fn new(sets: Vec<Rc<[Key]>>) -> Self {
        Self(sets)
    }

    /// The keys that may have signed a token: those of its `kid` that serve its algorithm. Where
    /// there are none, those without a name that do, since an issuer with one key may give a name
    /// to it in its tokens only; for a token without a `kid`, all that do.
    pub(crate) fn find(&self, token: &UntrustedToken<'_>) -> Result<Candidates<'_>, NoKey> {
        let keys = || self.0.iter().flat_map(|set| set.iter());
        let fitting = |wanted: &dyn Fn(&Key) -> bool| -> Vec<&Key> {
            let fitting = keys().filter(|key| key.serves(token.algorithm) && wanted(key));
            fitting.take(MOST_TRIED).collect()
        };
        let Some(kid) = &token.kid else {
            let keys = fitting(&|_| true);
            return found(keys, false).ok_or(NoKey::Unknown);
        };
        let is_named = |key: &Key| key.kid.as_ref() == Some(kid);
        found(fitting(&is_named), true)
            .or_else(|| found(fitting(&|key| key.kid.is_none()), false))
            .ok_or_else(|| {
                if keys().any(is_named) {
                    NoKey::OtherAlgorithm
                } else {
                    NoKey::Unknown
                }
            })
    }
}

fn found(keys: Vec<&Key>, named: bool) -> Option<Candidates<'_>> {
    (!keys.is_empty()).then_some(Candidates { keys, named })
}

impl Verifier {
    /// Whether one of these keys signed the token. What was found to be bad before is not checked
    /// again, and a client that sends many bad ones is not listened to for a while. `missing`: why
    /// some of the provider's keys are not among these.
    pub(crate) fn check(
        &self,
        provider: usize,
        token: &UntrustedToken<'_>,
        candidates: &Candidates<'_>,
        missing: Option<NoKeys>,
        occasion: &Occasion<'_, '_>,
    ) -> Result<(), Refusal<'static>> {
        let signed = || {
            let by = |key: &&Key| key.has_signed(token.algorithm, token.signed, &token.signature);
            candidates.keys.iter().any(by)
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
        for _ in 0..candidates.keys.len().div_ceil(CHECKS_PER_FAILURE) {
            self.budget.charge(&sender, account, now, entropy);
        }
        if let (Some(why), false) = (missing, candidates.named) {
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
