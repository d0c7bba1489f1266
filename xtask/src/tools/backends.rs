//! What the tests' backends in other languages are run with: an interpreter, and the libraries of their
//! lock files.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::{node, on_path, version_of};
use crate::command::run;
use crate::workspace::Workspace;

/// The oldest Python that the libraries are for.
const OLDEST_PYTHON: (u32, u32) = (3, 10);

/// The oldest Node.js that the libraries are for.
const OLDEST_NODE: u32 = 20;

/// Where a set of libraries was fetched to says what was asked for, in this file.
const ASKED_FOR: &str = "asked-for";

/// Variables for the tests, by name.
pub type Variables = Vec<(&'static str, OsString)>;

/// The variables by which the tests find Node.js and the libraries.
///
/// # Errors
/// Node.js or npm is missing, or the libraries can't be fetched.
pub fn node_backend(workspace: &Workspace) -> Result<Variables> {
    let node = node::at_least(OLDEST_NODE, workspace)?;
    let source = workspace.root().join("tests/backends/node");
    let lock = read(&source.join("package-lock.json"))?;
    let modules = fetched(workspace, "node-modules", &lock, |home| {
        for file in ["package.json", "package-lock.json"] {
            fs::copy(source.join(file), home.join(file))?;
        }
        // Exactly what the lock file says, and nothing of it run.
        let mut npm = npm(&node)?;
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
        npm.args(["--loglevel", "error"]).current_dir(home);
        run(&mut npm).context("can't fetch the libraries; it takes a way to the npm registry")
    })?;
    Ok(vec![
        ("PORTCULLIS_NODE", node.into()),
        (
            "PORTCULLIS_NODE_MODULES",
            modules.join("node_modules").into(),
        ),
    ])
}

/// The variables by which the tests find Python and the libraries.
///
/// # Errors
/// Python is missing or too old, or the libraries can't be fetched.
pub fn python_backend(workspace: &Workspace) -> Result<Variables> {
    let python = on_path("python3").context(
        "there is no Python; install it with pip (Debian: `apt install python3 python3-pip`)",
    )?;
    let says = version_of(&python)?;
    let (major, minor) = OLDEST_PYTHON;
    if python_version(&says).is_none_or(|version| version < OLDEST_PYTHON) {
        bail!(
            "{} is {says}; the backend in it takes {major}.{minor} or newer",
            python.display()
        );
    }
    let requirements = workspace
        .root()
        .join("tests/backends/python/requirements.txt");
    // Some are compiled for one version of Python.
    let asked_for = format!("{says}\n{}", read(&requirements)?);
    let packages = fetched(workspace, "python-packages", &asked_for, |home| {
        // Into a directory instead of a virtual environment: for that, Debian has a package of its own.
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--require-hashes"]);
        pip.args(["--only-binary=:all:", "--no-compile", "--target"]);
        pip.arg(home).arg("-r").arg(&requirements);
        pip.env("PIP_ROOT_USER_ACTION", "ignore");
        run(&mut pip).context(
            "can't fetch the libraries; it takes pip (Debian: `apt install python3-pip`) and a way \
             to PyPI",
        )
    })?;
    Ok(vec![
        ("PORTCULLIS_PYTHON", python.into()),
        ("PORTCULLIS_PYTHON_PACKAGES", packages.into()),
    ])
}

/// A directory that `fetch` has filled, unless it was filled for the same.
pub(super) fn fetched(
    workspace: &Workspace,
    name: &str,
    asked_for: &str,
    fetch: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let home = workspace.tools().join(name);
    let is_right = || fs::read_to_string(home.join(ASKED_FOR)).is_ok_and(|got| got == asked_for);
    if is_right() {
        return Ok(home);
    }
    eprintln!("Fetching {name} for the tests");
    fs::create_dir_all(workspace.tools())?;
    // Put together elsewhere, then renamed: a fetch that was cut short leaves nothing that looks whole.
    let work = tempfile::tempdir_in(workspace.tools())?;
    let fresh = work.path().join("fresh");
    fs::create_dir(&fresh)?;
    fetch(&fresh)?;
    fs::write(fresh.join(ASKED_FOR), asked_for)?;
    if home.exists() {
        fs::rename(&home, work.path().join("old"))?;
    }
    if let Err(error) = fs::rename(&fresh, &home)
        // Somebody else may have fetched it meanwhile.
        && !is_right()
    {
        return Err(error).with_context(|| format!("can't put it at {}", home.display()));
    }
    Ok(home)
}

/// The npm that came with this Node.js, or the one on `PATH`.
pub(super) fn npm(node: &Path) -> Result<Command> {
    let beside = Path::new("lib/node_modules/npm/bin/npm-cli.js");
    let beside = node.ancestors().nth(2).map(|prefix| prefix.join(beside));
    if let Some(script) = beside.filter(|script| script.is_file()) {
        let mut npm = Command::new(node);
        npm.arg(script);
        return Ok(npm);
    }
    let npm = on_path("npm").context("there is no npm; install it (Debian: `apt install npm`)")?;
    Ok(Command::new(npm))
}

pub(super) fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))
}

/// 3 and 11 of `Python 3.11.7`.
fn python_version(says: &str) -> Option<(u32, u32)> {
    let mut numbers = says.strip_prefix("Python ")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_python_is_new_enough_or_not() {
        assert_eq!(python_version("Python 3.11.7"), Some((3, 11)));
        assert!(python_version("Python 3.9.2").unwrap() < OLDEST_PYTHON);
        assert_eq!(python_version("pypy"), None);
    }

    #[test]
    fn every_library_is_pinned_by_a_hash() {
        let root = Workspace::here().root().join("tests/backends");
        let requirements = read(&root.join("python/requirements.txt")).unwrap();
        let pinned = requirements.lines().filter(|line| line.contains("=="));
        let asked_for = read(&root.join("python/requirements.in")).unwrap();
        for line in asked_for.lines() {
            let line = line.to_lowercase();
            assert!(pinned.clone().any(|pin| pin.starts_with(&line)), "{line}");
        }
        assert!(
            pinned.clone().all(|line| line.ends_with('\\')),
            "without a hash"
        );
        let lock = read(&root.join("node/package-lock.json")).unwrap();
        let count = |what: &str| lock.matches(what).count();
        assert_eq!(count("\"node_modules/"), count("\"integrity\": \"sha512-"));
        assert!(count("\"node_modules/") >= 3);
    }
}
