//! The backend as its callers meet it: over HTTP, and for faults over bare TCP.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    reason = "a test fails by panicking"
)]

mod api;
mod client;
mod clients;
mod control;
mod faults;
mod lifecycle;
mod ollama;
mod openai;
mod program;
mod qdrant;
mod token;
mod upstreams;
