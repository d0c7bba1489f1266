//! Rules in a configuration.

use portcullis_policy::config::{ByClaim, List, Match, Name, NonEmpty, ObjectOnly};
use serde::Deserialize;

use super::{ClaimValue, Scope};

/// Who may make the requests that match: exactly one of `allow` and `require`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RuleConfig {
    /// The requests that this rule is about. Default: all.
    #[serde(default)]
    pub r#match: Match,
    /// `anyone`: no token is looked at.
    pub allow: Option<Allow>,
    /// What a token must show.
    pub require: Option<ObjectOnly<RequireConfig>>,
}

/// Who passes without a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Allow {
    /// Everybody.
    Anyone,
}

/// What a token must show: exactly one of `any_of`, `all_of` and `optional`, and all else that is
/// given.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RequireConfig {
    /// The providers of which one must have issued the token.
    pub any_of: Option<NonEmpty<Name>>,
    /// The providers of which each must have issued a token of its own; no two of them look for it
    /// in the same place. The first one's is the caller's: `scopes` and `claims` are about it.
    pub all_of: Option<NonEmpty<Name>>,
    /// What a token must show if there is one. A request without passes, as nobody's; a token that
    /// does not hold is refused, unless `invalid` says otherwise.
    pub optional: Option<ObjectOnly<OptionalConfig>>,
    /// Scopes that the token must have, each of them: in `scope`, or, where there is none, in `scp`:
    /// one text, separated by spaces, or a list.
    #[serde(default)]
    pub scopes: List<Scope>,
    /// Claims by name or dotted path, each with the values of which it must have one. A claim that
    /// is a list has those that are in it.
    #[serde(default)]
    pub claims: ByClaim<NonEmpty<ClaimValue>>,
}

/// What a token must show if there is one: exactly one of `any_of` and `all_of`, and all else that
/// is given.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct OptionalConfig {
    /// As in `require`.
    pub any_of: Option<NonEmpty<Name>>,
    /// As in `require`; a request has all of these tokens, or none.
    pub all_of: Option<NonEmpty<Name>>,
    /// As in `require`.
    #[serde(default)]
    pub scopes: List<Scope>,
    /// As in `require`.
    #[serde(default)]
    pub claims: ByClaim<NonEmpty<ClaimValue>>,
    /// What becomes of a request whose token does not hold: `refuse`, or `anonymous`: it passes
    /// without the token, as nobody's. One whose token holds and lacks a scope or a claim is refused
    /// in either case. Default: `refuse`.
    #[serde(default)]
    pub invalid: IfInvalid,
}

impl OptionalConfig {
    /// What a token must show, and what becomes of one that does not hold.
    #[must_use]
    pub fn split(self) -> (PresentedConfig, IfInvalid) {
        let presented = PresentedConfig {
            any_of: self.any_of,
            all_of: self.all_of,
            scopes: self.scopes,
            claims: self.claims,
        };
        (presented, self.invalid)
    }
}

/// What becomes of a request whose token does not hold, where it needs none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum IfInvalid {
    /// It is refused.
    #[default]
    Refuse,
    /// It passes as nobody's.
    Anonymous,
}

/// What a token must show.
#[derive(Clone, Debug)]
pub struct PresentedConfig {
    /// The providers of which one must have issued the token.
    pub any_of: Option<NonEmpty<Name>>,
    /// The providers of which each must have issued a token of its own.
    pub all_of: Option<NonEmpty<Name>>,
    /// Scopes that the token must have.
    pub scopes: List<Scope>,
    /// Claims, each with the values of which it must have one.
    pub claims: ByClaim<NonEmpty<ClaimValue>>,
}
