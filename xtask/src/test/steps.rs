//! The steps of a test run.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use super::Tally;
use crate::command::{cargo, run, succeeded, tee};
use crate::filters::FILTERS;
use crate::packages::Packages;
use crate::workspace::Workspace;
use crate::{build, demo, docker, fuzz, load, schema, tools, wasm_target};

/// A step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Step {
    /// What all steps compile.
    Fetch,
    /// The filters.
    Build,
    /// Formatting.
    Fmt,
    /// Lints.
    Clippy,
    /// The committed `.meta.json` files.
    Schema,
    /// Tests on this machine, the built filters among them.
    Native,
    /// The pure crates' tests again, as Wasm.
    Wasm,
    /// Fuzz targets, each for a while.
    Fuzz,
    /// Tests against a real Envoy.
    E2e,
    /// The same gateways, with the filters as native code.
    Module,
    /// The demo's tour, which checks what it shows.
    Demo,
    /// The shortened load profile, and where the limits are.
    Load,
    /// Tests of the stacks on Docker.
    Docker,
}

impl Step {
    /// All steps, in their order.
    pub const ALL: [Self; 13] = [
        Self::Fetch,
        Self::Build,
        Self::Fmt,
        Self::Clippy,
        Self::Schema,
        Self::Native,
        Self::Wasm,
        Self::Fuzz,
        Self::E2e,
        Self::Module,
        Self::Demo,
        Self::Load,
        Self::Docker,
    ];

    /// What the step shows.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::Fetch => "everything that is compiled is there, as the lock files name it",
            Self::Build => "the filters build",
            Self::Fmt => "all is formatted by rustfmt",
            Self::Clippy => "the product's crates have no warning",
            Self::Schema => "the committed .meta.json files are what the configuration types say",
            Self::Native => "unit, property and conformance tests",
            Self::Wasm => "the pure crates' tests as Wasm, under Node",
            Self::Fuzz => "inputs that nobody thought of, for what reads tokens and key sets",
            Self::E2e => "tests against a real Envoy",
            Self::Module => "the same gateways, with the filters as native code",
            Self::Demo => "the demo's tour, which checks what it shows",
            Self::Load => "half a minute of fifty users, and where the limits are",
            Self::Docker => "the stacks of envoy/compose.yaml and kong/compose.yaml, from outside",
        }
    }

    /// Whether it needs tools that are fetched, and minutes.
    #[must_use]
    pub const fn is_slow(self) -> bool {
        matches!(
            self,
            Self::Wasm
                | Self::Fuzz
                | Self::E2e
                | Self::Module
                | Self::Demo
                | Self::Load
                | Self::Docker
        )
    }

    /// Runs the step and counts its tests.
    ///
    /// # Errors
    /// What does not hold, or could not be found out.
    pub fn run(self, workspace: &Workspace, tally: &mut Tally) -> Result<()> {
        match self {
            Self::Fetch => fetch(workspace),
            Self::Build => build::run(workspace),
            Self::Fmt => rustfmt(workspace),
            Self::Clippy => clippy(workspace),
            Self::Schema => schema::check(workspace),
            Self::Native => native(workspace, tally),
            Self::Wasm => wasm(workspace, tally),
            Self::Fuzz => fuzz::run(&fuzz::Args::of_a_test_run(), workspace, tally),
            Self::E2e => e2e(workspace, tally),
            Self::Module => module(workspace, tally),
            Self::Demo => tour(tally),
            Self::Load => half_a_minute(workspace, tally),
            Self::Docker => stacks(workspace, tally),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fetch => "fetch",
            Self::Build => "build",
            Self::Fmt => "fmt",
            Self::Clippy => "clippy",
            Self::Schema => "schema",
            Self::Native => "native",
            Self::Wasm => "wasm",
            Self::Fuzz => "fuzz",
            Self::E2e => "e2e",
            Self::Module => "module",
            Self::Demo => "demo",
            Self::Load => "load",
            Self::Docker => "docker",
        })
    }
}

