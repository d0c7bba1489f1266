//! Other programs: run, listen to, and say what failed.

use std::env;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::workspace::Workspace;

/// The Cargo that runs this, in the workspace's root.
#[must_use]
pub fn cargo(workspace: &Workspace) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace.root());
    command
}

/// Runs a command to its end; what it prints goes where ours goes.
///
/// # Errors
/// It can't be started, or it fails.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| cant_start(command))?;
    succeeded(command, status)
}

/// Runs a command and returns what it printed to standard output.
///
/// # Errors
/// It can't be started, or it fails; what it printed to standard error is part of the message.
pub fn capture(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| cant_start(command))?;
    succeeded(command, output.status)
        .with_context(|| String::from_utf8_lossy(&output.stderr).trim().to_owned())?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a command, passes its standard output on as it comes, and shows each line to `listen`.
///
/// # Errors
/// It can't be started or listened to. That it failed is not an error here.
pub fn tee(command: &mut Command, mut listen: impl FnMut(&str)) -> Result<ExitStatus> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| cant_start(command))?;
    if let Some(stdout) = child.stdout.take() {
        let mut stdout = BufReader::new(stdout);
        let mut line = Vec::new();
        while stdout.read_until(b'\n', &mut line)? > 0 {
            let text = String::from_utf8_lossy(&line);
            print!("{text}");
            listen(text.trim_end());
            line.clear();
        }
    }
    Ok(child.wait()?)
}

/// Turns a command's failure into an error that names it.
///
/// # Errors
/// The status is not success.
pub fn succeeded(command: &Command, status: ExitStatus) -> Result<()> {
    if !status.success() {
        bail!("`{}` failed ({status})", line(command));
    }
    Ok(())
}

fn cant_start(command: &Command) -> String {
    format!(
        "can't start `{}`; is it installed and on PATH?",
        line(command)
    )
}

/// As a person would type it: without the program's directory.
fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(program.as_os_str());
    let words = std::iter::once(program).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command_and_what_it_said() {
        let error = capture(Command::new("sh").args(["-c", "echo no >&2; exit 3"])).unwrap_err();
        let shown = format!("{error:#}");
        assert!(
            shown.contains("no") && shown.contains("sh -c") && shown.contains('3'),
            "{shown}"
        );
        let error = run(&mut Command::new("no-such-program")).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("`no-such-program`; is it installed")
        );
    }

    #[test]
    fn every_line_is_heard_even_one_that_is_not_text() {
        let mut heard = Vec::new();
        let mut command = Command::new("sh");
        command.args(["-c", "printf 'a\\n\\377\\nlast'; exit 1"]);
        let status = tee(&mut command, |line| heard.push(line.to_owned())).unwrap();
        assert!(!status.success());
        assert_eq!(heard, ["a", "\u{fffd}", "last"]);
    }
}
