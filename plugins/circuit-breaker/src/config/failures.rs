//! What counts as a failure of the upstream.

use portcullis_policy::Span;
use portcullis_policy::config::{Bounded, ConfigError, Duration, List};
use serde::Deserialize;

/// What counts as a failure of the upstream.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct FailuresConfig {
    /// These statuses, when the upstream itself answered with them.
    pub status: List<Bounded<400, 599, u16>>,
    /// These statuses of gRPC, when the upstream itself answered a gRPC request with them.
    pub grpc_status: List<Bounded<1, 16, u8>>,
    /// A connection that could not be made, or that broke.
    pub connection: bool,
    /// No answer in time.
    pub timeout: bool,
    /// A stream that has begun, and of which nothing comes for so long, at that moment.
    pub stall: Option<Duration>,
}

impl FailuresConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let no_status = self.status.0.is_empty() && self.grpc_status.0.is_empty();
        if no_status && !self.connection && !self.timeout && self.stall.is_none() {
            return Err(ConfigError::at(
                "",
                "nothing counts as a failure; expected a status, a grpc_status, connection, timeout or stall",
            ));
        }
        if self
            .stall
            .is_some_and(|stall| stall.span() < SHORTEST_STALL)
        {
            return Err(ConfigError::at("stall", "shorter than 100ms"));
        }
        Ok(())
    }
}

/// A worker looks every 50 ms.
const SHORTEST_STALL: Span = Span::from_millis(100);

impl Default for FailuresConfig {
    fn default() -> Self {
        Self {
            status: List([500, 502, 503, 504].map(Bounded::new).to_vec()),
            // `DEADLINE_EXCEEDED`, `RESOURCE_EXHAUSTED`, `INTERNAL`, `UNAVAILABLE`.
            grpc_status: List([4, 8, 13, 14].map(Bounded::new).to_vec()),
            connection: true,
            timeout: true,
            stall: None,
        }
    }
}