/// Downloads what the lock files name, for this machine and for Wasm: a step that compiles a part of it, or only
/// asks Cargo what depends on what, must not count on what another step happened to need.
fn fetch(workspace: &Workspace) -> Result<()> {
    let host = wasm_target::host()?;
    for manifest in manifests() {
        let mut command = cargo(workspace);
        command.args(["fetch", "--locked", "--manifest-path", &manifest]);
        for target in [&*host, wasm_target::FILTERS, wasm_target::NODE] {
            command.args(["--target", target]);
        }
        run(&mut command).context("can't download what is compiled")?;
    }
    Ok(())
}

/// Each workspace has a lock file of its own.
fn manifests() -> [String; 3] {
    [".", fuzz::DIR, load::DIR].map(|dir| format!("{dir}/Cargo.toml"))
}

fn rustfmt(workspace: &Workspace) -> Result<()> {
    let [_, fuzz, load] = manifests();
    for packages in [
        &["--all"][..],
        &["--manifest-path", &fuzz],
        &["--manifest-path", &load],
    ] {
        let mut command = cargo(workspace);
        command
            .arg("fmt")
            .args(packages)
            .args(["--check", "--", "-l"]);
        run(&mut command).with_context(|| format!("run `cargo fmt {}`", packages.join(" ")))?;
    }
    Ok(())
}

fn clippy(workspace: &Workspace) -> Result<()> {
    let mut command = cargo(workspace);
    // Not the crates that these depend on: what only tests use is not held to the same lints.
    command.args(["clippy", "--no-deps", "--all-targets", "--all-features"]);
    for package in Packages::read(workspace)?.product() {
        command.args(["-p", package]);
    }
    run(command.args(["--", "-D", "warnings"]))
}

/// The tests of everything that runs on this machine. Each step takes the same packages, so that what one has
/// compiled fits the next.
#[must_use]
pub fn cargo_test(workspace: &Workspace) -> Command {
    let mut command = cargo(workspace);
    command.args(["test", "--workspace", "--no-fail-fast"]);
    for module in FILTERS
        .iter()
        .map(|filter| filter.name)
        .chain([build::NATIVE])
    {
        // Modules for a gateway: there is nothing to test in them but what they are made of.
        command.args(["--exclude", module]);
    }
    command
}

fn native(workspace: &Workspace, tally: &mut Tally) -> Result<()> {
    let mut command = cargo_test(workspace);
    command.envs(kubernetes_models(workspace)?);
    count(&mut command, tally)
}

/// The variables by which the tests find what Kubernetes resources are checked with. On a person's
/// machine the tests say so where it can't be had, and the others run.
fn kubernetes_models(workspace: &Workspace) -> Result<tools::Variables> {
    match tools::kubernetes_models(workspace) {
        Err(error) if env::var_os("CI").is_none() => {
            eprintln!("Kubernetes resources will not be checked: {error:#}");
            Ok(Vec::new())
        }
        found => found.context("can't check Kubernetes resources"),
    }
}

fn wasm(workspace: &Workspace, tally: &mut Tally) -> Result<()> {
    wasm_target::ensure(wasm_target::NODE)?;
    let node = tools::node(workspace)?;
    let runner = tools::wasm_bindgen_test_runner(workspace)?;
    let path = first_on_path(node.parent().unwrap_or(Path::new(".")))?;
    let mut failed = Vec::new();
    for package in Packages::read(workspace)?.tested_as_wasm() {
        let mut command = cargo(workspace);
        command.args([
            "test",
            "--lib",
            "--target",
            wasm_target::NODE,
            "-p",
            package,
        ]);
        command
            .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER", &runner)
            .env("PATH", &path);
        let mut counted = Tally::default();
        let outcome = count(&mut command, &mut counted);
        *tally += counted;
        if let Err(error) = outcome {
            failed.push(format!("{error:#}"));
        } else if counted.passed == 0 {
            // The runner finds only its own kind of test, and is content with none.
            failed.push(format!(
                "{package}: not one test ran; on {} its `#[test]` must be wasm_bindgen_test's",
                wasm_target::NODE
            ));
        }
    }
    if !failed.is_empty() {
        bail!("{}", failed.join("\n"));
    }
    Ok(())
}

