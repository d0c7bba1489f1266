//! What a provider's tokens look like, besides what all tokens do.

use portcullis_policy::config::NonEmpty;

use crate::config::{BoundTokens, Padding, TokenType};
use crate::refusal::{Reason, Refusal};
use crate::token::UntrustedToken;

/// What a provider's tokens look like.
pub(crate) struct Form {
    types: Option<Vec<TokenType>>,
    bound: BoundTokens,
    pub(crate) padding: Padding,
}

impl Form {
    pub(crate) fn new(
        types: Option<NonEmpty<TokenType>>,
        bound: BoundTokens,
        padding: Padding,
    ) -> Self {
        Self {
            types: types.map(NonEmpty::into_vec),
            bound,
            padding,
        }
    }

    /// Whether a token is one of these. Where `typ` is asked for, one without is none: an ID token
    /// needs none (RFC 9068 section 2.1).
    pub(crate) fn check(&self, token: &UntrustedToken<'_>) -> Result<(), Refusal<'static>> {
        if token.padded && self.padding == Padding::Refuse {
            return Err(Reason::Malformed.into());
        }
        if let Some(types) = &self.types {
            let sent = token.typ.as_deref().unwrap_or_default();
            if !types.contains(&TokenType::from_header(sent)) {
                return Err(Refusal::from(Reason::TokenType).with_detail("typ", sent));
            }
        }
        // RFC 7800 section 3.1. Whatever it holds, it was put there to say that not everybody who
        // has the token may use it.
        if self.bound == BoundTokens::Refuse && token.claims.get("cnf").is_some() {
            return Err(Reason::BoundToken.into());
        }
        Ok(())
    }
}
