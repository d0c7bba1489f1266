//! How a gateway is started: by this program once more, which becomes the gateway.
//!
//! In between it asks the system to end the gateway with the bench. No gateway outlives a bench that was killed.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::{env, fmt};

use anyhow::{Context as _, Result};

use crate::machine;

/// The argument that asks for it.
const LAUNCH: &str = "--launch";

/// A command that starts this program, and ends when this process does. Call it from the main thread: the system takes
/// the end of the thread for that of the process.
///
/// # Errors
/// This program can't be found.
pub fn command(program: &Path) -> Result<Command> {
    let mut command = Command::new(env::current_exe().context("where is this program?")?);
    command.arg(LAUNCH).arg(program);
    Ok(command)
}

/// What to become, if this process was started by [`command`].
#[must_use]
pub fn asked() -> Option<Launch> {
    let mut arguments = env::args_os().skip(1);
    if arguments.next().as_deref() != Some(OsStr::new(LAUNCH)) {
        return None;
    }
    let program = arguments.next()?;
    Some(Launch {
        program,
        arguments: arguments.collect(),
    })
}

/// Another program to become.
#[derive(Debug)]
pub struct Launch {
    program: OsString,
    arguments: Vec<OsString>,
}

impl Launch {
    /// Becomes it.
    ///
    /// # Errors
    /// It can't be started.
    pub fn run(&self) -> Result<Infallible> {
        machine::end_with_parent();
        let error = Command::new(&self.program).args(&self.arguments).exec();
        Err(error).with_context(|| format!("can't start {self}"))
    }
}

impl fmt::Display for Launch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.program.to_string_lossy())
    }
}
