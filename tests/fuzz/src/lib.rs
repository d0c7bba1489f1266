//! What the fuzz targets check. Each is a function of its input that panics where something does not
//! hold, and drives a filter through its public API alone, so that what is fuzzed is what runs.
//! Nothing outlives a call: an input that fails does so again, alone.

pub mod discovery;
mod gateway;
pub mod jwks;
pub mod module;
mod oracle;
pub mod token;
pub mod usage;

/// The time in a simulated world as it begins, in seconds since the Unix epoch.
pub const NOW: u64 = 1_767_254_400;
