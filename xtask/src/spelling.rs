//! `cargo xtask spelling`: misspelt words in pages and code. What looks like one and is none stands in `typos.toml`.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::command::run as run_command;
use crate::tools;
use crate::workspace::Workspace;

/// What to do with what is found.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Args {
    /// Write the right word where there is but one.
    #[arg(long)]
    write: bool,
}

/// Looks through all files that git knows.
///
/// # Errors
/// A word is misspelt, or typos can't be had.
pub fn run(args: Args, workspace: &Workspace) -> Result<()> {
    let mut typos = Command::new(tools::typos(workspace)?);
    typos.current_dir(workspace.root());
    if args.write {
        typos.arg("--write-changes");
    }
    run_command(&mut typos).context("a word that is right as it is belongs into typos.toml")
}
