//! Docker and its `compose`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use crate::command::capture;
use crate::workspace::Workspace;

/// What a stack's `.env` holds, and no image.
pub(super) const SECRETS: [&str; 2] = ["JWT_SECRET_KEY", "INTER_SERVICE_SECRET"];

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

    /// `compose` with a gateway's file and its `.env`, in the repository's root.
    #[must_use]
    pub fn compose(&self, gateway: Gateway, workspace: &Workspace) -> Command {
        let mut command = self.compose_with(gateway, &gateway.env_file(workspace), workspace);
        // A shell's would go before those of the file, of which the commands are printed.
        for secret in SECRETS {
            command.env_remove(secret);
        }
        command
    }

    /// `compose` with a gateway's file and another file of variables.
    #[must_use]
    pub fn compose_with(
        &self,
        gateway: Gateway,
        variables: &Path,
        workspace: &Workspace,
    ) -> Command {
        let (program, words) = self.compose.split_first().unwrap_or((&"docker", &[]));
        let mut command = Command::new(program);
        command.args(words).current_dir(workspace.root());
        command.arg("--file");
        command.arg(format!("{}/compose.yaml", gateway.directory()));
        command.arg("--env-file").arg(variables);
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
