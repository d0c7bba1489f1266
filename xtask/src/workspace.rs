//! Where things lie, and how files get there whole.

use std::env;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// The directories of this repository.
#[derive(Clone, Debug)]
pub struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// The workspace that this crate is part of.
    #[must_use]
    pub fn here() -> Self {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        Self {
            root: package.parent().unwrap_or(package).to_owned(),
        }
    }

    /// The directory of the workspace's `Cargo.toml`.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the filters and their `.meta.json` are put. Gateways and tests read them there, so
    /// that it does not move with `CARGO_TARGET_DIR`.
    #[must_use]
    pub fn filters(&self) -> PathBuf {
        self.root.join("target/filters")
    }

    /// Where fetched tools are put.
    #[must_use]
    pub fn tools(&self) -> PathBuf {
        self.root.join("target/tools")
    }

    /// Where the committed `.meta.json` files are.
    #[must_use]
    pub fn kong_filters(&self) -> PathBuf {
        self.root.join("kong/filters")
    }

    /// Where Cargo puts what it builds.
    #[must_use]
    pub fn cargo_target(&self) -> PathBuf {
        match env::var_os("CARGO_TARGET_DIR") {
            Some(dir) => self.root.join(dir),
            None => self.root.join("target"),
        }
    }

    /// A path as a person in the workspace would type it.
    #[must_use]
    pub fn shown<'a>(&self, path: &'a Path) -> std::path::Display<'a> {
        path.strip_prefix(&self.root).unwrap_or(path).display()
    }
}

/// Whether a file had to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Its content is new.
    New,
    /// It held this already.
    Unchanged,
}

/// Writes a file so that a reader sees all of it or none: a gateway may load it meanwhile. One
/// that holds `content` already is left alone, and keeps its time.
///
/// # Errors
/// The path and why it can't be written.
pub fn write_whole(path: &Path, content: &[u8]) -> Result<Written> {
    if fs::read(path).is_ok_and(|present| present == content) {
        return Ok(Written::Unchanged);
    }
    let written = || -> Result<()> {
        let dir = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(dir)?;
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        file.write_all(content)?;
        // A temporary file is its owner's alone; a gateway in a container runs as someone else.
        file.as_file()
            .set_permissions(fs::Permissions::from_mode(0o644))?;
        file.persist(path)?;
        Ok(())
    };
    written().with_context(|| format!("can't write {}", path.display()))?;
    Ok(Written::New)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b.wasm");
        assert_eq!(write_whole(&path, b"one").unwrap(), Written::New);
        assert_eq!(write_whole(&path, b"one").unwrap(), Written::Unchanged);
        assert_eq!(write_whole(&path, b"two").unwrap(), Written::New);
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path().join("a")).unwrap().count(), 1);
    }
}
