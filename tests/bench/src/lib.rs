//! What it costs to check a token: by the policy on this machine, and by the built filter in a real
//! Envoy, for every signature algorithm.
//!
//! All figures are CPU time, so that whatever else runs on the machine is not counted, though it
//! does slow things down. Every figure is a difference: a request whose token is checked, less the
//! same request where `allow: anyone` lets it pass unseen. The two take turns, and so do all the
//! subjects, round after round; what is shown is the median of the rounds.

pub mod credentials;
pub mod envoy;
pub mod measure;
pub mod native;
pub mod report;
pub mod scene;

mod bootstrap;
mod client;
