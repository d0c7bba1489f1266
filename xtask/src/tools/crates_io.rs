//! Programs that crates.io ships as source: compiled here.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::command::{capture, cargo, run};
use crate::workspace::Workspace;

/// A program in a package.
pub(super) struct Package<'a> {
    /// The package's name.
    pub(super) name: &'a str,
    /// The package's version.
    pub(super) version: &'a str,
    /// What the program is called.
    pub(super) program: &'a str,
    /// What it wants to hear before `--version`: Cargo's subcommands by their name.
    pub(super) called: Option<&'a str>,
    /// Whether it is built of the versions that its authors built it of.
    pub(super) locked: bool,
}

impl Package<'_> {
    /// The program, compiled unless it is there in that version.
    ///
    /// # Errors
    /// It does not compile, or what came of it is not that program.
    pub(super) fn program(&self, workspace: &Workspace) -> Result<PathBuf> {
        let program = workspace.tools().join("bin").join(self.program);
        let is_right = || {
            let mut asked = Command::new(&program);
            let says = capture(asked.args(self.called).arg("--version"));
            says.is_ok_and(|says| {
                let last = says.trim().split(' ').next_back();
                last.map(|last| last.trim_start_matches('v')) == Some(self.version)
            })
        };
        if is_right() {
            return Ok(program);
        }
        let (name, version) = (self.name, self.version);
        eprintln!("Compiling {name} {version}, once; it takes some minutes");
        let build = workspace.tools().join("build");
        let mut install = cargo(workspace);
        install.args(["install", "--quiet", "--force", name, "--version", version]);
        if self.locked {
            install.arg("--locked");
        }
        install
            .arg("--root")
            .arg(workspace.tools())
            .env("CARGO_TARGET_DIR", &build);
        run(&mut install).with_context(|| format!("can't install {name}"))?;
        fs::remove_dir_all(&build)?;
        if !is_right() {
            bail!(
                "{} is not of version {version} although it was just installed",
                program.display()
            );
        }
        Ok(program)
    }
}
