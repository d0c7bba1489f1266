//! `cargo xtask env`: the secrets of a stack.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

use anyhow::{Context as _, Result, bail};

use super::Gateway;
use crate::workspace::Workspace;

/// Whose secrets.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Args {
    /// Which stack.
    #[arg(value_enum, default_value = "envoy")]
    gateway: Gateway,
}

/// Writes `.env` beside a stack's `compose.yaml`.
///
/// # Errors
/// It is there already, or can't be written.
pub fn run(args: &Args, workspace: &Workspace) -> Result<()> {
    let path = args.gateway.env_file(workspace);
    let shown = workspace.shown(&path).to_string();
    if !write(args.gateway, workspace)? {
        bail!("{shown} is there already, and stays as it is; move it away for new secrets");
    }
    println!("{shown} holds two new secrets, and is readable by you alone");
    Ok(())
}

/// Writes the file unless it is there. Says whether it did.
pub(super) fn write(gateway: Gateway, workspace: &Workspace) -> Result<bool> {
    let path = gateway.env_file(workspace);
    let text = format!(
        "# Secrets of the stack in compose.yaml. Not for a repository.\n\
         COMPOSE_PROJECT_NAME=portcullis-{}\n\
         # Signs the dashboard's tokens.\n\
         JWT_SECRET_KEY={}\n\
         # What the services expect in X-Service-Token.\n\
         INTER_SERVICE_SECRET={}\n",
        gateway.directory(),
        random_hex()?,
        random_hex()?,
    );
    let mut options = OpenOptions::new();
    // Never over another one: its secrets would be lost.
    options.write(true).create_new(true).mode(0o600);
    let mut file = match options.open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => {
            return Err(error).with_context(|| format!("can't write {}", path.display()));
        }
    };
    file.write_all(text.as_bytes())?;
    Ok(true)
}

/// 32 random bytes, as 64 hexadecimal digits.
///
/// # Errors
/// The system gives none.
pub fn random_hex() -> Result<String> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut bytes))
        .context("no random bytes")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
