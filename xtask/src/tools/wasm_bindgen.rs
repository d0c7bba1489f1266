//! wasm-bindgen's test runner, which must be of the very version that the tests link.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use super::version_of;
use crate::command::{cargo, run};
use crate::workspace::Workspace;

/// The test runner, compiled unless it is there in the version of `Cargo.lock`.
///
/// # Errors
/// It does not compile.
pub fn wasm_bindgen_test_runner(workspace: &Workspace) -> Result<PathBuf> {
    let lock = fs::read_to_string(workspace.root().join("Cargo.lock"))
        .context("there is no Cargo.lock; run `cargo generate-lockfile`")?;
    let version = locked(&lock, "wasm-bindgen")?;
    let runner = workspace.tools().join("bin/wasm-bindgen-test-runner");
    let is_right =
        || version_of(&runner).is_ok_and(|says| says.split(' ').next_back() == Some(version));
    if is_right() {
        return Ok(runner);
    }
    eprintln!("Compiling wasm-bindgen-cli {version}, once; it takes some minutes");
    let build = workspace.tools().join("build");
    let mut install = cargo(workspace);
    install.args([
        "install",
        "--quiet",
        "--force",
        "wasm-bindgen-cli",
        "--version",
        version,
    ]);
    install
        .arg("--root")
        .arg(workspace.tools())
        .env("CARGO_TARGET_DIR", &build);
    run(&mut install).context("can't install wasm-bindgen's test runner")?;
    fs::remove_dir_all(&build)?;
    if !is_right() {
        bail!(
            "{} is not of version {version} although it was just installed",
            runner.display()
        );
    }
    Ok(runner)
}

/// A package's version in a `Cargo.lock`.
fn locked<'a>(lock: &'a str, package: &str) -> Result<&'a str> {
    let name = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name).skip(1);
    lines
        .next()
        .and_then(|line| line.strip_prefix("version = \"")?.strip_suffix('"'))
        .with_context(|| format!("Cargo.lock has no {package}; run `cargo generate-lockfile`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_package_and_not_of_a_namesake() {
        let lock = "[[package]]\nname = \"wasm-bindgen-futures\"\nversion = \"0.4.1\"\n\n\
                    [[package]]\nname = \"wasm-bindgen\"\nversion = \"0.2.130\"\n";
        assert_eq!(locked(lock, "wasm-bindgen").unwrap(), "0.2.130");
        assert!(locked(lock, "wasm").is_err());
    }
}
