//! `cargo xtask demo`: the gateway in front of a backend, on this machine.

use anyhow::{Result, bail};

/// How to run the demo.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Leave everything running until interrupted.
    #[arg(long)]
    pub keep: bool,
    /// A backend of your own, instead of the one that comes with the demo.
    #[arg(long, value_name = "URL")]
    pub upstream: Option<String>,
    /// The gateway's port on this machine; without it, a free one.
    #[arg(long)]
    pub port: Option<u16>,
}

/// Runs the demo.
///
/// # Errors
/// What can't be started, and why.
pub fn run(_args: &Args) -> Result<()> {
    bail!("the demo can't be started yet")
}
