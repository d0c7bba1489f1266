//! What a request costs: chains of filters in real Envoys, ours beside Envoy's own, and the policies as native code.
//!
//! All figures are CPU time, so that whatever else runs on the machine is not counted, though it does slow things down.
//! Every figure is a difference: a gateway with a filter, less one without. All that is compared runs side by side and
//! is loaded in turn, round after round; and each gateway is started several times, since every process has a bias of
//! its own.

pub mod gateway;
pub mod launch;
pub mod machine;
pub mod native;
pub mod parts;
pub mod report;
pub mod run;
pub mod scene;
pub mod stats;
pub mod traffic;

mod config;
mod progress;
