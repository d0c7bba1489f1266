//! The provider as its clients meet it: over TLS.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod answers;
mod client;
mod lifecycle;
mod requests;
mod tls;

/// Whom the providers of the tests are.
const NAME: &str = "id.example.com";
