//! cargo-fuzz, which builds fuzz targets, and the compiler that it takes.

use std::env;
use std::path::PathBuf;

use anyhow::{Result, bail};

use super::crates_io::Package;
use super::on_path;
use crate::workspace::Workspace;

/// The release that is known to build the targets with a stable compiler.
const CARGO_FUZZ: Package<'_> = Package {
    name: "cargo-fuzz",
    version: "0.13.2",
    program: "cargo-fuzz",
    called: None,
    locked: true,
};

/// cargo-fuzz, compiled unless it is there.
///
/// # Errors
/// It does not compile, or there is no C++ compiler.
pub fn cargo_fuzz(workspace: &Workspace) -> Result<PathBuf> {
    if env::var_os("CXX").is_none() && on_path("c++").is_none() {
        bail!(
            "there is no C++ compiler, and libFuzzer is C++; install one (Debian: `apt install \
             g++`), or set CXX to its path"
        );
    }
    CARGO_FUZZ.program(workspace)
}
