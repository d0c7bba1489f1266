//! wasm-bindgen's test runner, which must be of the very version that the tests link.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::crates_io::Package;
use crate::workspace::Workspace;

/// The test runner, compiled unless it is there in the version of `Cargo.lock`.
///
/// # Errors
/// It does not compile.
pub fn wasm_bindgen_test_runner(workspace: &Workspace) -> Result<PathBuf> {
    let lock = fs::read_to_string(workspace.root().join("Cargo.lock"))
        .context("there is no Cargo.lock; run `cargo generate-lockfile`")?;
    let runner = Package {
        name: "wasm-bindgen-cli",
        version: locked(&lock, "wasm-bindgen")?,
        program: "wasm-bindgen-test-runner",
        called: None,
        // Its lock file names a release that was withdrawn.
        locked: false,
    };
    runner.program(workspace)
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
