//! The filters as native code: one module for Envoy, in which a filter is chosen by `filter_name`.
//!
//! ```text
//! main thread    config_new: a policy that looks after what is shared and makes the calls ─ ticks, answers
//!                    │ ticks, news                          ▲ wants, metrics
//! worker thread  filter_new: a policy for each worker and configuration ─ requests, responses, ends
//! ```
//!
//! Policies are for one thread. What threads share is a [configuration](config), which is never changed but for counters, and the
//! [store].
#![cfg_attr(test, allow(clippy::arithmetic_side_effects))]

pub mod abi;
mod common;
mod config;
pub mod events;
mod exchange;
mod filters;
mod guard;
mod instance;
mod metrics;
mod response;
mod route;
mod source;
mod store;
mod stream;
mod surroundings;
mod sync;
mod ticker;
mod worker;

pub use common::Event;
pub use store::forget_zones;
pub use surroundings::{Surroundings, install};
