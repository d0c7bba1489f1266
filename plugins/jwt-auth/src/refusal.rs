//! Why a request is refused, and what its client is shown of it.

use std::rc::Rc;

use portcullis_policy::config::scalar_text;
use portcullis_policy::{
    ClockUnavailable, Failure, FailureBy, LocalReply, LogLine, Problem, Request, Span,
    SpecialFailure,
};

use crate::NAME;
use crate::caller::Caller;
use crate::naming::Naming;
use crate::remote::NoKeys;

/// Defines the reasons once: as an enum, as a list, and as words of metrics and log lines.
macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// Why a request is refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Reason {
            $($(#[$doc])* $name,)*
            /// The plugin itself failed.
            Failed(Failure),
        }

        impl Reason {
            /// All that are the client's doing.
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)*];

            /// A fixed word for logs and metrics.
            pub(crate) const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                    Self::Failed(failure) => failure.as_str(),
                }
            }
        }
    };
}

reasons! {
    /// Two parsers could read the path differently.
    AmbiguousPath = "ambiguous_path",
    /// What it names as its host is none, or there are two, or none where rules tell hosts apart.
    AmbiguousHost = "ambiguous_host",
    /// The client sent a header of ours twice; on Kong the second one could not be overwritten.
    DuplicateIdentity = "duplicate_identity",
    /// No rule matches.
    NoRule = "no_rule",
    /// A token is in two places, or two are in one.
    SeveralTokens = "several_tokens",
    /// There is no token.
    NoToken = "no_token",
    /// The token is longer than any that is read.
    TooLarge = "too_large",
    /// It is not three segments of strict base64url, of which the first two are strict JSON
    /// objects, or its header has fields of the wrong type.
    Malformed = "malformed",
    /// It has extensions that must be understood (`crit`).
    CriticalHeader = "critical_header",
    /// Its algorithm is not one of its provider's.
    Algorithm = "algorithm",
    /// It is of another type than its provider's tokens are (`typ`).
    TokenType = "token_type",
    /// It is bound to a key of its holder's (`cnf`), which nobody here asks for.
    BoundToken = "bound_token",
    /// Its issuer is not a provider of this rule.
    UnknownIssuer = "unknown_issuer",
    /// Its provider has no key of that name.
    UnknownKid = "unknown_kid",
    /// Nobody who holds a key of its provider signed it.
    Signature = "signature",
    /// A claim that must be there is not.
    ClaimMissing = "claim_missing",
    /// A registered claim is of the wrong type.
    ClaimType = "claim_type",
    /// It has expired.
    Expired = "expired",
    /// It is not valid yet.
    NotYetValid = "not_yet_valid",
    /// It was issued in the future.
    IssuedInFuture = "issued_in_future",
    /// It lives for longer than its provider's tokens may.
    Lifetime = "lifetime",
    /// It is for somebody else.
    Audience = "audience",
    /// It does not show a claim that all tokens of its provider must show.
    ProviderClaims = "provider_claims",
    /// A claim to be forwarded can't be a header's value.
    ClaimUnsafe = "claim_unsafe",
    /// It lacks a scope that the rule asks for.
    InsufficientScope = "insufficient_scope",
    /// A claim has none of the values that the rule asks for.
    ClaimMismatch = "claim_mismatch",
    /// Its client has sent too many tokens with a bad signature.
    VerifyBudget = "verify_budget",
}

/// Its provider's keys were never fetched yet.
pub(crate) const KEYS_UNAVAILABLE: Failure = Failure::Special(&SpecialFailure {
    reason: "keys_unavailable",
    problem: Problem::UNAVAILABLE,
    by: FailureBy::Gateway,
});
/// Its provider's keys are older than they may be.
pub(crate) const KEYS_STALE: Failure = Failure::Special(&SpecialFailure {
    reason: "keys_stale",
    problem: Problem::UNAVAILABLE,
    by: FailureBy::Gateway,
});

/// What a client is shown, in RFC 6750's terms where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    /// The request's path is no path.
    AmbiguousPath,
    /// The request's host is no host.
    AmbiguousHost,
    /// The request is not one that can be decided on, though no fault of a token.
    BadRequest,
    /// 400 `invalid_request`.
    InvalidRequest,
    /// 401, and nothing more: there was no token.
    Unauthenticated,
    /// 401 `invalid_token`.
    InvalidToken,
    /// 403 `insufficient_scope`.
    InsufficientScope,
    /// 403: nobody may.
    Forbidden,
    /// 429: not now.
    TooManyRequests,
    /// The fault is ours.
    Failed(Failure),
}

impl Reason {
    /// Whether a token is at fault that is none, or not good, and not the request or what its caller
    /// may do.
    pub(crate) const fn is_invalid_token(self) -> bool {
        matches!(self.shown(), Shown::InvalidToken | Shown::Unauthenticated)
    }

