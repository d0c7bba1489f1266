//! Limits on how many requests a client may make, exact across all workers of a gateway.
//!
//! Counts live in a fixed number of fixed-size slots of shared data ([`table`]), so that memory is
//! bounded by configuration whatever clients send, and are changed by compare-and-swap only, so
//! that no interleaving of workers admits more than a quota. All limits are looked at before one is
//! charged ([`ask`]), so that a request that is refused leaves nothing behind.
#![cfg_attr(test, allow(clippy::arithmetic_side_effects))]

#[cfg(all(test, target_arch = "wasm32", target_os = "unknown"))]
#[macro_use]
extern crate portcullis_sim;

mod answer;
mod ask;
mod body;
mod bucket;
mod busiest;
mod changes;
mod config;
mod control;
mod cost;
mod failure;
mod global;
mod hash_key;
mod headers;
mod include_usage;
mod key;
mod lease_metrics;
mod leased;
mod limit;
mod max_body;
mod models;
mod permits;
mod policy;
mod quota;
#[cfg(test)]
mod random;
mod range;
mod refusal;
mod rewrite;
mod sizing;
mod standing;
mod stopped;
mod table;
mod terms;
mod value;
mod withdrawn;
mod without;

/// The plugin's name, in its metrics, its lines and its answers.
pub(crate) const NAME: &str = "rate_limit";

pub use config::{
    AcceptEncoding, AnsweredConfig, Config, CorsPreflight, Cost, EngineAway, EngineName,
    FirstRequest, GlobalConfig, HeaderStyle, IncludeUsage, LeaseConfig, LimitConfig, Log, MaxBody,
    Scope, UsageConfig, WhenUnserved,
};
pub use key::{KeyPart, WhenKeyMissing};
pub use policy::{Asked, Beside, Flow, RateLimit, Stage, UNAVAILABLE};
pub use quota::Algorithm;
pub use standing::Standing;
