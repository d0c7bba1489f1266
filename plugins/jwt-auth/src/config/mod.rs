//! What a user writes.

mod algorithm;
mod audiences;
mod claims;
mod form;
mod issuer;
mod jwk;
mod keys;
mod remote;
mod rules;
mod words;

use portcullis_policy::config::{
    Bounded, ByClaim, ClientAddressConfig, ControlConfig, Duration, HeaderName, Mode, Name,
    NonEmpty, ObjectOnly, OnError, Path, UniqueMap, WritableHeader,
};
use serde::Deserialize;

pub use algorithm::{Algorithm, AlgorithmName};
pub use audiences::Audiences;
pub use claims::ClaimValue;
pub use form::{BoundTokens, Padding};
pub use issuer::{IssuerConfig, IssuerTemplate};
pub(crate) use issuer::{TemplatePart, is_claim};
pub use jwk::{JwkConfig, JwksConfig};
pub use keys::{KeyConfig, PublicKeyConfig};
pub use portcullis_policy::config::{Authority, Upstream, UrlScheme};
pub use remote::{DiscoveryConfig, JwksHostConfig, RemoteJwksConfig};
pub use rules::{Allow, IfInvalid, OptionalConfig, PresentedConfig, RequireConfig, RuleConfig};
pub use words::{Identifier, ParameterName, Realm, Scheme, Scope, Target, TokenType};

/// The configuration of `jwt_auth`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Who issues tokens, each by a name that rules, metrics and log lines know it by.
    pub providers: UniqueMap<Name, ProviderConfig>,
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
    /// The longest token that is read, in bytes, 1024 to 65536. Gateways take no more than 8 KiB
    /// (Kong) or 60 KiB (Envoy) of headers unless told to. Default: 8192.
    #[serde(default = "eight_kib")]
    pub max_token_bytes: Bounded<1024, 65_536, u32>,
    /// How many bad signatures of one client are looked at.
    #[serde(default)]
    pub verify_budget: VerifyBudgetConfig,
    /// How a client is told from another, for `verify_budget`.
    #[serde(default)]
    pub client_address: ClientAddressConfig,
    /// `enforce`, `shadow` (decide, count and log, and let pass) or `off`. Default: `enforce`.
    #[serde(default)]
    pub mode: Mode,
    /// A path of the gateway's own that says whether it has all keys.
    pub ready: Option<ReadyConfig>,
    /// Where it is asked who a caller of the log is. In `edge` it stands beside the plugins.
    pub control: Option<ControlConfig>,
    /// Whether the log may say of whom a refused token is, by its `sub`. Without that it has a name for them that only
    /// `control` can read, or none where there is no `control`. Default: `false`.
    #[serde(default)]
    pub log_subject: bool,
    /// Whether what goes to backends of a caller (`forward.claims`) is also in Envoy's dynamic metadata, under `portcullis` and the
    /// header's name, for its access log and other filters. Only where the filter is native code. Default: `false`.
    #[serde(default)]
    pub identity_metadata: bool,
    /// What becomes of a request when the plugin itself fails: `allow` or `deny`. With `allow`, a
    /// request whose headers the gateway can't show passes as it is, and nothing that it says of
    /// its caller is to be believed. Default: `deny`.
    #[serde(default = "OnError::deny")]
    pub on_error: OnError,
}

const fn eight_kib() -> Bounded<1024, 65_536, u32> {
    Bounded::new(8192)
}

/// A path that tells whether this gateway can judge every token: 200 when the keys of all providers
/// are there, and 503 with the names of the providers whose keys are missing or too old.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ReadyConfig {
    /// GET and HEAD of this path are answered by the gateway itself, before any rule and without a
    /// token.
    pub path: Path,
}

