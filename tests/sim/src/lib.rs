//! A world for policies to be tried in: a clock that stands still until it is moved, entropy from
//! a seed, shared data with the faults of both gateways, and workers whose steps interleave as a
//! seed says. Nothing here is global, nothing sleeps, and every run can be repeated.

mod clock;
mod contract;
mod entropy;
mod interleave;
mod schedules;
mod store;
mod telemetry;
mod worker;
mod zone;

pub use clock::VirtualClock;
pub use contract::check_store;
pub use entropy::SeededEntropy;
pub use interleave::{Turns, interleave};
pub use schedules::{Draw, Part, check_shares, schedules_or, telling};
pub use store::ZoneStore;
pub use telemetry::RecordingTelemetry;
pub use worker::{Answer, CallAnswer, Env, Worker, World};
pub use zone::{SetResult, Zone};

/// What `#[test]` means where tests run as Wasm under Node: the crates under test take it with
/// `#[macro_use] extern crate portcullis_sim`.
#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
pub use wasm_bindgen_test::wasm_bindgen_test as test;

/// Which gateway's rules hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Envoy.
    Envoy,
    /// Kong's data plane.
    Kong,
}

impl Dialect {
    /// Both, for tests that hold in either.
    pub const BOTH: [Dialect; 2] = [Dialect::Envoy, Dialect::Kong];
}