fn e2e(workspace: &Workspace, tally: &mut Tally) -> Result<()> {
    let targets = ["gateway", "browser", "rolling", "observability", "pages"];
    count(&mut against_envoy(workspace, &targets)?, tally)
}

/// The rows of a gateway once more. What is about pages, dashboards and ways to roll a gateway out knows no filter's kind.
fn module(workspace: &Workspace, tally: &mut Tally) -> Result<()> {
    if !cfg!(target_os = "linux") {
        println!(
            "== the filters as native code: SKIPPED: Envoy loads modules of native code on Linux only"
        );
        tally.skipped = tally.skipped.saturating_add(1);
        return Ok(());
    }
    let mut command = against_envoy(workspace, &["gateway"])?;
    command.env("PORTCULLIS_NATIVE", "1");
    // They wait for the most part.
    command.env("RUST_TEST_THREADS", "4");
    count(&mut command, tally)
}

fn against_envoy(workspace: &Workspace, targets: &[&str]) -> Result<Command> {
    let envoy = tools::envoy(workspace)?;
    let mut command = cargo_test(workspace);
    command.args(["--features", "portcullis-e2e/envoy"]);
    for target in targets {
        command.args(["--test", target]);
    }
    command.env("ENVOY_BIN", envoy).envs(backends(workspace)?);
    command.envs(engines(workspace));
    Ok(command)
}

/// The variables by which the tests find Redis. Where it can't be had, those that want it say so.
fn engines(workspace: &Workspace) -> tools::Variables {
    tools::redis(workspace).unwrap_or_else(|error| {
        eprintln!("The tests with Redis will not run: {error:#}");
        Vec::new()
    })
}

/// The variables by which the tests find what backends in other languages are run with. On a person's
/// machine the tests of a language that can't be had say so, and the others run.
fn backends(workspace: &Workspace) -> Result<tools::Variables> {
    let mut variables = Vec::new();
    for (language, found) in [
        ("Node.js", tools::node_backend(workspace)),
        ("Python", tools::python_backend(workspace)),
    ] {
        match found {
            Ok(found) => variables.extend(found),
            Err(error) if env::var_os("CI").is_none() => {
                eprintln!("The tests of a backend in {language} will not run: {error:#}");
            }
            Err(error) => {
                return Err(error.context(format!("can't run a backend in {language}")));
            }
        }
    }
    Ok(variables)
}

fn tour(tally: &mut Tally) -> Result<()> {
    // Envoy loads modules of native code on Linux only.
    let kinds: &[bool] = match cfg!(target_os = "linux") {
        true => &[false, true],
        false => &[false],
    };
    for &native in kinds {
        demo::run(&demo::Args {
            native,
            ..demo::Args::default()
        })?;
        tally.passed = tally.passed.saturating_add(1);
    }
    Ok(())
}

fn half_a_minute(workspace: &Workspace, tally: &mut Tally) -> Result<()> {
    load::run(&load::Args::of_a_test_run(), workspace)?;
    tally.passed = tally.passed.saturating_add(1);
    Ok(())
}

fn stacks(workspace: &Workspace, tally: &mut Tally) -> Result<()> {
    let mut run = |tests: &mut Command| count(tests, tally);
    docker::trial(docker::Gateway::Envoy, workspace, &mut run)?;
    if let Err(error) = docker::kong(workspace) {
        // There is no other source of it than a registry of images.
        println!("== the stack of kong/compose.yaml: SKIPPED: {error:#}");
        tally.skipped = tally.skipped.saturating_add(1);
        return Ok(());
    }
    docker::trial(docker::Gateway::Kong, workspace, run)
}

/// Runs tests, shows what they print, and counts them.
fn count(command: &mut Command, tally: &mut Tally) -> Result<()> {
    let status = tee(command, |line| tally.hear(line))?;
    succeeded(command, status)
}

fn first_on_path(dir: &Path) -> Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs = std::iter::once(dir.to_owned()).chain(env::split_paths(&path));
    Ok(env::join_paths(dirs)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_called_what_a_person_types() {
        for step in Step::ALL {
            assert_eq!(Step::from_str(&step.to_string(), false), Ok(step));
        }
    }
}