/// One issuer of tokens.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ProviderConfig {
    /// What `iss` of its tokens is, to the letter, or as an object with `template`, in which each
    /// `{claim}` is what the token's claim of that name says: 1 to 128 of `A-Z a-z 0-9 - _`. No two
    /// providers have the same; one that is given to the letter comes before a template.
    pub issuer: IssuerConfig,
    /// A token is for us when its `aud` is one of these, or holds one of them. `unchecked`: `aud` is
    /// not looked at, and `claims` must say in its stead which tokens are for us.
    pub audiences: Audiences,
    /// The signature algorithms that its tokens may use. A key serves only those of its own type.
    /// `EdDSA` and `Ed25519` are two names of one.
    pub algorithms: NonEmpty<AlgorithmName>,
    /// Its keys. A token's `kid` chooses those of its name; where none of them fits, or for a token
    /// without, up to 16 of a fitting type are tried: for a token with a `kid` those without.
    pub keys: NonEmpty<ObjectOnly<KeyConfig>>,
    /// What `typ` in a token's header may be, in any case, with or without `application/` (RFC 7515
    /// section 4.1.9), such as `at+jwt` for access tokens (RFC 9068). Default: it is not looked at.
    pub types: Option<NonEmpty<TokenType>>,
    /// Tokens with `cnf`, which are bound to a key of their holder's (RFC 9449, RFC 8705): `refuse`,
    /// since nobody here checks that it is the holder who sends one, or `accept`. Default: `refuse`.
    #[serde(default)]
    pub bound_tokens: BoundTokens,
    /// `=` at the end of a token's segments, as AWS load balancers write it: `refuse` or `accept`.
    /// Default: `refuse`.
    #[serde(default)]
    pub padding: Padding,
    /// Where a request carries the token. Default: `authorization`, after `Bearer`.
    pub token_from: Option<NonEmpty<SourceConfig>>,
    /// How far the issuer's clock may be off. Default: `30s`.
    #[serde(default = "<Duration<0>>::secs::<30>")]
    pub leeway: Duration<0>,
    /// The longest time from `iat` to `exp`; when it is given, a token without `iat` is refused.
    /// Default: none, `exp` alone decides.
    pub max_lifetime: Option<Duration>,
    /// What the backend gets to see.
    #[serde(default)]
    pub forward: ForwardConfig,
    /// Claims that every token of this issuer must show, by name or path, each with the values of
    /// which it must have one. A token that does not is refused as one for somebody else is.
    #[serde(default)]
    pub claims: ByClaim<NonEmpty<ClaimValue>>,
}

/// A place in a request where a token may be: exactly one of `header`, `cookie` and `query`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// A header.
    pub header: Option<HeaderName>,
    /// The word before the token in that header, such as `Bearer`, in any case. Without it, the
    /// header's whole value is the token.
    pub scheme: Option<Scheme>,
    /// A cookie.
    pub cookie: Option<ParameterName>,
    /// A parameter of the query. Queries stand in access logs and in browsers' histories.
    pub query: Option<ParameterName>,
}

/// What the backend gets to see of a token.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ForwardConfig {
    /// The token itself: `strip` or `keep`. Default: `strip`.
    #[serde(default)]
    pub token: TokenForward,
    /// Claims, each by its name, dotted path or JSON Pointer, and the header that it goes to: a
    /// string, a number, a boolean, a list of these as `lists` says, or base64url of the JSON of
    /// anything else. A header of any provider is emptied where the token has no such claim, so that no client can
    /// write it.
    #[serde(default)]
    pub claims: ByClaim<WritableHeader>,
    /// How a list goes into a header: its entries separated by `space` or by `comma`, or as `json`.
    /// An entry that could not be told from two, or from none, empties the header; `json` has no
    /// such entries. Default: `space`.
    #[serde(default)]
    pub lists: Lists,
    /// The header that the token's whole payload goes to, in base64url, as in the token.
    pub payload_header: Option<WritableHeader>,
}

/// How a list goes into a header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Lists {
    /// Entries separated by a space.
    #[default]
    Space,
    /// Entries separated by a comma.
    Comma,
    /// As JSON.
    Json,
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
#[serde(default, deny_unknown_fields)]
pub struct CacheConfig {
    /// How many; 0 switches it off. Default: 4096.
    pub tokens: Bounded<0, 65_536, u32>,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            tokens: Bounded::new(4096),
        }
    }
}

/// How many tokens with a bad signature a client may send before they are refused unseen, per
/// worker; as many once more get a second chance that are in other callers' names than those. Checking an asymmetric signature is the most expensive thing that a client can ask for;
/// tokens that were good before cost none, and good ones are not counted.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct VerifyBudgetConfig {
    /// How many bad asymmetric signatures; 0 switches the budget off. Default: 100.
    pub failures: Bounded<0, 1_000_000, u32>,
    /// In what time. Default: `10s`.
    pub window: Duration,
    /// How many of all clients together, in the same time. Behind that only the tokens of callers
    /// whom the worker has verified before are looked at, so many once more. Default: 1000.
    pub total: Bounded<1, 10_000_000, u32>,
}

impl Default for VerifyBudgetConfig {
    fn default() -> Self {
        Self {
            failures: Bounded::new(100),
            window: Duration::from_secs(10),
            total: Bounded::new(1000),
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
        assert_eq!(config.max_token_bytes.get(), 8192);
        assert_eq!(config.mode, Mode::Enforce);
        assert_eq!(config.on_error, OnError::Deny);
        assert!(!config.log_subject && config.control.is_none());
        let (_, provider) = config.providers.into_vec().remove(0);
        assert_eq!(provider.leeway, Duration::from_secs(30));
        assert_eq!(config.verify_budget.failures.get(), 100);
        assert_eq!(config.verify_budget.window, Duration::from_secs(10));
        assert_eq!(provider.max_lifetime, None);
        assert_eq!(provider.bound_tokens, BoundTokens::Refuse);
        assert_eq!(provider.padding, Padding::Refuse);
        assert!(provider.types.is_none());
        assert_eq!(provider.forward.token, TokenForward::Strip);
        assert!(!provider.keys.as_slice()[0].0.allow_short);
    }
}
