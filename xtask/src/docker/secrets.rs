//! `cargo xtask env`: the secrets of a stack.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

use anyhow::{Context as _, Result};

use super::Gateway;
use super::engine::SECRETS;
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
/// It can't be read or written.
pub fn run(args: &Args, workspace: &Workspace) -> Result<()> {
    let shown = args.gateway.env_file(workspace);
    let shown = workspace.shown(&shown);
    match write(args.gateway, workspace)? {
        0 => {
            println!("{shown} has all its secrets, and stays as it is; take one out for a new one")
        }
        added => println!("{shown} holds {added} new secrets, and is readable by you alone"),
    }
    Ok(())
}

/// Adds the secrets that are missing, and says how many. Those that are there stay: services and users
/// have them.
pub(super) fn write(gateway: Gateway, workspace: &Workspace) -> Result<usize> {
    let path = gateway.env_file(workspace);
    let there = match fs::read_to_string(&path) {
        Ok(there) => there,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            format!(
                "# Secrets of the stack in compose.yaml. Not for a repository.\n\
                 COMPOSE_PROJECT_NAME=portcullis-{}\n",
                gateway.directory()
            )
        }
        Err(error) => return Err(error).with_context(|| format!("can't read {}", path.display())),
    };
    let missing = missing(&there);
    if missing.is_empty() {
        return Ok(0);
    }
    let mut text = there;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    for name in &missing {
        text.push_str(&format!("{name}={}\n", random_hex()?));
    }
    // Beside it, then renamed: the secrets that are there are never half written.
    let fresh = path.with_extension("env.fresh");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options
        .open(&fresh)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| fs::rename(&fresh, &path))
        .with_context(|| format!("can't write {}", path.display()))?;
    Ok(missing.len())
}

/// The secrets that a file does not have.
fn missing(text: &str) -> Vec<&'static str> {
    let has = |name: &str| {
        text.lines()
            .filter_map(|line| line.split_once('='))
            .any(|(key, value)| key.trim() == name && !value.trim().is_empty())
    };
    let names = SECRETS.into_iter().chain(["GRAFANA_PASSWORD"]);
    names.filter(|name| !has(name)).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_the_secrets_that_it_has_and_gets_the_others() {
        let all = ["JWT_SECRET_KEY", "INTER_SERVICE_SECRET", "GRAFANA_PASSWORD"];
        assert_eq!(missing("PORTCULLIS_PORT=8080\n"), all);
        assert_eq!(missing("# JWT_SECRET_KEY\nJWT_SECRET_KEY=\n"), all);
        assert_eq!(
            missing("JWT_SECRET_KEY=a\nINTER_SERVICE_SECRET = b\nGRAFANA_PASSWORD=c"),
            [""; 0]
        );
    }
}
