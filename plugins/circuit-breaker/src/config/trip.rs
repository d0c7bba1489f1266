//! When a breaker opens.

use portcullis_policy::Span;
use portcullis_policy::config::{Bounded, ConfigError, Duration, Millionths};
use serde::Deserialize;

/// When a breaker opens: at the first of these.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TripConfig {
    /// After so many failures with no success between them.
    pub consecutive_failures: Option<Bounded<1, 10_000, u32>>,
    /// When too large a share of the requests fails.
    pub failure_ratio: Option<FailureRatioConfig>,
    /// When too large a share of the requests is slow.
    pub slow_ratio: Option<SlowRatioConfig>,
    /// In its place: when too large a share of the answers is slow to say anything. Keep-alive comments, roles and empty parts of a
    /// stream are not anything.
    pub slow_first_token: Option<SlowRatioConfig>,
}

/// A share of failures among the requests of a sliding window.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FailureRatioConfig {
    /// Opens when the share is larger than this.
    pub above: Share,
    /// How far back it looks, at least 1 s.
    pub window: Duration,
    /// Not before so many requests have been settled within the window.
    pub minimum_requests: Bounded<1, 1_000_000, u32>,
}

/// A share of slow requests among those of a sliding window.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SlowRatioConfig {
    /// Opens when the share is larger than this.
    pub above: Share,
    /// Slow is what takes longer than this: a response to its headers, an answer to its first text.
    pub slower_than: Duration,
    /// How far back it looks, at least 1 s.
    pub window: Duration,
    /// Not before so many requests have been settled within the window.
    pub minimum_requests: Bounded<1, 1_000_000, u32>,
}

/// A share that can be exceeded: less than 1.
type Share = Millionths<0, 999_999>;

/// Shorter windows would be filled by what workers have not reported to each other yet.
const SHORTEST_WINDOW: Span = Span::from_secs(1);

impl TripConfig {
    /// What is slow, whichever of the two it goes by.
    pub(crate) fn slow(&self) -> Option<&SlowRatioConfig> {
        self.slow_ratio.as_ref().or(self.slow_first_token.as_ref())
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if let Self {
            consecutive_failures: None,
            failure_ratio: None,
            slow_ratio: None,
            slow_first_token: None,
        } = self
        {
            return Err(ConfigError::at(
                "",
                "nothing opens the breaker; expected consecutive_failures, failure_ratio, slow_ratio or slow_first_token",
            ));
        }
        if self.slow_ratio.is_some() && self.slow_first_token.is_some() {
            let rule = "it stands in the place of `slow_ratio`; expected one of them, or a breaker for each";
            return Err(ConfigError::at("slow_first_token", rule));
        }
        let windows = [
            (
                "failure_ratio",
                self.failure_ratio.as_ref().map(|ratio| ratio.window),
            ),
            (
                "slow_ratio",
                self.slow_ratio.as_ref().map(|ratio| ratio.window),
            ),
            (
                "slow_first_token",
                self.slow_first_token.as_ref().map(|ratio| ratio.window),
            ),
        ];
        for (ratio, window) in windows {
            if window.is_some_and(|window| window.span() < SHORTEST_WINDOW) {
                let rule = "shorter than 1s; expected at least 1s";
                return Err(ConfigError::at("window", rule).within(ratio));
            }
        }
        Ok(())
    }
}
