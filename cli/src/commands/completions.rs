//! `portcullis completions`.

use std::io::{self, Write as _};

use clap::Command;
use clap_complete::{Shell, generate};

use super::DONE;

/// What `--help` shows of it.
pub const EXAMPLES: &str = "\
Examples:
  portcullis completions bash > ~/.local/share/bash-completion/completions/portcullis
  portcullis completions zsh > \"${fpath[1]}/_portcullis\"
  portcullis completions fish > ~/.config/fish/completions/portcullis.fish";

/// For what.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell.
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

/// Writes what a shell completes the command by. `command`: all of it.
///
/// # Errors
/// It can't be written.
pub fn run(args: &Args, mut command: Command) -> io::Result<u8> {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    generate(args.shell, &mut command, name, &mut script);
    io::stdout().lock().write_all(&script)?;
    Ok(DONE)
}
