//! `circuit_breaker` in the simulator: over random configurations, callbacks, clocks, workers and
//! faults it does what an exact state machine written for clarity does. See `schedules` of
//! `portcullis_sim` for how many are tried and how one is tried again.

#![allow(
    clippy::arithmetic_side_effects,
    reason = "an overflow stops a test, as it should"
)]

// `cfg(test)` holds here anyway; it tells clippy that all of this is tests, helpers too.
#[cfg(test)]
mod books;
#[cfg(test)]
mod clocks;
#[cfg(test)]
mod concurrency;
#[cfg(test)]
mod court;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod found;
#[cfg(test)]
mod gateway;
#[cfg(test)]
mod generate;
#[cfg(test)]
mod knowledge;
#[cfg(test)]
mod op;
#[cfg(test)]
mod outcome;
#[cfg(test)]
mod play;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod request;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod schedules;
#[cfg(test)]
mod sequential;
#[cfg(test)]
mod status;
#[cfg(test)]
mod sums;
#[cfg(test)]
mod window;
