//! What is shown and what is kept.

mod date;
mod json;
mod markdown;
mod row;

use std::time::Duration;

use crate::native::measure::Figure;
use crate::run::{Measured, Plan};

pub use date::today;

/// All that was measured in one run.
#[derive(Debug)]
pub struct Report {
    /// Where and how.
    pub run: Run,
    /// In gateways.
    pub parts: Vec<Measured>,
    /// The policies on this machine; none if they were not asked for.
    pub native: Vec<Figure>,
}

/// Where and how it was measured.
#[derive(Clone, Debug)]
pub struct Run {
    /// The day, as `2026-01-31`.
    pub date: String,
    /// The processor, as it calls itself.
    pub processor: String,
    /// Cores that the bench may use.
    pub cores: usize,
    /// Envoy's version.
    pub envoy: String,
    /// How much was measured.
    pub plan: Plan,
    /// How long it took.
    pub took: Duration,
}
