//! `jwt_auth`: who calls, by a signed token (RFC 7519, RFC 6750).
//!
//! A request is refused unless a rule lets it pass: for anyone, or for callers whose token was
//! issued by one of the rule's providers and carries the scopes and claims that the rule asks for.
//! What the backends learn of the caller are headers that no client can write.
#![cfg_attr(test, allow(clippy::arithmetic_side_effects))]

#[cfg(all(test, target_arch = "wasm32", target_os = "unknown"))]
#[macro_use]
extern crate portcullis_sim;

mod background;
mod base64url;
mod budget;
mod cache;
mod caller;
mod claims;
mod control;
mod discovery;
mod extractor;
#[cfg(feature = "ring")]
mod fast;
mod form;
mod identity;
mod issuer;
mod json;
mod jwks;
mod key;
mod keys;
mod metrics;
mod naming;
mod pem;
mod policy;
mod provider;
mod refusal;
mod rejected;
mod remote;
mod rules;
mod signature;
mod token;
mod verifier;

pub mod config;
pub mod inspect;
pub mod ready;

/// The plugin's name, in its metrics, its lines and its answers.
pub(crate) const NAME: &str = "jwt_auth";

pub use config::Config;
pub use policy::{Flow, JwtAuth};

#[cfg(test)]
mod tests;
