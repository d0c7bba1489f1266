//! A real Envoy with our filters, a backend behind it and a client before it.
//!
//! The configurations are those of `envoy/`, as they stand: only ports, the filters' paths and the
//! upstream's address are set, and what a test says aloud. Ports are chosen by the system, so that
//! any number of gateways run side by side, and every process ends with the value that started it.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use portcullis_e2e::Gateway;
//!
//! let gateway = Gateway::with("rate_limit").workers(4).start().await?;
//! let answer = gateway.get("/api/v1/rag/status/health").await?;
//! assert_eq!(answer.status, 200);
//! # Ok(())
//! # }
//! ```

mod admin;
mod answer;
mod bootstrap;
mod envoy;
mod gateway;
mod output;
pub mod page;
mod paths;
mod raw;
mod token;
mod wait;

pub use admin::{Admin, Sample};
pub use answer::Answer;
pub use bootstrap::{Bootstrap, Placement};
pub use envoy::{Envoy, Listeners, Options, Refused};
pub use gateway::{Builder, Gateway, INTER_SERVICE_SECRET, JWT_SECRET_KEY};
pub use output::Output;
pub use paths::{envoy_binary, filters, natively, repository};
pub use portcullis_backend as backend;
pub use raw::{RawAnswer, exchange};
pub use token::Token;
pub use wait::{PATIENCE, until, until_some};
