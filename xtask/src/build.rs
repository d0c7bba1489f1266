//! `cargo xtask build`: the filters, as the gateways load them.

use std::fs;
use std::path::Path;

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
    native(workspace, &paths)
}

/// The package of the module of native code, and its file.
pub const NATIVE: &str = "portcullis";
/// What Envoy looks for where a filter's configuration names the module `portcullis`.
pub const MODULE: &str = "libportcullis.so";

/// Builds the module of native code, which is for an Envoy on this kind of machine.
fn native(workspace: &Workspace, paths: &MachinePaths) -> Result<()> {
    if !cfg!(target_os = "linux") {
        println!("{MODULE}: left out, since Envoy loads modules of native code on Linux only");
        return Ok(());
    }
    let mut command = cargo(workspace);
    // A panic must not end Envoy, so that the profile is one of its own.
    command.args(["build", "--profile", "native", "-p", NATIVE]);
    command
        .env("CARGO_ENCODED_RUSTFLAGS", paths.rustflags(&[]))
        .env_remove("RUSTFLAGS");
    run_command(&mut command)?;
    let built = workspace.cargo_target().join("native").join(MODULE);
    let module = fs::read(&built).with_context(|| format!("can't read {}", built.display()))?;
    paths.forbid_in(MODULE, &module)?;
    let target = workspace.filters().join(MODULE);
    let written = write_whole(&target, &module)?;
    told(workspace, &target, module.len(), written);
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
    told(workspace, &target, stripped.len(), written);
    Ok(())
}

fn told(workspace: &Workspace, target: &Path, bytes: usize, written: Written) {
    println!(
        "{} {} KB{}",
        workspace.shown(target),
        bytes.div_ceil(1024),
        if written == Written::Unchanged {
            ", unchanged"
        } else {
            ""
        }
    );
}
