//! Docker and its `compose`.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use crate::command::capture;
use crate::workspace::Workspace;

/// Which gateway's stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Gateway {
    /// `envoy/compose.yaml`
    #[default]
    Envoy,
    /// `kong/compose.yaml`
    Kong,
}

impl Gateway {
    /// Its directory.
    #[must_use]
    pub const fn directory(self) -> &'static str {
        match self {
            Self::Envoy => "envoy",
            Self::Kong => "kong",
        }
    }

    /// The file with the stack's secrets.
    #[must_use]
    pub fn env_file(self, workspace: &Workspace) -> PathBuf {
        workspace.root().join(self.directory()).join(".env")
    }
}

/// A Docker that answers.
#[derive(Clone, Debug)]
pub struct Engine {
    compose: &'static [&'static str],
}

impl Engine {
    /// Finds Docker and a `compose`, as a plugin of Docker's or as a program of its own.
    ///
    /// # Errors
    /// What is missing, and the command that installs or starts it.
    pub fn find() -> Result<Self> {
        if !answers(&["docker", "--version"]) {
            bail!(
                "there is no Docker; install it (Debian: `apt install docker.io docker-compose`)"
            );
        }
        capture(Command::new("docker").args(["version", "--format", "{{.Server.Version}}"]))
            .context(
                "Docker's daemon does not answer; start it (Linux: `systemctl start docker`, or \
                 `dockerd` as root)",
            )?;
        let compose: [&[&str]; 2] = [&["docker", "compose"], &["docker-compose"]];
        let found = compose
            .into_iter()
            .find(|words| answers(&[words, &["version"][..]].concat()));
        let compose = found.context(
            "Docker has no `compose`; install it (Debian: `apt install docker-compose`)",
        )?;
        Ok(Self { compose })
    }

    /// `compose` with a gateway's file, in the repository's root.
    #[must_use]
    pub fn compose(&self, gateway: Gateway, workspace: &Workspace) -> Command {
        let (program, words) = self.compose.split_first().unwrap_or((&"docker", &[]));
        let mut command = Command::new(program);
        command.args(words).current_dir(workspace.root());
        command.arg("--file");
        command.arg(format!("{}/compose.yaml", gateway.directory()));
        let env_file = gateway.env_file(workspace);
        if env_file.is_file() {
            command.arg("--env-file").arg(env_file);
        }
        command
    }

    /// How a person calls `compose` here.
    #[must_use]
    pub fn compose_words(&self) -> String {
        self.compose.join(" ")
    }

    /// `docker`, in the repository's root.
    #[must_use]
    pub fn docker(&self, workspace: &Workspace) -> Command {
        let mut command = Command::new("docker");
        command.current_dir(workspace.root());
        command
    }
}

/// Whether a command is there and content.
fn answers(words: &[&str]) -> bool {
    let Some((program, arguments)) = words.split_first() else {
        return false;
    };
    let mut command = Command::new(program);
    command.args(arguments);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
