//! `service_token`: tells a backend that a request came through this gateway, by a credential that
//! no client can send in its stead.
//!
//! Whatever a client sends under the credential's name, in any spelling that a backend could fold
//! into it, does not pass: it is overwritten, emptied, or the request is refused.
#![cfg_attr(test, allow(clippy::arithmetic_side_effects))]

#[cfg(all(test, target_arch = "wasm32", target_os = "unknown"))]
#[macro_use]
extern crate portcullis_sim;

mod config;
mod credential;
mod failure;
mod message;
mod nonces;
mod policy;
mod request_signature;
mod secrets;
mod static_secret;
mod token;

pub use config::{
    ComponentName, Config, CredentialConfig, HmacAlgorithm, InjectConfig, Kind, Label, SecretEntry,
    SecretId, Word,
};
pub use policy::ServiceToken;

#[cfg(test)]
mod tests;
