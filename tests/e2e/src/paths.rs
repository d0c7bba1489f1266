//! Where things lie.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// The repository's root.
#[must_use]
pub fn repository() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).unwrap_or(package).to_owned()
}

/// Where the built filters are: `target/filters`, or what `PORTCULLIS_FILTERS` names.
#[must_use]
pub fn filters() -> PathBuf {
    let named = env::var_os("PORTCULLIS_FILTERS").map(PathBuf::from);
    repository().join(named.unwrap_or_else(|| "target/filters".into()))
}

/// Whether the filters are to run as native code instead of as Wasm, from the same rows: where `PORTCULLIS_NATIVE` is set.
#[must_use]
pub fn natively() -> bool {
    env::var_os("PORTCULLIS_NATIVE").is_some()
}

/// A filter's file.
pub(crate) fn filter(file: &Path) -> Result<PathBuf> {
    let name = file
        .file_name()
        .with_context(|| format!("{} names no file", file.display()))?;
    // What is built for Envoy alone lies in a folder of its own.
    let for_envoy = file
        .parent()
        .is_some_and(|folder| folder.ends_with("filters/envoy"));
    let folder = if for_envoy { "envoy" } else { "" };
    let path = filters().join(folder).join(name);
    if !path.is_file() {
        bail!("{} is not there; run `cargo xtask build`", path.display());
    }
    Ok(path)
}

/// The Envoy that `ENVOY_BIN` names, or the one on `PATH`.
///
/// # Errors
/// There is none.
pub fn envoy_binary() -> Result<PathBuf> {
    if let Some(named) = env::var_os("ENVOY_BIN") {
        let named = repository().join(named);
        if !named.is_file() {
            bail!("ENVOY_BIN names {}, which is not there", named.display());
        }
        return Ok(named);
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path)
        .map(|dir| dir.join("envoy"))
        .find(|file| file.is_file());
    found.context(
        "there is no Envoy: `cargo xtask test --only e2e` fetches one and runs these tests; or put \
         one on PATH, or set ENVOY_BIN to its path",
    )
}