    const fn shown(self) -> Shown {
        match self {
            Self::AmbiguousPath => Shown::AmbiguousPath,
            Self::AmbiguousHost => Shown::AmbiguousHost,
            Self::DuplicateIdentity => Shown::BadRequest,
            Self::NoRule => Shown::Forbidden,
            Self::SeveralTokens => Shown::InvalidRequest,
            Self::NoToken => Shown::Unauthenticated,
            Self::TooLarge
            | Self::Malformed
            | Self::CriticalHeader
            | Self::Algorithm
            | Self::TokenType
            | Self::BoundToken
            | Self::UnknownIssuer
            | Self::UnknownKid
            | Self::Signature
            | Self::ClaimMissing
            | Self::ClaimType
            | Self::Expired
            | Self::NotYetValid
            | Self::IssuedInFuture
            | Self::Lifetime
            | Self::Audience
            | Self::ProviderClaims
            | Self::ClaimUnsafe => Shown::InvalidToken,
            Self::InsufficientScope | Self::ClaimMismatch => Shown::InsufficientScope,
            Self::VerifyBudget => Shown::TooManyRequests,
            Self::Failed(failure) => Shown::Failed(failure),
        }
    }
}

impl From<ClockUnavailable> for Reason {
    fn from(error: ClockUnavailable) -> Self {
        Self::Failed(error.into())
    }
}

impl Shown {
    const fn problem(self) -> Problem {
        let (status, kind, title) = match self {
            Self::AmbiguousPath => (400, "ambiguous-path", "Ambiguous request path"),
            Self::AmbiguousHost => (400, "ambiguous-host", "Ambiguous host"),
            Self::BadRequest | Self::InvalidRequest => (400, "invalid-request", "Invalid request"),
            Self::Unauthenticated => (401, "unauthenticated", "Authentication required"),
            Self::InvalidToken => (401, "invalid-token", "Invalid token"),
            Self::InsufficientScope => (403, "insufficient-scope", "Insufficient scope"),
            Self::Forbidden => (403, "forbidden", "Forbidden"),
            Self::TooManyRequests => (429, "too-many-requests", "Too many requests"),
            Self::Failed(failure) => return failure.problem(),
        };
        Problem {
            status,
            kind,
            title,
        }
    }

    /// RFC 6750 section 3. A realm and a scope are of characters that need no escaping.
    fn challenge(self, realm: &str, scope: &str) -> Option<String> {
        let error = match self {
            Self::AmbiguousPath
            | Self::AmbiguousHost
            | Self::BadRequest
            | Self::Forbidden
            | Self::TooManyRequests
            | Self::Failed(_) => return None,
            Self::Unauthenticated => "",
            Self::InvalidRequest => ", error=\"invalid_request\"",
            Self::InvalidToken => ", error=\"invalid_token\"",
            Self::InsufficientScope => ", error=\"insufficient_scope\"",
        };
        let scope = match scope {
            "" => String::new(),
            scope => format!(", scope=\"{scope}\""),
        };
        Some(format!("Bearer realm=\"{realm}\"{error}{scope}"))
    }
}

/// A token that is refused, for the log.
#[derive(Default)]
struct TokenAtHand {
    /// Who it says that it is of. Nobody has looked whether that is so.
    claimed: Option<String>,
    /// By what it can be told from others.
    mark: Option<String>,
}

/// A refusal, with what only the log gets to know.
pub(crate) struct Refusal<'a> {
    /// Why.
    pub(crate) reason: Reason,
    /// The provider whom the token says that it is from.
    provider: Option<&'a str>,
    /// Which token it is about.
    token: Option<Box<TokenAtHand>>,
    /// What of the token caused it, which the client wrote, and what was expected.
    details: Vec<(&'static str, String)>,
    /// The scopes that the client should have had, joined by spaces.
    scope: &'a str,
    /// When it is worth trying again, in seconds.
    retry_after: Option<u64>,
    /// Who called, where the token was good and only the rule was not met.
    pub(crate) caller: Option<Rc<Caller>>,
}

impl From<Reason> for Refusal<'_> {
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            provider: None,
            token: None,
            details: Vec::new(),
            scope: "",
            retry_after: None,
            caller: None,
        }
    }
}

impl<'a> Refusal<'a> {
    /// Adds to the line for the log, which cuts what is long.
    pub(crate) fn with_detail(mut self, key: &'static str, value: &str) -> Self {
        self.details.push((key, value.to_owned()));
        self
    }

    pub(crate) fn by_provider(self, name: &'a str) -> Self {
        Self {
            provider: Some(name),
            ..self
        }
    }

    /// Adds whose token it says that it is.
    pub(crate) fn claimed_by(self, subject: Option<&str>) -> Self {
        self.about_token(|token| token.claimed = subject.map(str::to_owned))
    }

