//! What all plugins' configurations are made of, each a type that can't hold a wrong value.

mod claim_number;
mod claim_path;
mod client_address;
mod collections;
mod control;
mod covers;
mod duration;
mod error;
mod fallback;
mod matches;
mod millionths;
mod number;
mod refuse;
mod secret;
mod text;
mod upstream;
mod wording;

pub use claim_number::{
    is_reserved_name, is_same_number, json_text, number_as_written, number_text,
};
pub use claim_path::{ClaimPath, Claims, scalar_text};
pub use client_address::{Cidr, ClientAddressConfig};
pub use collections::{List, NonEmpty, ObjectOnly, UniqueMap};
pub use control::ControlConfig;
pub use covers::check_reached;
pub use duration::Duration;
pub use error::{ConfigError, parse_text, parse_value};
pub use fallback::{Fallback, FallbackConfig, HeaderValue};
pub use matches::{Case, HostPattern, IfAmbiguous, Match, Method, PathPattern, TrailingSlash};
pub use millionths::Millionths;
pub use number::Bounded;
pub use refuse::{expected, refuse};
pub use secret::{Encoding, Secret, SecretConfig, SecretText, SecretUse};
pub use text::{
    EnvName, HeaderName, Name, Path, WritableHeader, read_text, text_as_str, text_type,
};
pub use upstream::{Authority, Upstream, UrlScheme};

use serde::Deserialize;

/// Entries by claim.
pub type ByClaim<V> = UniqueMap<ClaimPath, V>;

/// What a plugin, a limit or a breaker does with its decisions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Carries them out.
    #[default]
    Enforce,
    /// Decides, counts and logs, and lets pass.
    Shadow,
    /// Does nothing.
    Off,
}

impl Mode {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Shadow => "shadow",
            Self::Off => "off",
        }
    }

    /// What a part does within a plugin: the weaker of the two modes holds.
    #[must_use]
    pub const fn weaker(self, other: Self) -> Self {
        match (self, other) {
            (Self::Off, _) | (_, Self::Off) => Self::Off,
            (Self::Shadow, _) | (_, Self::Shadow) => Self::Shadow,
            (Self::Enforce, Self::Enforce) => Self::Enforce,
        }
    }
}

/// What becomes of a request when the plugin itself fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// It passes.
    Allow,
    /// It is refused.
    Deny,
}

impl OnError {
    /// The default of what only protects an upstream or a quota.
    #[must_use]
    pub const fn allow() -> Self {
        Self::Allow
    }

    /// The default of what says who may come in.
    #[must_use]
    pub const fn deny() -> Self {
        Self::Deny
    }
}
