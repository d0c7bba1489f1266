//! cargo-mutants, which changes code and asks the tests.

use std::path::PathBuf;

use anyhow::Result;

use super::crates_io::Package;
use crate::workspace::Workspace;

const CARGO_MUTANTS: Package<'_> = Package {
    name: "cargo-mutants",
    version: "27.1.0",
    program: "cargo-mutants",
    called: Some("mutants"),
    locked: true,
};

/// cargo-mutants, compiled unless it is there.
///
/// # Errors
/// It does not compile.
pub fn cargo_mutants(workspace: &Workspace) -> Result<PathBuf> {
    CARGO_MUTANTS.program(workspace)
}
