//! `circuit_breaker`: stops asking an upstream that fails, and asks again with a few probes.
//!
//! ```text
//! Closed ── a condition of trip ──────────▶ Open
//! Open ── a request after open_for ───────▶ HalfOpen
//! HalfOpen ── a probe failed ─────────────▶ Open
//! HalfOpen ── successes_to_close probes ──▶ Closed
//! ```
//!
//! One state for all workers, in one slot of shared data for each breaker. Each admitted request
//! is settled exactly once: by its response's head, by the end of its stream, or by
//! [`CircuitBreaker::give_back`]. Failures and slow responses are reported to the other workers at once;
//! of what is fine each worker keeps count, and when it saw it last, and tells it with its tick. What
//! is reported late can delay a trip and never bring one about.
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::unreachable))]

#[cfg(all(test, target_arch = "wasm32", target_os = "unknown"))]
#[macro_use]
extern crate portcullis_sim;

mod admitted;
mod backoff;
mod batch;
mod breaker;
mod circuit;
mod classify;
mod config;
mod control;
mod deadline;
mod flow;
mod glance;
mod hold;
mod metrics;
mod permits;
mod policy;
mod record;
mod run;
mod share;
mod status;
mod ticket;
mod transition;
mod watch;
mod window;

/// The plugin's name, in its metrics, its lines and its answers.
pub(crate) const NAME: &str = "circuit_breaker";

pub use config::{
    BreakerConfig, Config, FailureRatioConfig, FailuresConfig, Force, HalfOpenConfig,
    OpenForConfig, SlowRatioConfig, StatusConfig, TripConfig,
};
pub use flow::Flow;
pub use policy::CircuitBreaker;

#[cfg(test)]
mod tests;
