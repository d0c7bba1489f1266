//! What a user writes.

use std::collections::BTreeSet;

use portcullis_policy::config::{
    Bounded, ConfigError, Duration, List, Match, Mode, Name, NonEmpty, OnError, Path,
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
    /// What is done with the decisions of all breakers.
    #[serde(default)]
    pub mode: Mode,
    /// What becomes of a request when the plugin itself fails.
    #[serde(default = "allow")]
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
}

/// When a breaker opens.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TripConfig {
    /// After so many failures with no success between them.
    pub consecutive_failures: Bounded<1, 10_000, u32>,
}

/// What counts as a failure of the upstream.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FailuresConfig {
    /// These statuses, when the upstream itself answered with them.
    #[serde(default = "server_errors")]
    pub status: List<Bounded<400, 599, u16>>,
    /// A connection that could not be made, or that broke.
    #[serde(default = "yes")]
    pub connection: bool,
    /// No answer in time.
    #[serde(default = "yes")]
    pub timeout: bool,
}

/// How long a breaker stays open.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct OpenForConfig {
    /// From the failure that opened it to the first probe.
    #[serde(default = "half_a_minute")]
    pub initial: Duration,
}

/// How a breaker finds out whether it may close.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct HalfOpenConfig {
    /// How many requests may probe the upstream at a time.
    #[serde(default = "one_probe")]
    pub probes: Bounded<1, 16, u8>,
    /// After how many probes that succeeded it closes.
    #[serde(default = "one_success")]
    pub successes_to_close: Bounded<1, 1_000, u32>,
    /// After this a probe that was not heard of counts as lost, and another may go. Make it longer
    /// than the gateway waits for the upstream.
    #[serde(default = "lease")]
    pub probe_lease: Duration,
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
        for (place, breaker) in breakers.iter().enumerate() {
            if !names.insert(&breaker.name) {
                return Err(ConfigError::at(
                    format!("breakers[{place}].name"),
                    format!(
                        "{:?} is there twice; expected a name of its own for each breaker",
                        breaker.name.as_str()
                    ),
                ));
            }
            breaker.failures.check().map_err(|error| {
                error
                    .within("failures")
                    .within(&format!("breakers[{place}]"))
            })?;
        }
        Ok(())
    }
}

impl FailuresConfig {
    fn check(&self) -> Result<(), ConfigError> {
        if self.status.0.is_empty() && !self.connection && !self.timeout {
            return Err(ConfigError::at(
                "",
                "nothing counts as a failure; expected a status, connection or timeout",
            ));
        }
        Ok(())
    }
}

impl Default for FailuresConfig {
    fn default() -> Self {
        Self {
            status: server_errors(),
            connection: yes(),
            timeout: yes(),
        }
    }
}

impl Default for OpenForConfig {
    fn default() -> Self {
        Self {
            initial: half_a_minute(),
        }
    }
}

impl Default for HalfOpenConfig {
    fn default() -> Self {
        Self {
            probes: one_probe(),
            successes_to_close: one_success(),
            probe_lease: lease(),
        }
    }
}

const fn allow() -> OnError {
    OnError::Allow
}

fn server_errors() -> List<Bounded<400, 599, u16>> {
    List([500, 502, 503, 504].map(Bounded::new).to_vec())
}

const fn yes() -> bool {
    true
}

const fn half_a_minute() -> Duration {
    Duration::from_secs(30)
}

const fn one_probe() -> Bounded<1, 16, u8> {
    Bounded::new(1)
}

const fn one_success() -> Bounded<1, 1_000, u32> {
    Bounded::new(1)
}

/// Longer than `open_for`, and than the 15 s that Envoy waits for an upstream by default. Kong waits
/// up to 60 s between two reads; a probe that outlives its lease is not heard, so that a slow
/// upstream behind Kong wants a longer one.
const fn lease() -> Duration {
    Duration::from_secs(35)
}

