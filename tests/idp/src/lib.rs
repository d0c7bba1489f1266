//! An OpenID provider's key endpoints, for tests that put a real Envoy in front of a backend.
//!
//! It serves what a test sets, by path, over TLS. Its certificate is signed by an authority of its own, whose
//! certificate an Envoy cluster can be given to trust. It counts the requests, and it fails on demand in the ways that
//! whoever fetches keys has to cope with.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use portcullis_idp::{Answer, Idp};
//!
//! let idp = Idp::start("id.example.com").await?;
//! idp.serve("/keys", Answer::Json(r#"{"keys":[]}"#.into()));
//! // … start an Envoy that trusts idp.ca_pem(), with an upstream at 127.0.0.1 and idp.port() …
//! idp.wait_for("/keys", 1).await;
//! idp.stop().await;
//! // … what does the gateway do without it? …
//! idp.resume().await?;
//! # Ok(())
//! # }
//! ```

mod answer;
mod authority;
mod door;
mod idp;
mod requests;

pub use answer::Answer;
pub use idp::Idp;
