//! `cargo xtask up` and `cargo xtask down`: a stack, started and taken away.

use std::env;
use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::{Engine, Gateway, images, secrets};
use crate::command::{capture, run as run_command};
use crate::workspace::Workspace;
use crate::{build, port};

/// The variable of the only port that is published, and its value where nothing is said.
const PORT: (&str, u16) = ("PORTCULLIS_PORT", 8000);

/// How long a gateway may take from its services' being ready.
const PATIENCE: Duration = Duration::from_secs(60);

/// What to start.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Up {
    /// Which stack.
    #[arg(value_enum, default_value = "envoy")]
    gateway: Gateway,
    /// The gateway's port on this machine; 0 takes a free one. Without it, `PORTCULLIS_PORT`, or 8000.
    #[arg(long)]
    port: Option<u16>,
}

/// What to take away.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Down {
    /// Which stack.
    #[arg(value_enum, default_value = "envoy")]
    gateway: Gateway,
}

impl Up {
    /// Makes what is missing of secrets and images, starts the stack and waits until it is ready.
    ///
    /// # Errors
    /// What is missing, whose port it is, or what is not ready.
    pub fn run(&self, workspace: &Workspace) -> Result<()> {
        let engine = Engine::find()?;
        let compose = || engine.compose(self.gateway, workspace);
        match secrets::write(self.gateway, workspace)? {
            0 => {}
            added => println!(
                "{}/.env holds {added} new secrets",
                self.gateway.directory()
            ),
        }
        let running = container(compose())?.is_some();
        let port = match self.port {
            Some(0) => port::free()?,
            Some(port) => port,
            None => configured(self.gateway, workspace)?,
        };
        // A stack of ours may have the port, and is then brought up to date.
        if !running || published(compose())? != Some(port) {
            port::check(
                port,
                &format!("set {} to another, or name one by --port; 0 is any", PORT.0),
            )?;
        }
        build::run(workspace)?;
        images(&engine, self.gateway, workspace)?;

        println!("Starting the stack");
        let mut up = compose();
        up.args(["up", "--detach", "--no-build", "--remove-orphans"]);
        run_command(up.env(PORT.0, port.to_string()))?;
        await_health(&engine, self.gateway, workspace)?;

        let directory = self.gateway.directory();
        println!(
            "\nThe gateway is ready at http://127.0.0.1:{port}\n\n  \
             export TOKEN=$(JWT_SECRET_KEY=$(sed -n 's/^JWT_SECRET_KEY=//p' {directory}/.env) cargo xtask token)\n  \
             curl -i 'http://127.0.0.1:{port}/api/v1/rag/search?q=circuit+breaker&limit=2' -H \"Authorization: Bearer $TOKEN\"\n\n\
             `cargo xtask down {directory}` takes it away; \
             `{} -f {directory}/compose.yaml logs -f` shows what it says.",
            engine.compose_words()
        );
        Ok(())
    }
}

impl Down {
    /// Stops a stack's containers and removes them. Volumes stay.
    ///
    /// # Errors
    /// Docker does not answer, or does not do it.
    pub fn run(&self, workspace: &Workspace) -> Result<()> {
        let engine = Engine::find()?;
        // Without its variables the file can't be read.
        secrets::write(self.gateway, workspace)?;
        let mut down = engine.compose(self.gateway, workspace);
        // What was started with a profile is not seen without it.
        down.args(["--profile", "observability", "--profile", "redis"]);
        run_command(down.args(["down", "--remove-orphans"]))
    }
}

/// The port by the environment, or the stack's `.env`.
fn configured(gateway: Gateway, workspace: &Workspace) -> Result<u16> {
    let (name, default) = PORT;
    let text = fs::read_to_string(gateway.env_file(workspace)).unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.split_once('='));
    let written = lines
        .filter(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim().to_owned())
        .last();
    match env::var(name).ok().or(written) {
        Some(port) => port
            .parse()
            .with_context(|| format!("{name} is not a port: {port}")),
        None => Ok(default),
    }
}

/// The running container of the service `gateway`.
fn container(mut compose: Command) -> Result<Option<String>> {
    let ids = capture(compose.args(["ps", "-q", "gateway"]))?;
    Ok(ids.lines().next().map(str::to_owned))
}

/// The port of this machine at which a running gateway is.
fn published(mut compose: Command) -> Result<Option<u16>> {
    let said = capture(compose.args(["port", "gateway", "8000"])).unwrap_or_default();
    let port = said.trim().rsplit_once(':').map(|(_, port)| port.parse());
    Ok(port.transpose().unwrap_or(None))
}

fn await_health(engine: &Engine, gateway: Gateway, workspace: &Workspace) -> Result<()> {
    let id = container(engine.compose(gateway, workspace))?.context("there is no gateway")?;
    let begun = Instant::now();
    loop {
        let mut inspect = engine.docker(workspace);
        inspect.args(["inspect", "--format", "{{.State.Health.Status}}", &id]);
        if capture(&mut inspect)?.trim() == "healthy" {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            let _ = engine
                .compose(gateway, workspace)
                .args(["logs", "--tail", "20", "gateway"])
                .status();
            bail!("the gateway is not ready after {} s", PATIENCE.as_secs());
        }
        thread::sleep(Duration::from_millis(250));
    }
}
