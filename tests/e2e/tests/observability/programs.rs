//! Prometheus and promtool, where this machine has them.

use std::env;
use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::{Result, bail};
use portcullis_e2e::repository;
use tokio::process::Command;

/// The program that a variable names, or the one of this name on `PATH`; `None` where there is none,
/// which is said aloud.
pub(crate) fn program(variable: &str, name: &str) -> Result<Option<PathBuf>> {
    if let Some(named) = env::var_os(variable) {
        let named = repository().join(named);
        if !named.is_file() {
            bail!("{variable} names {}, which is not there", named.display());
        }
        return Ok(Some(named));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file());
    if found.is_some() {
        return Ok(found);
    }
    let why = format!(
        "there is no {name}: on Debian `apt-get install prometheus` brings it; or set {variable} to its path"
    );
    if env::var_os("CI").is_some() {
        bail!(why);
    }
    // Not by a macro: what those write is shown of failed tests only.
    writeln!(io::stderr(), "a test of observability did not run: {why}")?;
    Ok(None)
}

/// promtool, in the directory `observability`.
pub(crate) fn promtool() -> Result<Option<Command>> {
    let program = program("PROMTOOL_BIN", "promtool")?;
    Ok(program.map(|program| {
        let mut command = Command::new(program);
        command.current_dir(repository().join("observability"));
        command.kill_on_drop(true);
        command
    }))
}
