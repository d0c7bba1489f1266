//! `cargo xtask bench`: what it costs to check a token and to write a credential, native and in Envoy.

use anyhow::Result;

use crate::command::{cargo, run as run_command};
use crate::workspace::Workspace;
use crate::{build, tools};

/// How to measure.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Args {
    /// In under a minute instead of under six; the figures stray more.
    #[arg(long)]
    pub quick: bool,
}

/// Builds what is measured and measures it.
///
/// # Errors
/// Something does not build, there is no Envoy, or a request was not answered as it must be.
pub fn run(args: &Args, workspace: &Workspace) -> Result<()> {
    println!("Building the filters and finding an Envoy");
    build::run(workspace)?;
    let envoy = tools::envoy(workspace)?;
    println!("Building the bench, as the filters are built");
    let json = workspace.root().join("target/bench/figures.json");
    let mut bench = cargo(workspace);
    bench.args(["run", "--release", "-p", "portcullis-bench", "--"]);
    bench.arg("--envoy").arg(envoy);
    bench.arg("--filters").arg(workspace.filters());
    bench.arg("--json").arg(&json);
    if args.quick {
        bench.arg("--quick");
    }
    run_command(&mut bench)?;
    println!("All figures are in {}", workspace.shown(&json));
    Ok(())
}
