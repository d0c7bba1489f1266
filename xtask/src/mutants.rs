//! `cargo xtask mutants`: one change of the code after another, and whether a test notices.
//!
//! Hours, so that it is no step of a test run. What survives and can't be told from the original by any test is left
//! out by name, with the reason, in `.cargo/mutants.toml`.

use std::process::Command;
use std::thread;

use anyhow::Result;

use crate::command::run as run_command;
use crate::packages::Packages;
use crate::tools;
use crate::workspace::Workspace;

/// What to change.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// One package alone, such as portcullis-rate-limit.
    #[arg(long, value_name = "NAME")]
    package: Option<String>,
    /// Files alone, such as plugins/rate-limit/src/table.rs.
    #[arg(long, value_name = "GLOB")]
    file: Vec<String>,
    /// The k-th of n parts of the changes, such as 0/8.
    #[arg(long, value_name = "K/N")]
    shard: Option<String>,
}

/// Tries the changes, each against the tests of its own crate.
///
/// # Errors
/// A change that no test noticed, or the tests fail without one.
pub fn run(args: &Args, workspace: &Workspace) -> Result<()> {
    let program = tools::cargo_mutants(workspace)?;
    // Asked directly, it takes the word by which Cargo would have found it first.
    let mut mutants = Command::new(program);
    mutants.current_dir(workspace.root());
    mutants.args(["mutants", "--no-shuffle", "--output", "target"]);
    let packages = Packages::read(workspace)?;
    let all: Vec<&str> = packages.with_mutants().collect();
    let changed = args.package.as_deref();
    for package in changed.as_ref().map_or(&*all, std::slice::from_ref) {
        mutants.args(["--package", package]);
    }
    // Each is compiled once and run once: what makes a test run short makes this one long.
    mutants.env("PORTCULLIS_SCHEDULES", "1000");
    for package in all {
        let level = format!("--config=profile.dev.package.{package}.opt-level=0");
        mutants.args(["--cargo-arg", &level]);
    }
    for file in &args.file {
        mutants.args(["--file", file]);
    }
    if let Some(shard) = &args.shard {
        mutants.args(["--shard", shard]);
    }
    let jobs = thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2));
    mutants.args(["--jobs", &jobs.to_string()]);
    run_command(&mut mutants)
}
