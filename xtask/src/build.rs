//! `cargo xtask build`: the filters, as the gateways load them.

use std::fs;

use anyhow::{Context as _, Result};

use crate::command::{cargo, run as run_command};
use crate::filters::{FILTERS, FOR_KONG, Filter};
use crate::machine_paths::MachinePaths;
use crate::meta;
use crate::strip::strip;
use crate::wasm_target;
use crate::workspace::{Workspace, Written, write_whole};

/// Builds all filters into `target/filters`, and for Envoy alone into `envoy` below it.
///
/// # Errors
/// The target is missing, a crate does not compile, or a module is not as it must be.
pub fn run(workspace: &Workspace) -> Result<()> {
    wasm_target::ensure(wasm_target::FILTERS)?;
    let paths = MachinePaths::of(workspace)?;
    compile(workspace, &paths)?;
    for filter in FILTERS {
        finish(filter, workspace, &paths)?;
    }
    Ok(())
}

fn compile(workspace: &Workspace, paths: &MachinePaths) -> Result<()> {
    let mut command = cargo(workspace);
    command.args(["build", "--release", "--target", wasm_target::FILTERS]);
    for filter in FILTERS {
        command.args(["-p", filter.name]);
    }
    // Only these flags, whatever the environment holds: everyone's filters are the same bytes.
    let flags = paths.rustflags(&["-Ctarget-feature=+simd128"]);
    command
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        .env_remove("RUSTFLAGS");
    run_command(&mut command)
}

fn finish(filter: &Filter, workspace: &Workspace, paths: &MachinePaths) -> Result<()> {
    let file = format!("{}.wasm", filter.name);
    let built = workspace
        .cargo_target()
        .join(wasm_target::FILTERS)
        .join("release")
        .join(&file);
    let wasm = fs::read(&built).with_context(|| format!("can't read {}", built.display()))?;
    let stripped = strip(&wasm, filter.name, &[])?;
    paths.forbid_in(&file, &stripped)?;
    let for_envoy = strip(&wasm, filter.name, FOR_KONG)?;
    write_whole(&workspace.filters().join("envoy").join(&file), &for_envoy)?;

    let target = workspace.filters().join(&file);
    let written = write_whole(&target, &stripped)?;
    let beside = workspace.filters().join(meta::file_name(filter));
    write_whole(&beside, meta::meta_text(filter).as_bytes())?;
    println!(
        "{} {} KB{}",
        workspace.shown(&target),
        stripped.len().div_ceil(1024),
        if written == Written::Unchanged {
            ", unchanged"
        } else {
            ""
        }
    );
    Ok(())
}
