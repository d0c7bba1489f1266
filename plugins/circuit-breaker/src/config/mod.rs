//! What a user writes.

mod failures;
mod recovery;
mod trip;

pub use failures::FailuresConfig;
pub use recovery::{Force, HalfOpenConfig, OpenForConfig};
pub use trip::{FailureRatioConfig, SlowRatioConfig, TripConfig};

use std::collections::BTreeSet;

use portcullis_policy::config::{
    ConfigError, ControlConfig, FallbackConfig, Match, Mode, Name, NonEmpty, OnError, Path,
};
use serde::Deserialize;

/// Breakers, and where their states are shown.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The breakers. A request that several of them match needs all of them to admit it.
    pub breakers: NonEmpty<BreakerConfig>,
    /// Where the breakers' states are shown.
    pub status: Option<StatusConfig>,
    /// Where breakers are looked at, opened and closed by hand. In `edge` it stands beside the plugins.
    pub control: Option<ControlConfig>,
    /// What is done with the decisions of all breakers.
    #[serde(default)]
    pub mode: Mode,
    /// What becomes of a request when the plugin itself fails.
    #[serde(default = "OnError::allow")]
    pub on_error: OnError,
}

/// One breaker.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct BreakerConfig {
    /// Its name: in metrics, in log lines, and for its state in shared data, so that a breaker of
    /// the same name in another filter of the gateway is the same breaker.
    pub name: Name,
    /// The requests that it guards; every request when it is not given.
    #[serde(default, rename = "match")]
    pub matches: Match,
    /// What is done with its decisions.
    #[serde(default)]
    pub mode: Mode,
    /// When it opens.
    pub trip: TripConfig,
    /// What counts as a failure.
    #[serde(default)]
    pub failures: FailuresConfig,
    /// How long it stays open.
    #[serde(default)]
    pub open_for: OpenForConfig,
    /// How it finds out whether it may close.
    #[serde(default)]
    pub half_open: HalfOpenConfig,
    /// Whether it is held open or closed.
    #[serde(default)]
    pub force: Force,
    /// What is set in a request that it would refuse, which then goes on, by another of the gateway's routes.
    pub on_open: Option<FallbackConfig>,
}

/// Where the breakers' states are shown.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct StatusConfig {
    /// GET and HEAD of this path are answered by the filter, whatever their query.
    pub path: Path,
}

/// Every request is compared with every breaker, so there is an end to them.
const MOST_BREAKERS: usize = 256;

impl Config {
    /// Checks what no single field can.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let breakers = self.breakers.as_slice();
        if breakers.len() > MOST_BREAKERS {
            let rule = format!(
                "{} breakers; expected at most {MOST_BREAKERS}",
                breakers.len()
            );
            return Err(ConfigError::at("breakers", rule));
        }
        let mut names = BTreeSet::new();
        for (index, breaker) in breakers.iter().enumerate() {
            if !names.insert(&breaker.name) {
                return Err(ConfigError::at(
                    format!("breakers[{index}].name"),
                    format!(
                        "{:?} is there twice; expected a name of its own for each breaker",
                        breaker.name.as_str()
                    ),
                ));
            }
            breaker
                .check()
                .map_err(|error| error.within(&format!("breakers[{index}]")))?;
        }
        Ok(())
    }
}

impl BreakerConfig {
    /// What of it goes by the bodies of answers.
    pub(crate) const fn reads_responses(&self) -> Option<&'static str> {
        if self.trip.slow_first_token.is_some() {
            Some("trip.slow_first_token")
        } else if self.failures.stall.is_some() {
            Some("failures.stall")
        } else {
            None
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        let of = |part: &'static str| move |error: ConfigError| error.within(part);
        self.trip.check().map_err(of("trip"))?;
        self.failures.check().map_err(of("failures"))?;
        self.open_for.check().map_err(of("open_for"))
    }
}

#[cfg(test)]
mod tests;
