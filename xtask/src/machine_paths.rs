//! Paths of the machine that builds: kept out of the filters, and looked for in them.
//!
//! A panic's location is part of a module, and with it the path of a source file: it would tell
//! where somebody's home is, and two machines would build two different filters.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use crate::command::capture;
use crate::workspace::Workspace;

/// The directories that source files come from, each with what stands for it.
pub(crate) struct MachinePaths(Vec<(PathBuf, &'static str)>);

impl MachinePaths {
    /// Asks this machine.
    ///
    /// # Errors
    /// The compiler can't be asked.
    pub(crate) fn of(workspace: &Workspace) -> Result<Self> {
        let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let sysroot = capture(Command::new(rustc).args(["--print", "sysroot"]))?;
        let mut paths = vec![
            (PathBuf::from(sysroot.trim()), "rust"),
            (workspace.root().to_owned(), "portcullis"),
        ];
        if let Some(cargo) = cargo_home() {
            paths.push((cargo.clone(), "cargo"));
            // Each registry's folder is named after its address, which differs behind a mirror.
            let mut registries: Vec<_> = fs::read_dir(cargo.join("registry/src"))
                .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
                .unwrap_or_default();
            registries.sort();
            paths.extend(registries.into_iter().map(|registry| (registry, "crates")));
        }
        Ok(Self(paths))
    }

    /// The compiler's arguments that replace the paths, and `others`, as `CARGO_ENCODED_RUSTFLAGS` takes them: with a
    /// separator that no path holds. Of several replacements that fit, the compiler takes the last.
    pub(crate) fn rustflags(&self, others: &[&str]) -> OsString {
        let mut flags = OsString::from(others.join("\u{1f}"));
        for (path, stands_for) in &self.0 {
            if !flags.is_empty() {
                flags.push("\u{1f}");
            }
            flags.push("--remap-path-prefix=");
            flags.push(path);
            flags.push("=");
            flags.push(stands_for);
        }
        flags
    }

    /// Looks for the paths in a built file.
    ///
    /// # Errors
    /// One is there; the message shows what surrounds it.
    pub(crate) fn forbid_in(&self, name: &str, bytes: &[u8]) -> Result<()> {
        for (path, _) in &self.0 {
            let needle = path.as_os_str().as_encoded_bytes();
            if let Some(found) = bytes
                .windows(needle.len())
                .position(|window| window == needle)
            {
                let rest = bytes.get(found..).unwrap_or_default();
                let end = rest.iter().position(|byte| !byte.is_ascii_graphic());
                let shown = rest
                    .get(..end.unwrap_or(rest.len()).min(200))
                    .unwrap_or_default();
                bail!(
                    "{name} holds a path of this machine: {}; a build script or a macro must have \
                     put it there, which --remap-path-prefix does not reach",
                    String::from_utf8_lossy(shown)
                );
            }
        }
        Ok(())
    }
}

fn cargo_home() -> Option<PathBuf> {
    match env::var_os("CARGO_HOME") {
        Some(home) => fs::canonicalize(&home).ok().or(Some(home.into())),
        None => env::home_dir().map(|home| home.join(".cargo")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_found_and_shown_with_what_follows() {
        let paths = MachinePaths(vec![("/home/somebody/.cargo".into(), "cargo")]);
        paths
            .forbid_in("edge.wasm", b"\0crates/serde/src/de.rs\0")
            .unwrap();
        let error = paths
            .forbid_in("edge.wasm", b"\0/home/somebody/.cargo/x.rs\0y")
            .unwrap_err();
        let error = error.to_string();
        assert!(error.starts_with("edge.wasm holds a path"), "{error}");
        assert!(error.contains("/home/somebody/.cargo/x.rs;"), "{error}");
    }

    #[test]
    fn the_workspace_and_the_registries_are_replaced() {
        let paths = MachinePaths(vec![("/a b".into(), "cargo"), ("/a b/c".into(), "crates")]);
        assert_eq!(
            paths.rustflags(&[]),
            "--remap-path-prefix=/a b=cargo\u{1f}--remap-path-prefix=/a b/c=crates"
        );
    }
}
