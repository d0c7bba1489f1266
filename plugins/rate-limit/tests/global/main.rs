//! Limits that several gateways share, over a network and an engine with faults, against an exact reference. The engine runs the
//! script that Redis runs.

#![cfg(not(target_family = "wasm"))]
#![allow(
    clippy::arithmetic_side_effects,
    reason = "an overflow stops a test, as it should"
)]

#[cfg(test)]
mod configuration;
#[cfg(test)]
mod costs;
#[cfg(test)]
mod play;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod schedules;
#[cfg(test)]
mod script;
#[cfg(test)]
mod server;
