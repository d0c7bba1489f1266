//! `edge`: all four plugins behind one host boundary.
//!
//! The same policies and the same configuration as the four single filters, in an order of its
//! own: limits named in `before_auth`, `jwt_auth`, the other limits, `service_token`,
//! `circuit_breaker`. The breaker is asked last, since a probe's permit must not be taken by a
//! request that something else still refuses; the claims of the verified token reach the limiter
//! directly, with no header in between.

mod config;
mod policy;

pub use config::Config;
pub use policy::{Edge, Flow};
