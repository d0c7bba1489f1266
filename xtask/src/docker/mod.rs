//! Images, and the stack of `envoy/compose.yaml` or `kong/compose.yaml` on Docker.

mod base;
mod engine;
mod images;
mod secrets;
mod stack;
mod trial;

pub use base::{fetch_bases, kong};
pub use engine::{Engine, Gateway};
pub use images::{Args as ImagesArgs, images, run as run_images};
pub use secrets::{Args as SecretsArgs, random_hex, run as run_secrets};
pub use stack::{Down, Up};
pub use trial::trial;

/// The version of the images, which is that of the filters.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
