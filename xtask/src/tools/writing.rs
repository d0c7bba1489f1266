//! What pages and code are looked through with: a site's builder, a spelling checker, a counter of lines that tests reach.

use std::path::PathBuf;

use anyhow::Result;

use super::crates_io::Package;
use crate::workspace::Workspace;

const MDBOOK: Package<'_> = Package {
    name: "mdbook",
    version: "0.5.4",
    program: "mdbook",
    called: None,
    locked: true,
};

const TYPOS: Package<'_> = Package {
    name: "typos-cli",
    version: "1.52.0",
    program: "typos",
    called: None,
    locked: true,
};

const CARGO_LLVM_COV: Package<'_> = Package {
    name: "cargo-llvm-cov",
    version: "0.9.1",
    program: "cargo-llvm-cov",
    called: Some("llvm-cov"),
    locked: true,
};

/// mdBook, compiled unless it is there.
///
/// # Errors
/// It does not compile.
pub fn mdbook(workspace: &Workspace) -> Result<PathBuf> {
    MDBOOK.program(workspace)
}

/// typos, compiled unless it is there.
///
/// # Errors
/// It does not compile.
pub fn typos(workspace: &Workspace) -> Result<PathBuf> {
    TYPOS.program(workspace)
}

/// cargo-llvm-cov, compiled unless it is there.
///
/// # Errors
/// It does not compile.
pub fn cargo_llvm_cov(workspace: &Workspace) -> Result<PathBuf> {
    CARGO_LLVM_COV.program(workspace)
}
