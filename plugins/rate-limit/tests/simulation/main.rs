//! `rate_limit` in the simulator: what it does in single situations, and, over random
//! configurations, keys, costs, clocks, workers and faults, that it does what an exact limiter
//! written for clarity does. See `schedules` of `portcullis_sim` for how many are tried and how
//! one is tried again.

#![allow(
    clippy::arithmetic_side_effects,
    reason = "an overflow stops a test, as it should"
)]

// `cfg(test)` holds here anyway; it tells clippy that all of this is tests, helpers too.
#[cfg(test)]
mod behaviour;
#[cfg(test)]
mod clocks;
#[cfg(test)]
mod concurrency;
#[cfg(test)]
mod control;
#[cfg(test)]
mod floods;
#[cfg(test)]
mod generate;
#[cfg(test)]
mod hot_key;
#[cfg(test)]
mod in_flight;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod schedules;
#[cfg(test)]
mod sequential;
#[cfg(test)]
mod stages;
#[cfg(test)]
mod standing;
#[cfg(test)]
mod tokens;
