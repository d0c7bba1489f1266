//! `portcullis man`.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::{Command, ValueHint};
use clap_mangen::Man;

use super::{DONE, IMPOSSIBLE};

/// What `--help` shows of it.
pub const EXAMPLES: &str = "\
Examples:
  portcullis man | man -l -
  portcullis man token explain | man -l -
  portcullis man --dir ~/.local/share/man/man1";

/// Which page.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The command that the page is about, such as `token explain`; that of all commands where none is named.
    #[arg(value_name = "COMMAND")]
    of: Vec<String>,

    /// Write the pages of all commands into this folder.
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath, conflicts_with = "of")]
    dir: Option<PathBuf>,
}

/// Writes a manual page, or all of them. `command`: all of it.
///
/// # Errors
/// It can't be written.
pub fn run(args: &Args, command: Command) -> io::Result<u8> {
    // Names each page as its command is typed.
    let mut command = command.disable_help_subcommand(true);
    command.build();
    if let Some(folder) = &args.dir {
        fs::create_dir_all(folder)?;
        return write_all(&command, folder);
    }
    let mut found = &command;
    for name in &args.of {
        let Some(inner) = found.find_subcommand(name) else {
            let mut err = anstream::stderr().lock();
            writeln!(
                err,
                "portcullis: {name} is no command of {}",
                found.get_name()
            )?;
            return Ok(IMPOSSIBLE);
        };
        found = inner;
    }
    Man::new(found.clone()).render(&mut io::stdout().lock())?;
    Ok(DONE)
}

fn write_all(command: &Command, folder: &Path) -> io::Result<u8> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page)?;
    fs::write(folder.join(format!("{name}.1")), page)?;
    for inner in command.get_subcommands() {
        write_all(inner, folder)?;
    }
    Ok(DONE)
}
