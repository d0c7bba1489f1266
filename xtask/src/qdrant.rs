//! `cargo xtask qdrant`: a collection of the model's real dimension, and its way from a single node to a cluster.
//!
//! Nothing here drops anything: what is there already and does not fit is an error.

mod client;
mod create;
mod migrate;
mod shape;
#[cfg(test)]
mod tests;

use anyhow::Result;

pub use create::Create;
pub use migrate::Migrate;

/// The collection of the guarded system.
const COLLECTION: &str = "docs_index_mxbai";

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Create a collection whose dimension is that of a model's vectors.
    Create(Create),
    /// Copy a collection, by scrolling through it: from a single node to a cluster, for instance.
    Migrate(Migrate),
}

/// How a collection is spread over a cluster.
#[derive(Clone, Debug, clap::Args)]
pub struct Layout {
    /// How many nodes have each point.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    pub replication_factor: u32,

    /// How many parts the collection has; Qdrant's own choice unless it is given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub shards: Option<u32>,
}

/// Does it.
///
/// # Errors
/// An address is wrong, somebody does not answer, or what is there does not fit.
pub fn run(command: &Command) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    match command {
        Command::Create(args) => runtime.block_on(args.run()),
        Command::Migrate(args) => runtime.block_on(args.run()),
    }
}
