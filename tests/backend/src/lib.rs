//! A small RAG service, and stand-ins for what it depends on: what the demo guards, and what the end-to-end tests drive
//! through a gateway.
//!
//! It answers as the services of the guarded system do: a search over real text, an answer streamed as server-sent
//! events, collections, a health route, all behind the shared secret in `X-Service-Token`, or behind whatever credential
//! a verifier accepts. Beyond that it remembers which requests reached it, and fails on demand in the ways that a
//! gateway has to cope with.
//!
//! In another [`Role`] it speaks as Ollama or as Qdrant does, as far as the guarded services ask, and fails in the same
//! ways; a RAG service with [`UpstreamSettings`] embeds, searches and writes by them.
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
mod app;
mod backend;
mod connection;
mod control;
mod corpus;
mod fault;
mod inject;
mod ollama;
mod probe;
mod problem;
mod qdrant;
mod requests;
mod role;
mod search;
mod sentences;
mod start_error;
mod token;
mod upstreams;

pub use backend::{Backend, Builder, Running};
pub use fault::{Fault, FaultKind, Faults, InvalidFault};
pub use probe::{ProbeError, probe};
pub use requests::{ReceivedRequest, Requests};
pub use role::Role;
pub use start_error::StartError;
pub use upstreams::UpstreamSettings;