    pub(crate) fn of_token(self, mark: Option<String>) -> Self {
        self.about_token(|token| token.mark = mark)
    }

    fn about_token(mut self, tell: impl FnOnce(&mut TokenAtHand)) -> Self {
        tell(self.token.get_or_insert_default());
        self
    }

    pub(crate) fn for_scope(self, scope: &'a str) -> Self {
        Self { scope, ..self }
    }

    pub(crate) fn retry_after(self, wait: Span) -> Self {
        Self {
            retry_after: Some(wait.as_secs_ceil().max(1)),
            ..self
        }
    }

    /// The refusal of a token whose provider's keys are not there.
    pub(crate) fn without_keys(why: NoKeys) -> Self {
        let failure = match why {
            NoKeys::Unavailable => KEYS_UNAVAILABLE,
            NoKeys::Stale => KEYS_STALE,
        };
        // Fetches that fail are repeated after 1 s, 2 s, 4 s and so on.
        Self::from(Reason::Failed(failure)).retry_after(Span::from_secs(5))
    }

    pub(crate) fn of_caller(self, caller: Rc<Caller>) -> Self {
        Self {
            caller: Some(caller),
            ..self
        }
    }

    /// The answer to the client.
    pub(crate) fn reply(&self, realm: &str, request: &Request<'_>) -> LocalReply {
        let shown = self.reason.shown();
        let reply = shown
            .problem()
            .reply(request)
            .because(NAME, self.reason.as_str());
        let reply = match self.retry_after {
            Some(secs) => reply.with("retry-after", secs.to_string()),
            None => reply,
        };
        match shown.challenge(realm, self.scope) {
            Some(challenge) => reply.with("www-authenticate", challenge),
            None => reply,
        }
    }

    /// The line for the log.
    pub(crate) fn log_line(
        &self,
        plugin: &str,
        event: &str,
        naming: &Naming,
        request: &Request<'_>,
    ) -> LogLine {
        let mut line = LogLine::new(plugin, event)
            .with("reason", self.reason.as_str())
            .with("status", self.reason.shown().problem().status.to_string())
            .with("method", request.method())
            .with("path", request.target_without_query())
            .with_id_of(request);
        if let Some(provider) = self.provider {
            line = line.with("provider", provider);
        }
        for (key, value) in &self.details {
            line = line.with(key, value);
        }
        if let Some((word, name)) = self.called(naming) {
            line = line.with(word, name);
        }
        if let Some(mark) = self.token.as_ref().and_then(|token| token.mark.as_ref()) {
            line = line.with("token", mark);
        }
        line
    }
}

impl Refusal<'_> {
    /// What its caller is called, by whether it is sure who that is.
    fn called(&self, naming: &Naming) -> Option<(&'static str, String)> {
        if let Some(caller) = &self.caller {
            let subject = caller.claims.get("sub").and_then(scalar_text)?;
            let name = naming.name(&caller.provider_name, &subject)?;
            return Some(("caller", name));
        }
        let claimed = self.token.as_ref()?.claimed.as_deref()?;
        let name = naming.name(self.provider?, claimed)?;
        Some(("claimed", name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_own_word() {
        let failures = [Failure::Clock, KEYS_UNAVAILABLE, KEYS_STALE].map(Reason::Failed);
        let all: Vec<_> = Reason::ALL.iter().chain(&failures).collect();
        for reason in &all {
            let same = all.iter().filter(|r| r.as_str() == reason.as_str());
            assert_eq!(same.count(), 1, "{reason:?}");
        }
    }

    #[test]
    fn a_plugin_that_failed_answers_503_and_nothing_else_does() {
        for failure in [Failure::Clock, KEYS_UNAVAILABLE, KEYS_STALE] {
            let reason = Reason::Failed(failure);
            assert_eq!(reason.shown().problem().status, 503, "{reason:?}");
            assert!(failure.is_left_to_on_error(), "{reason:?}");
        }
        for reason in Reason::ALL {
            assert_ne!(reason.shown().problem().status, 503, "{reason:?}");
        }
    }

    #[test]
    fn a_challenge_tells_what_rfc_6750_tells_and_no_more() {
        let challenge = |reason: Reason| reason.shown().challenge("rag", "rag:read");
        assert_eq!(
            Reason::NoToken.shown().challenge("rag", "").as_deref(),
            Some("Bearer realm=\"rag\"")
        );
        assert_eq!(
            challenge(Reason::InsufficientScope).as_deref(),
            Some("Bearer realm=\"rag\", error=\"insufficient_scope\", scope=\"rag:read\"")
        );
        assert_eq!(challenge(Reason::NoRule), None);
        assert_eq!(challenge(Reason::Failed(Failure::Clock)), None);
    }
}
