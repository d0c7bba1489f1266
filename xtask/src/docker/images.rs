//! `cargo xtask images`: what the stacks run, as images.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::base::{self, Base};
use super::{Engine, VERSION};
use crate::command::{capture, cargo, run as run_command};
use crate::workspace::Workspace;
use crate::{build, docker};

/// What this repository makes of its own: the image, its Dockerfile, and what it is made from.
struct Image {
    name: &'static str,
    dockerfile: &'static str,
    bases: &'static [Base],
}

/// Whose images.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Args {
    /// Which stack.
    #[arg(value_enum, default_value = "envoy")]
    gateway: docker::Gateway,
}

/// Builds the filters, and the images of a stack.
///
/// # Errors
/// Docker does not answer, a base image can't be had, or an image can't be built.
pub fn run(args: &Args, workspace: &Workspace) -> Result<()> {
    let engine = Engine::find()?;
    build::run(workspace)?;
    images(&engine, args.gateway, workspace)
}

/// Builds the images of a stack around the filters that were built last.
///
/// # Errors
/// A base image can't be had, or an image can't be built.
pub fn images(engine: &Engine, gateway: docker::Gateway, workspace: &Workspace) -> Result<()> {
    let filters = Image {
        name: "filters",
        dockerfile: "plugins/Dockerfile",
        bases: &[],
    };
    let of_gateway = match gateway {
        docker::Gateway::Envoy => Image {
            name: "envoy",
            dockerfile: "envoy/Dockerfile",
            bases: &[base::ENVOY],
        },
        docker::Gateway::Kong => Image {
            name: "kong",
            dockerfile: "kong/Dockerfile",
            bases: &[base::KONG],
        },
    };
    for image in [filters, of_gateway] {
        for base in image.bases {
            base.ensure(engine, workspace)?;
        }
        build_image(engine, &image, workspace)?;
    }
    backend(engine, workspace)
}

/// The demo's backend, compiled in a container. Where the image with the compiler can't be fetched, it is
/// compiled on this machine, if what comes of that runs in a container.
fn backend(engine: &Engine, workspace: &Workspace) -> Result<()> {
    base::DEBIAN.ensure(engine, workspace)?;
    let dockerfile = match base::RUST.ensure(engine, workspace) {
        Ok(()) => "tests/backend/Dockerfile",
        Err(error) if cfg!(target_os = "linux") => {
            eprintln!("{error:#}\nThe demo's backend is compiled on this machine instead.");
            prebuild(workspace)?;
            "tests/backend/prebuilt.Dockerfile"
        }
        Err(error) => return Err(error),
    };
    let image = Image {
        name: "demo-backend",
        dockerfile,
        bases: &[],
    };
    let tag = build_image(engine, &image, workspace)?;
    let mut run = engine.docker(workspace);
    run.args(["run", "--rm", &tag, "--version"]);
    capture(&mut run).context(
        "what was compiled on this machine does not run on Debian 12; let Docker fetch \
         rust:1.95-slim-bookworm",
    )?;
    Ok(())
}

/// Compiles the backend for `tests/backend/prebuilt.Dockerfile`.
fn prebuild(workspace: &Workspace) -> Result<()> {
    const PROGRAM: &str = "portcullis-backend";
    // As the tests compile it: it is there already where they were run.
    run_command(cargo(workspace).args(["build", "--locked", "-p", PROGRAM]))?;
    let built = workspace.cargo_target().join("debug").join(PROGRAM);
    let there = workspace.root().join("target/docker");
    fs::create_dir_all(&there)?;
    let there = there.join(PROGRAM);
    fs::copy(&built, &there).with_context(|| format!("can't copy {}", built.display()))?;
    strip(&there);
    Ok(())
}

/// Without names for a debugger: a fifth of the size. An image does as well with them.
fn strip(program: &Path) {
    let _ = Command::new("strip").arg(program).status();
}

/// Builds an image and returns its tag.
fn build_image(engine: &Engine, image: &Image, workspace: &Workspace) -> Result<String> {
    let tag = format!("portcullis/{}:{VERSION}", image.name);
    println!("Building the image {tag}");
    let mut command = engine.docker(workspace);
    command.args(["build", "--quiet", "--file", image.dockerfile]);
    command.args(["--tag", &tag, "."]);
    run_command(&mut command).with_context(|| format!("can't build {}", image.dockerfile))?;
    Ok(tag)
}
