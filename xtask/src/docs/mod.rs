//! `cargo xtask docs`: the pages as a site with a search, by mdBook.

mod links;
mod sources;

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::command::run as run_command;
use crate::tools;
use crate::workspace::Workspace;

pub use links::broken;
pub use sources::{pages, stage};

/// What to do with the site.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Args {
    /// Open it in a browser.
    #[arg(long)]
    open: bool,
}

/// Builds the site into `target/docs/site`, and follows each link in it.
///
/// # Errors
/// mdBook can't be had, or refuses a page, or a link leads nowhere.
pub fn run(args: Args, workspace: &Workspace) -> Result<()> {
    let home = workspace.root().join("target/docs");
    let mdbook = tools::mdbook(workspace)?;
    if home.exists() {
        fs::remove_dir_all(&home)?;
    }
    stage(workspace, &home)?;
    let site = home.join("site");
    let mut build = Command::new(mdbook);
    build.arg("build").arg(&home);
    if args.open {
        build.arg("--open");
    }
    run_command(&mut build).context("the site can't be built")?;
    let broken = broken(&site)?;
    if !broken.is_empty() {
        bail!("links that lead nowhere:\n{}", broken.join("\n"));
    }
    println!("{}", workspace.shown(&site.join("index.html")));
    Ok(())
}
