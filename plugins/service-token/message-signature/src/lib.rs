//! HTTP Message Signatures (RFC 9421) of requests, by `hmac-sha256`: as far as a credential between
//! services needs them.
//!
//! What is signed is the *signature base*: a line for each covered [`Component`] of the request, and
//! one for the parameters of the signature. Both sides make it from the request as they see it, so
//! what a gateway changes after it has signed must not be covered.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

mod base;
mod component;
mod field;
mod mac;
mod params;

pub use base::{BaseError, Message, canonical_authority, signature_base};
pub use component::{Component, UnknownComponent};
pub use field::{Malformed, Signed, has, members, without};
pub use mac::Key;
pub use params::{NotAscii, Params, signature_params};

#[cfg(test)]
mod tests;
