//! The tests of a stack: brought up by them, and taken away here, whatever came of them.

use std::fs;
use std::process::{self, Command};

use anyhow::{Context as _, Result};

use super::{Engine, Gateway, images, random_hex};
use crate::command::capture;
use crate::port;
use crate::test::cargo_test;
use crate::workspace::Workspace;

/// Builds the images around the filters that were built last, and lets `run` run the tests, by a
/// command that holds what they need.
///
/// # Errors
/// Docker or an image is missing, or what `run` says.
pub fn trial(
    gateway: Gateway,
    workspace: &Workspace,
    run: impl FnOnce(&mut Command) -> Result<()>,
) -> Result<()> {
    let engine = Engine::find()?;
    images(&engine, gateway, workspace)?;
    let project = format!("portcullis-test-{}", process::id());
    // Below target: Docker Desktop does not show containers the system's own directory for such things.
    let scratch = workspace.root().join("target/docker");
    fs::create_dir_all(&scratch)?;
    let scratch = tempfile::tempdir_in(scratch)?;
    let directory = |name: &str| -> Result<_> {
        let path = scratch.path().join(name);
        fs::create_dir(&path)?;
        Ok(path)
    };
    let (edge, egress) = (directory("edge")?, directory("egress")?);
    // Readable by the user that the gateway runs as.
    for path in [scratch.path(), &edge, &egress] {
        let mut permissions = fs::metadata(path)?.permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
        fs::set_permissions(path, permissions)?;
    }
    // None of the .env of whoever works here: this is about what is shipped.
    let no_variables = scratch.path().join("empty.env");
    fs::write(&no_variables, "")?;
    let variables = [
        ("PORTCULLIS_GATEWAY", gateway.directory().into()),
        ("COMPOSE_PROJECT_NAME", project.clone().into()),
        (
            "PORTCULLIS_COMPOSE",
            format!(
                "{} --env-file {}",
                engine.compose_words(),
                no_variables.display()
            )
            .into(),
        ),
        ("PORTCULLIS_PORT", port::free()?.to_string().into()),
        ("PORTCULLIS_EDGE_CONFIG", edge.into_os_string()),
        ("PORTCULLIS_EGRESS_CONFIG", egress.into_os_string()),
        ("JWT_SECRET_KEY", random_hex()?.into()),
        ("INTER_SERVICE_SECRET", random_hex()?.into()),
    ];

    let mut tests = cargo_test(workspace);
    tests.args(["--features", "portcullis-e2e/docker", "--test", "docker"]);
    // They break, one after another, what the others need.
    tests.args(["--", "--test-threads=1"]);
    let outcome = run(tests.envs(variables.clone()));

    let compose = || {
        let mut compose = engine.compose_with(gateway, &no_variables, workspace);
        compose.envs(variables.clone());
        compose
    };
    if outcome.is_err() {
        let logs = capture(compose().args(["logs", "--no-color", "--tail", "40"]));
        eprintln!("{}", logs.unwrap_or_default());
    }
    println!("Taking the stack away");
    let down = capture(compose().args(["down", "--volumes", "--remove-orphans", "--timeout", "2"]));
    // What the tests say comes first.
    outcome.and(down.map(drop).context("the stack was not taken away"))
}
