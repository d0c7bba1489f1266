//! A small RAG service: what the demo guards, and what the end-to-end tests drive through a gateway.
//!
//! It answers as the services of the guarded system do: a search over real text, an answer streamed as server-sent
//! events, collections, a health route, all behind the shared secret in `X-Service-Token`, or behind whatever credential
//! a verifier accepts. Beyond that it remembers which requests reached it, and fails on demand in the ways that a
//! gateway has to cope with.
//!
//! ```no_run
//! # async fn example() -> Result<(), portcullis_backend::StartError> {
//! use portcullis_backend::{Backend, Fault};
//!
//! let backend = Backend::builder().service_token(Some("secret".into())).test_routes(true).start().await?;
//! backend.faults().set(Fault::drop_connection().on("/api/v1/rag/search").times(5));
//! // … send requests to backend.addr() …
//! assert_eq!(backend.requests().total(), 0);
//! backend.stop().await;
//! # Ok(())
//! # }
//! ```
#![expect(
    clippy::disallowed_methods,
    reason = "these rules are the product's: here, time is the machine's"
)]

mod api;
mod backend;
mod connection;
mod control;
mod corpus;
mod fault;
mod inject;
mod problem;
mod requests;
mod search;
mod token;

pub use backend::{Backend, Builder, Running, StartError};
pub use fault::{Fault, FaultKind, Faults, InvalidFault};
pub use requests::{ReceivedRequest, Requests};
