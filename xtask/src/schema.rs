//! `cargo xtask schema`: the `.meta.json` files under version control.

use std::fs;

use anyhow::{Result, bail};

use crate::filters::FILTERS;
use crate::meta::{file_name, meta_text};
use crate::workspace::{Workspace, Written, write_whole};

/// What to do with the files.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Args {
    /// Compare only, and fail if a file is not what the Rust types say.
    #[arg(long)]
    check: bool,
}

/// Writes or checks the files.
///
/// # Errors
/// A file can't be written, or is not as it should be.
pub fn run(args: &Args, workspace: &Workspace) -> Result<()> {
    if args.check {
        check(workspace)
    } else {
        write(workspace)
    }
}

/// Compares the files with the configuration types.
///
/// # Errors
/// Files differ; the message names them and the command that writes them.
pub fn check(workspace: &Workspace) -> Result<()> {
    let mut stale = Vec::new();
    for filter in FILTERS {
        let path = workspace.kong_filters().join(file_name(filter));
        if fs::read(&path).ok().as_deref() != Some(meta_text(filter).as_bytes()) {
            stale.push(workspace.shown(&path).to_string());
        }
    }
    if !stale.is_empty() {
        bail!(
            "{} not as the configuration types say; run `cargo xtask schema` and commit the result",
            stale.join(", ")
        );
    }
    Ok(())
}

fn write(workspace: &Workspace) -> Result<()> {
    for filter in FILTERS {
        let path = workspace.kong_filters().join(file_name(filter));
        let written = write_whole(&path, meta_text(filter).as_bytes())?;
        let note = if written == Written::Unchanged {
            ", unchanged"
        } else {
            ""
        };
        println!("{}{note}", workspace.shown(&path));
    }
    Ok(())
}
