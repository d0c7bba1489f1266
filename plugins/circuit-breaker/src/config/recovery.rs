//! How long a breaker stays open, and how it finds out whether it may close.

use portcullis_policy::config::{Bounded, ConfigError, Duration, Millionths};
use serde::Deserialize;

/// How long a breaker stays open.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct OpenForConfig {
    /// From what opened it to the first probe, the first time.
    pub initial: Duration,
    /// Each further time so many times as long, until it has been closed for as long as it was open.
    pub multiplier: Millionths<1_000_000, 100_000_000>,
    /// Never longer than this; five minutes, or `initial` where that is longer.
    pub max: Option<Duration>,
    /// Up to this share of the time is taken off it, by chance, so that several gateways do not come
    /// back together.
    pub jitter: Millionths<0, 1_000_000>,
}

/// How a breaker finds out whether it may close.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct HalfOpenConfig {
    /// How many requests may probe the upstream at a time.
    pub probes: Bounded<1, 16, u8>,
    /// After how many probes that succeeded it closes.
    pub successes_to_close: Bounded<1, 1_000, u32>,
    /// After this another probe may go beside one that was not heard of yet.
    pub probe_lease: Duration,
}

/// What a breaker does whatever it sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Force {
    /// Nothing: it goes by what it sees.
    #[default]
    None,
    /// It refuses every request.
    Open,
    /// It lets every request pass.
    Closed,
}

impl OpenForConfig {
    /// The longest time.
    pub(crate) fn longest(&self) -> Duration {
        self.max
            .unwrap_or_else(|| self.initial.max(Duration::from_secs(300)))
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.longest() < self.initial {
            return Err(ConfigError::at(
                "max",
                "shorter than initial; expected at least as long a time",
            ));
        }
        Ok(())
    }
}

impl Default for OpenForConfig {
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(30),
            multiplier: Millionths::new(1_000_000),
            max: None,
            jitter: Millionths::new(0),
        }
    }
}

impl Default for HalfOpenConfig {
    fn default() -> Self {
        Self {
            probes: Bounded::new(1),
            successes_to_close: Bounded::new(1),
            // Longer than `open_for`, and than the 15 s that Envoy waits for an upstream by default: one that hangs gets
            // one probe.
            probe_lease: Duration::from_secs(35),
        }
    }
}