#[cfg(test)]
mod tests {
    use portcullis_policy::config::parse_text;

    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        let config: Config = parse_text(text.as_bytes()).map_err(|error| error.to_string())?;
        config.check().map_err(|error| error.to_string())?;
        Ok(config)
    }

    #[test]
    fn what_is_not_written_has_a_default() {
        let config =
            parse(r#"{"breakers":[{"name":"a","trip":{"consecutive_failures":5}}]}"#).unwrap();
        assert_eq!(
            (config.mode, config.on_error),
            (Mode::Enforce, OnError::Allow)
        );
        let breaker = &config.breakers.as_slice()[0];
        let statuses: Vec<u16> = breaker.failures.status.0.iter().map(|s| s.get()).collect();
        assert_eq!(statuses, [500, 502, 503, 504]);
        assert!(breaker.failures.connection && breaker.failures.timeout);
        assert_eq!(breaker.open_for.initial, Duration::from_secs(30));
        assert_eq!(breaker.half_open.probes.get(), 1);
        assert_eq!(breaker.half_open.successes_to_close.get(), 1);
        assert_eq!(breaker.half_open.probe_lease, Duration::from_secs(35));
    }

    #[test]
    fn an_empty_list_of_statuses_may_be_written_as_kong_writes_it() {
        let text = r#"{"breakers":[{"name":"a","trip":{"consecutive_failures":5},"failures":{"status":{}}}]}"#;
        let config = parse(text).unwrap();
        assert!(config.breakers.as_slice()[0].failures.status.0.is_empty());
    }

    #[test]
    fn an_error_says_path_value_and_rule() {
        let breaker = |fields: &str| {
            format!(
                r#"{{"breakers":[{{"name":"a","trip":{{"consecutive_failures":5}}}},{{{fields}}}]}}"#
            )
        };
        for (text, error) in [
            ("{}".to_owned(), "configuration: missing field `breakers`"),
            (
                r#"{"breakers":[]}"#.to_owned(),
                "breakers: the list is empty; expected at least one entry",
            ),
            (
                breaker(r#""name":"b""#),
                "breakers[1]: missing field `trip`",
            ),
            (
                breaker(r#""name":"b","trip":{}"#),
                "breakers[1].trip: missing field `consecutive_failures`",
            ),
            (
                breaker(r#""name":"b","trip":{"consecutive_failures":0}"#),
                "breakers[1].trip.consecutive_failures: 0 is out of range; expected 1 to 10000",
            ),
            (
                breaker(r#""name":"b","trip":{"consecutive_failures":5,"failure_ratio":{}}"#),
                "breakers[1].trip.failure_ratio: unknown field `failure_ratio`",
            ),
            (
                breaker(r#""name":"b","trip":{"consecutive_failures":5},"force":"open""#),
                "breakers[1].force: unknown field `force`",
            ),
            (
                breaker(
                    r#""name":"b","trip":{"consecutive_failures":5},"open_for":{"multiplier":2}"#,
                ),
                "breakers[1].open_for.multiplier: unknown field `multiplier`",
            ),
            (
                breaker(r#""name":"b","trip":{"consecutive_failures":5},"half_open":{"probes":17}"#),
                "breakers[1].half_open.probes: 17 is out of range; expected 1 to 16",
            ),
            (
                breaker(
                    r#""name":"b","trip":{"consecutive_failures":5},"failures":{"status":[500,200]}"#,
                ),
                "breakers[1].failures.status[1]: 200 is out of range; expected 400 to 599",
            ),
            (
                breaker(
                    r#""name":"b","trip":{"consecutive_failures":5},"failures":{"grpc_status":[4]}"#,
                ),
                "breakers[1].failures.grpc_status: unknown field `grpc_status`",
            ),
            (
                breaker(
                    r#""name":"b","trip":{"consecutive_failures":5},"failures":{"status":[],"connection":false,"timeout":false}"#,
                ),
                "breakers[1].failures: nothing counts as a failure; expected a status, connection or timeout",
            ),
            (
                breaker(r#""name":"a","trip":{"consecutive_failures":5}"#),
                r#"breakers[1].name: "a" is there twice; expected a name of its own for each breaker"#,
            ),
            (
                breaker(r#""name":"a-b","trip":{"consecutive_failures":5}"#),
                r#"breakers[1].name: "a-b" is not a name"#,
            ),
            (
                r#"{"breakers":[{"name":"a","trip":{"consecutive_failures":5}}],"status":{"path":"status"}}"#
                    .to_owned(),
                r#"status.path: "status" is not a path"#,
            ),
        ] {
            let found = parse(&text).unwrap_err();
            assert!(found.starts_with(error), "{text}\n{found}\n{error}");
        }
    }

    #[test]
    fn there_is_an_end_to_breakers() {
        let breakers: Vec<String> = (0..=MOST_BREAKERS)
            .map(|n| format!(r#"{{"name":"b{n}","trip":{{"consecutive_failures":5}}}}"#))
            .collect();
        let text = format!(r#"{{"breakers":[{}]}}"#, breakers.join(","));
        assert_eq!(
            parse(&text).unwrap_err(),
            "breakers: 257 breakers; expected at most 256"
        );
    }
}
