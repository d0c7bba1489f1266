//! What a user writes.

mod words;

use portcullis_policy::config::{
    Bounded, Duration, HeaderName, List, Match, Mode, Name, NonEmpty, ObjectOnly, OnError,
    SecretConfig, UniqueMap, WritableHeader,
};
use serde::Deserialize;

pub use words::{Algorithm, ByClaim, ClaimValue, Identifier, Realm, Scheme, Scope};

/// The configuration of `jwt_auth`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Who issues tokens, each by a name that rules, metrics and log lines know it by.
    pub providers: UniqueMap<ProviderConfig>,
    /// Who may do what. The first rule that matches a request decides; a request that none matches
    /// is refused.
    pub rules: NonEmpty<RuleConfig>,
    /// The realm that a refusal names. Default: `portcullis`.
    #[serde(default)]
    pub realm: Realm,
    /// Whether CORS preflights pass without a token: `pass` or `check`. Default: `pass`.
    #[serde(default)]
    pub cors_preflight: CorsPreflight,
    /// The verified tokens that a worker remembers.
    #[serde(default)]
    pub cache: CacheConfig,
    /// `enforce`, `shadow` (decide, count and log, and let pass) or `off`. Default: `enforce`.
    #[serde(default)]
    pub mode: Mode,
    /// What becomes of a request when the plugin itself fails: `allow` or `deny`. With `allow`, a
    /// request whose headers the gateway can't show passes as it is, and nothing that it says of
    /// its caller is to be believed. Default: `deny`.
    #[serde(default = "deny")]
    pub on_error: OnError,
}

const fn deny() -> OnError {
    OnError::Deny
}

/// One issuer of tokens.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ProviderConfig {
    /// What `iss` of its tokens is, to the letter. No two providers have the same.
    pub issuer: Identifier,
    /// A token is for us when its `aud` is one of these, or holds one of them.
    pub audiences: NonEmpty<Identifier>,
    /// The signature algorithms that its tokens may use: `HS256`, `HS384`, `HS512`.
    pub algorithms: NonEmpty<Algorithm>,
    /// Its keys. A token's `kid` chooses one exactly; for a token without, the first four are
    /// tried.
    pub keys: NonEmpty<ObjectOnly<KeyConfig>>,
    /// Where a request carries the token. Default: `authorization`, after `Bearer`.
    pub token_from: Option<NonEmpty<SourceConfig>>,
    /// How far the issuer's clock may be off. Default: `30s`.
    #[serde(default = "half_a_minute")]
    pub leeway: Duration,
    /// The longest time from `iat` to `exp`; when it is given, a token without `iat` is refused.
    /// Default: none, `exp` alone decides.
    pub max_lifetime: Option<Duration>,
    /// What the backend gets to see.
    #[serde(default)]
    pub forward: ForwardConfig,
}

const fn half_a_minute() -> Duration {
    Duration::from_secs(30)
}

/// A key that signatures are checked with.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct KeyConfig {
    /// The secret that issuer and gateway share: at least as many bytes as the hash of each of the
    /// provider's algorithms has.
    pub secret: ObjectOnly<SecretConfig>,
    /// Its name in the `kid` of a token.
    pub kid: Option<Identifier>,
    /// Whether it may be shorter than the hash. Such a key can be guessed from a single token.
    #[serde(default)]
    pub allow_short: bool,
}

/// A place in a request where a token may be.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// The header.
    pub header: HeaderName,
    /// The word before the token, such as `Bearer`, in any case. Without it, the header's whole
    /// value is the token.
    pub scheme: Option<Scheme>,
}

/// What the backend gets to see of a token.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ForwardConfig {
    /// The token itself: `strip` or `keep`. Default: `strip`.
    #[serde(default)]
    pub token: TokenForward,
    /// Claims, each by its name or dotted path, and the header that it goes to: a string, a number,
    /// a boolean, or a list of these joined by spaces. A header of any provider is emptied where
    /// the token has no such claim, so that no client can write it.
    #[serde(default)]
    pub claims: ByClaim<WritableHeader>,
}

/// What becomes of a token that was accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum TokenForward {
    /// The backend does not see it.
    #[default]
    Strip,
    /// The backend sees it.
    Keep,
}

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
    pub require: Option<RequireConfig>,
}

/// Who passes without a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Allow {
    /// Everybody.
    Anyone,
}

/// What a token must show. All of it must hold.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RequireConfig {
    /// The providers of which one must have issued it.
    pub any_of: NonEmpty<Name>,
    /// Scopes that it must have, each of them: in `scope` (one text, separated by spaces), or,
    /// where there is none, in `scp` (such a text, or a list).
    #[serde(default)]
    pub scopes: List<Scope>,
    /// Claims by name or dotted path, each with the values of which it must have one. A claim that
    /// is a list has those that are in it.
    #[serde(default)]
    pub claims: ByClaim<NonEmpty<ClaimValue>>,
}

/// What becomes of CORS preflights: OPTIONS with `Origin` and `Access-Control-Request-Method`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum CorsPreflight {
    /// They pass: a browser can't put a token into one.
    #[default]
    Pass,
    /// The rules decide, as on any request.
    Check,
}

/// The verified tokens that a worker remembers, so that a token costs one signature check.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CacheConfig {
    /// How many; 0 switches it off. Default: 4096.
    #[serde(default = "four_thousand")]
    pub tokens: Bounded<0, 65_536, u32>,
}

const fn four_thousand() -> Bounded<0, 65_536, u32> {
    Bounded::new(4096)
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            tokens: four_thousand(),
        }
    }
}

#[cfg(test)]
mod tests {
    use portcullis_policy::config::parse_text;

    use super::*;

    #[test]
    fn the_defaults_are_strict() {
        let config: Config = parse_text(
            br#"{"providers": {"p": {"issuer": "i", "audiences": ["a"], "algorithms": ["HS256"],
                "keys": [{"secret": {"env": "S"}}]}}, "rules": [{"allow": "anyone"}]}"#,
        )
        .unwrap();
        assert_eq!(config.realm.as_str(), "portcullis");
        assert_eq!(config.cors_preflight, CorsPreflight::Pass);
        assert_eq!(config.cache.tokens.get(), 4096);
        assert_eq!(config.mode, Mode::Enforce);
        assert_eq!(config.on_error, OnError::Deny);
        let (_, provider) = config.providers.into_vec().remove(0);
        assert_eq!(provider.leeway, Duration::from_secs(30));
        assert_eq!(provider.max_lifetime, None);
        assert_eq!(provider.forward.token, TokenForward::Strip);
        assert!(!provider.keys.as_slice()[0].0.allow_short);
    }
}
