//! What Envoy says of streams, in whichever way a filter asks it.
#![cfg_attr(test, allow(clippy::arithmetic_side_effects))]

mod details;

pub use details::origin_by;

/// The header in which Envoy's router says how long the upstream took, unless `suppress_envoy_headers` is set: what has it is
/// neither Envoy's own answer nor that of another filter.
pub const UPSTREAM_SERVICE_TIME: &str = "x-envoy-upstream-service-time";
