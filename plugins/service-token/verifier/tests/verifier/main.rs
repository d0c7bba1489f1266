//! The verifier as backends use it: tables of what is accepted and what is not, and what the
//! gateway's filter writes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking"
)]

mod axum;
mod never_panics;
mod plugin;
mod replay;
mod rfc9421;
mod rotation;
mod scene;
mod signature;
mod static_secret;
mod token;
mod token_times;
