//! Programs that the tests and the demo need: the machine's own, or fetched into `target/tools`.
//!
//! Nothing is installed anywhere else. What is there in the right version is not fetched again.

mod backends;
mod cargo_fuzz;
mod cargo_mutants;
mod crates_io;
mod debian;
mod envoy;
mod node;
mod pypi;
mod schemas;
mod wasm_bindgen;
mod writing;

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::command::capture;

pub use backends::{Variables, node_backend, python_backend};
pub use cargo_fuzz::cargo_fuzz;
pub use cargo_mutants::cargo_mutants;
pub use debian::redis;
pub use envoy::{envoy, envoy_of_pypi};
pub use node::node;
pub use schemas::kubernetes_models;
pub use wasm_bindgen::wasm_bindgen_test_runner;
pub use writing::{cargo_llvm_cov, mdbook, typos};

/// The first program of this name on `PATH`.
fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|program| program.is_file())
}

/// What a program answers to `--version`.
fn version_of(program: &Path) -> Result<String> {
    Ok(capture(Command::new(program).arg("--version"))?
        .trim()
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_on_path() {
        assert!(on_path("sh").unwrap().is_absolute());
        assert_eq!(on_path("no-such-program"), None);
    }
}
