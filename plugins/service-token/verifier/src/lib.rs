//! Checks, in a backend, that a request came through the gateway: the other side of the filter
//! `service_token`, for each of its three kinds of credential.
//!
//! - [`StaticVerifier`]: the shared secret itself, in a header.
//! - [`TokenVerifier`]: a JWT (RFC 7519) that is signed with it and says for whom the request is made.
//! - [`SignatureVerifier`]: a signature over the request (RFC 9421), good for one time.
//!
//! A [`Verifier`] is one of them, or several of which any may accept. It reads no clock and makes no
//! call; it may be shared between threads.
//!
//! ```
//! use std::time::SystemTime;
//!
//! use portcullis_service_token_verifier::{Algorithm, Secret, TokenVerifier, Verifier};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Both, until every gateway signs with the new one.
//! let secrets = [
//!     Secret::new("2026-12", "new-new-new-new-new-new-new-new-")?,
//!     Secret::new("2026-11", "old-old-old-old-old-old-old-old-")?,
//! ];
//! let tokens = TokenVerifier::new(Algorithm::Hs256, secrets, "https://gateway.example")?;
//! let verifier = Verifier::from(tokens.audience("rag"));
//!
//! let request = http::Request::builder().uri("/search").body(())?;
//! let refused = verifier.verify(&request, SystemTime::now()).unwrap_err();
//! assert_eq!((refused.status().as_u16(), refused.reason()), (401, "missing"));
//! # Ok(())
//! # }
//! ```
//!
//! # What it does not check
//!
//! - The body. A signature covers `content-digest` where the client has sent one; whether that is the
//!   body's is for the backend to say once it has read it: [`content_digest_matches`]. Without one,
//!   nothing is said of the body. A backend that wants one of every request adds it to
//!   [`SignatureVerifier::require`].
//! - Whether a token was there before: a gateway sends one token with many requests until it ends.
//! - Nonces that other processes have seen. Where one service runs as several processes, a signed
//!   request can be replayed once to each of them, and after a restart, as long as it is good.
//!
//! # What has to arrive as it was sent
//!
//! A signature covers method, host, path and query. A proxy between gateway and backend that
//! changes one of them breaks it; so does a router that takes a prefix from the path before the
//! verifier sees it, as axum's `nest` does. The host is compared without the port 80, and with
//! every other port.
#![cfg_attr(
    test,
    allow(clippy::arithmetic_side_effects, reason = "a test fails by panicking")
)]

mod claims;
mod digest;
mod error;
mod head;
mod limits;
mod nonces;
mod request_signature;
mod secret;
mod setup;
mod static_secret;
mod token;
mod token_key;
mod verified;
mod verifier;

pub use digest::{DigestError, content_digest_matches};
pub use error::Error;
pub use head::RequestHead;
pub use request_signature::SignatureVerifier;
pub use secret::Secret;
pub use setup::SetupError;
pub use static_secret::StaticVerifier;
pub use token::TokenVerifier;
pub use token_key::Algorithm;
pub use verified::{Credential, Identity, SignedRequest, Verified};
pub use verifier::Verifier;
