//! What a user writes.

use portcullis_policy::config::{
    Bounded, ClientAddressConfig, ConfigError, Duration, List, Match, Mode, Name, NonEmpty, OnError,
};
use serde::Deserialize;

use crate::KeyPart;

/// Configuration of `rate_limit`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The limits. A request must be admitted by all that match it.
    pub limits: NonEmpty<LimitConfig>,
    /// Keys held at once. Beyond that the idlest make room.
    #[serde(default = "default_capacity")]
    pub capacity: Bounded<1, 1_000_000, u32>,
    /// Headers that tell a client where it stands.
    #[serde(default)]
    pub headers: HeaderStyle,
    /// How the client's address is found.
    #[serde(default)]
    pub client_address: ClientAddressConfig,
    /// Whether CORS preflights are counted.
    #[serde(default)]
    pub cors_preflight: CorsPreflight,
    /// What is done with decisions.
    #[serde(default)]
    pub mode: Mode,
    /// What becomes of a request when the limiter itself fails.
    #[serde(default = "default_on_error")]
    pub on_error: OnError,
    /// In `edge` only: limits that are asked before the token is looked at.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(skip))]
    pub before_auth: List<Name>,
}

/// A limit.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LimitConfig {
    /// Its name. Counts belong to it: a limit of another name starts afresh.
    pub name: Name,
    /// Which requests it is about.
    #[serde(default, rename = "match")]
    pub matches: Match,
    /// What tells clients apart: all parts together.
    pub key: NonEmpty<KeyPart>,
    /// Requests in a window.
    pub quota: Bounded<1, 1_000_000_000, u32>,
    /// The window, at least a second.
    pub window: Duration,
    /// How requests are counted.
    #[serde(default)]
    pub algorithm: Algorithm,
    /// What becomes of a request that lacks a part of the key.
    #[serde(default)]
    pub when_key_missing: WhenKeyMissing,
    /// What is done with this limit's decisions.
    #[serde(default)]
    pub mode: Mode,
}

/// How requests are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// In windows that start at multiples of their length since 1970.
    FixedWindow,
    /// In the window that ends now, estimated from two fixed ones.
    #[default]
    SlidingWindow,
}

/// What becomes of a request that lacks a part of a limit's key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum WhenKeyMissing {
    /// The limit does not count it.
    #[default]
    Skip,
    /// It is refused.
    Deny,
    /// All such requests share one count.
    Share,
}

/// Headers that tell a client where it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum HeaderStyle {
    /// `RateLimit-Policy` and `RateLimit`.
    Ietf,
    /// `X-RateLimit-…`.
    Legacy,
    /// Both.
    #[default]
    Both,
    /// None; `Retry-After` on a refusal stays.
    None,
}

/// Whether CORS preflights are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum CorsPreflight {
    /// They pass uncounted.
    #[default]
    Pass,
    /// They are counted like any other request.
    Check,
}

const fn default_capacity() -> Bounded<1, 1_000_000, u32> {
    Bounded::new(65_536)
}

const fn default_on_error() -> OnError {
    OnError::Allow
}

/// Shortest window. A shorter one is below what clocks of several workers agree on.
const SHORTEST_WINDOW_NANOS: u64 = 1_000_000_000;

/// Most limits of one filter: each that matches is a write to shared data.
const MOST_LIMITS: usize = 32;

impl Config {
    pub(crate) fn refuse_claims(&self) -> Result<(), ConfigError> {
        for (place, limit) in self.limits.as_slice().iter().enumerate() {
            let claim = |part: &KeyPart| matches!(part, KeyPart::Claim(_));
            if let Some(part) = limit.key.as_slice().iter().position(claim) {
                let path = format!("limits[{place}].key[{part}]");
                let rule = "a claim is known in the filter `edge` only, beside `jwt_auth`";
                return Err(ConfigError::at(path, rule));
            }
        }
        Ok(())
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let limits = self.limits.as_slice();
        if limits.len() > MOST_LIMITS {
            return Err(ConfigError::at(
                "limits",
                format!("{} limits; at most {MOST_LIMITS}", limits.len()),
            ));
        }
        for (place, limit) in limits.iter().enumerate() {
            let at = |field: &str| format!("limits[{place}].{field}");
            if limits
                .iter()
                .take(place)
                .any(|other| other.name == limit.name)
            {
                return Err(ConfigError::at(
                    at("name"),
                    format!("{:?} is there twice", limit.name.as_str()),
                ));
            }
            if limit.window.span().as_nanos() < SHORTEST_WINDOW_NANOS {
                return Err(ConfigError::at(at("window"), "shorter than 1s"));
            }
        }
        for (place, name) in self.before_auth.0.iter().enumerate() {
            if !limits.iter().any(|limit| limit.name == *name) {
                let message = format!("{:?} is not the name of a limit", name.as_str());
                return Err(ConfigError::at(format!("before_auth[{place}]"), message));
            }
        }
        Ok(())
    }
}
