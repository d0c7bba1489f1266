//! `cargo xtask coverage`: which lines the tests reach. It shows what nothing tests; it does not show that a test would
//! notice a change, which `cargo xtask mutants` does.

use std::env;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::command::{capture, run as run_command};
use crate::packages::Packages;
use crate::tools;
use crate::workspace::Workspace;

/// What to count.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Args {
    /// One package alone, such as portcullis-rate-limit.
    #[arg(long, value_name = "NAME")]
    package: Option<String>,
    /// Also write pages that show each line, into target/llvm-cov/html.
    #[arg(long)]
    html: bool,
}

/// Runs the tests of the product's crates, each its own, and prints a table.
///
/// # Errors
/// A test fails, or a program can't be had.
pub fn run(args: &Args, workspace: &Workspace) -> Result<()> {
    let program = tools::cargo_llvm_cov(workspace)?;
    llvm_tools()?;
    let packages = Packages::read(workspace)?;
    // Asked directly, it takes the word by which Cargo would have found it first.
    let coverage = |words: &[&str]| {
        let mut command = Command::new(&program);
        command
            .current_dir(workspace.root())
            .arg("llvm-cov")
            .args(words);
        command
    };
    let mut test = coverage(&["--no-report"]);
    let of_one = args.package.as_deref();
    for package in packages.product() {
        if of_one.is_none_or(|one| one == package) {
            test.args(["--package", package]);
        }
    }
    // Every line is reached long before the last of them.
    test.env("PORTCULLIS_SCHEDULES", "1000");
    run_command(&mut test)?;
    run_command(&mut coverage(&["report"]))?;
    if args.html {
        run_command(&mut coverage(&["report", "--html"]))?;
    }
    Ok(())
}

/// What reads the counts comes with the compiler, if it is asked for.
fn llvm_tools() -> Result<()> {
    if env::var_os("LLVM_COV").is_some() && env::var_os("LLVM_PROFDATA").is_some() {
        return Ok(());
    }
    let mut rustup = Command::new("rustup");
    let installed = capture(rustup.args(["component", "list", "--installed"]));
    let is_there = installed.is_ok_and(|list| list.contains("llvm-tools"));
    is_there.then_some(()).context(
        "the compiler's llvm-tools are missing: `rustup component add llvm-tools`, or set LLVM_COV and LLVM_PROFDATA to those \
         of an LLVM of the compiler's version (`rustc -vV`)",
    )
}
