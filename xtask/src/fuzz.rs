//! `cargo xtask fuzz`: the targets of `tests/fuzz`, each for a while, by libFuzzer.
//!
//! Inputs that lead somewhere new are kept in `target/fuzz`, so that the next run begins with them
//! and the work tree stays as it is. The seeds in `tests/fuzz/corpus` are read only.

use std::env;
use std::fmt;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use crate::command::{cargo, run as run_to_end};
use crate::test::Tally;
use crate::workspace::Workspace;
use crate::{tools, wasm_target};

/// Where the targets are: a workspace of its own, as cargo-fuzz wants it.
pub(crate) const DIR: &str = "tests/fuzz";
/// After so many seconds an input counts as one that hangs. Most take milliseconds, but a machine
/// may have other things to do.
const SLOWEST: u32 = 30;
/// How often it is told how far a target is.
const PROGRESS: Duration = Duration::from_secs(10);

/// What to fuzz, and for how long.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Args {
    /// One target alone.
    #[arg(long, value_name = "NAME")]
    target: Option<Target>,
    /// How long each target runs.
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
}

/// A fuzz target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// Tokens, and the headers and payloads of rightly signed ones.
    Token,
    /// An issuer's key set.
    Jwks,
    /// An issuer's description of itself.
    Discovery,
    /// Native code, under whatever Envoy, clients and upstreams do.
    Module,
    /// Answers of models.
    Usage,
}

impl Args {
    /// A part of a test run: a minute each where nobody waits, else enough to see that all is well.
    #[must_use]
    pub fn of_a_test_run() -> Self {
        Self {
            target: None,
            seconds: if env::var_os("CI").is_some() { 60 } else { 10 },
        }
    }
}

impl Target {
    const ALL: [Self; 5] = [
        Self::Token,
        Self::Jwks,
        Self::Discovery,
        Self::Module,
        Self::Usage,
    ];

    /// Longest input, in bytes. What the filter takes for a token ends at 8 KiB; its documents may
    /// be longer, but nothing happens at their end that does not happen before.
    const fn longest(self) -> u32 {
        match self {
            Self::Token => 9 * 1024,
            Self::Jwks => 8 * 1024,
            Self::Discovery | Self::Module | Self::Usage => 4 * 1024,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token => "token",
            Self::Jwks => "jwks",
            Self::Discovery => "discovery",
            Self::Module => "module",
            Self::Usage => "usage",
        })
    }
}

/// Builds the targets and runs them, as many beside each other as there are processors. Each counts as a test.
///
/// # Errors
/// They don't build, or something does not hold; which input shows it is part of the message.
pub fn run(args: &Args, workspace: &Workspace, tally: &mut Tally) -> Result<()> {
    let programs = build(workspace)?;
    let mut failed = Vec::new();
    let asked_for = |target: &Target| args.target.is_none_or(|only| only == *target);
    let targets: Vec<Target> = Target::ALL.into_iter().filter(asked_for).collect();
    let at_once = thread::available_parallelism().map_or(1, usize::from);
    for targets in targets.chunks(at_once) {
        let outcomes: Vec<Result<()>> = thread::scope(|scope| {
            let run = |target| fuzz(target, args.seconds, &programs, workspace);
            let running: Vec<_> = targets
                .iter()
                .map(|target| scope.spawn(move || run(*target)))
                .collect();
            let ended = |running: thread::ScopedJoinHandle<'_, _>| {
                running.join().unwrap_or_else(|_| bail!("it panicked"))
            };
            running.into_iter().map(ended).collect()
        });
        for outcome in outcomes {
            match outcome {
                Ok(()) => tally.passed = tally.passed.saturating_add(1),
                Err(error) => {
                    tally.failed = tally.failed.saturating_add(1);
                    failed.push(format!("{error:#}"));
                }
            }
        }
    }
    if !failed.is_empty() {
        bail!("{}", failed.join("\n"));
    }
    Ok(())
}

/// Builds all targets; returns the directory of the programs.
fn build(workspace: &Workspace) -> Result<PathBuf> {
    let cargo_fuzz = tools::cargo_fuzz(workspace)?;
    let host = &*wasm_target::host()?;
    // cargo-fuzz would write a lock file that has fallen behind anew.
    let manifest = format!("{DIR}/Cargo.toml");
    let mut fetch = cargo(workspace);
    fetch.args([
        "fetch",
        "--quiet",
        "--locked",
        "--manifest-path",
        &manifest,
        "--target",
        host,
    ]);
    run_to_end(&mut fetch)
        .with_context(|| format!("run `cargo update --workspace --manifest-path {manifest}`"))?;
    let to = home(workspace);
    let mut build = Command::new(cargo_fuzz);
    build.current_dir(workspace.root());
    // Without `cfg(fuzzing)`, under which crates may do less than they do in a gateway.
    build.args([
        "build",
        "--fuzz-dir",
        DIR,
        "--no-cfg-fuzzing",
        "--target",
        host,
        "--target-dir",
    ]);
    // Coverage and sanitizers are not stable; the compiler that builds the filters has them.
    run_to_end(build.arg(&to).env("RUSTC_BOOTSTRAP", "1"))?;
    Ok(to.join(host).join("release"))
}

/// Runs a target to its end, and tells how far it is.
fn fuzz(target: Target, seconds: u64, programs: &Path, workspace: &Workspace) -> Result<()> {
    println!("{target}: {seconds} s");
    let mut command = command(target, seconds, programs, workspace)?;
    let mut child = command.stderr(Stdio::piped()).spawn()?;
    let stderr = child.stderr.take().context("its output can't be read")?;
    let (mut told, mut last, mut input) = (Instant::now(), None, None);
    for line in BufReader::new(stderr).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        match Heard::from(&*line) {
            Heard::Pulse(pulse) => last = Some(pulse),
            Heard::Input(path) => input = Some(path),
            Heard::Noise => {}
            Heard::Else => println!("{line}"),
        }
        if told.elapsed() >= PROGRESS
            && let Some(pulse) = last.take()
        {
            println!("{target}: {pulse}");
            told = Instant::now();
        }
    }
    if let Some(pulse) = last {
        println!("{target}: {pulse}");
    }
    let status = child.wait()?;
    match input {
        _ if status.success() => Ok(()),
        Some(path) => bail!(
            "{target} does not hold for {}; keep that file in {DIR}/corpus/{target}, so that each \
             run begins with it",
            workspace.shown(&path)
        ),
        None => bail!("{target} was not run to its end ({status})"),
    }
}

fn command(
    target: Target,
    seconds: u64,
    programs: &Path,
    workspace: &Workspace,
) -> Result<Command> {
    let found = home(workspace).join(format!("corpus/{target}"));
    let artifacts = workspace.root().join(format!("{DIR}/artifacts/{target}/"));
    fs::create_dir_all(&found)?;
    fs::create_dir_all(&artifacts)?;
    let mut command = Command::new(programs.join(target.to_string()));
    command.current_dir(workspace.root()).args([
        format!("-max_total_time={seconds}"),
        format!("-timeout={SLOWEST}"),
        format!("-max_len={}", target.longest()),
        format!("-dict={DIR}/words.dict"),
        "-print_funcs=0".to_owned(),
        format!("-artifact_prefix={}", artifacts.display()),
    ]);
    // It writes into the first directory, and only reads the others.
    command.arg(found).arg(format!("{DIR}/corpus/{target}"));
    // What is looked for is not leaks, and looking for them takes rights that containers lack.
    command.env("ASAN_OPTIONS", "detect_leaks=0");
    Ok(command)
}

/// What is built, and what is found.
fn home(workspace: &Workspace) -> PathBuf {
    workspace.cargo_target().join("fuzz")
}

/// A line of libFuzzer.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    /// How far it is.
    Pulse(String),
    /// Where it has put the input that does not hold.
    Input(PathBuf),
    /// What only its authors want to know.
    Noise,
    /// Everything else.
    Else,
}

impl From<&str> for Heard {
    fn from(line: &str) -> Self {
        let words: Vec<&str> = line.split_whitespace().collect();
        let after = |name: &str| {
            let at = words.iter().position(|word| *word == name)?;
            words.get(at.checked_add(1)?).copied()
        };
        let count = words.first().and_then(|word| word.strip_prefix('#'));
        if let (Some(count), Some(edges), Some(rate)) = (count, after("cov:"), after("exec/s:")) {
            return Self::Pulse(format!("{count} inputs, {rate} a second, {edges} edges"));
        }
        if let Some((_, path)) = line.split_once("Test unit written to ") {
            return Self::Input(path.into());
        }
        let noise = ["#", "\"", "0x", "INFO: ", "Dictionary: ", "Done "];
        if noise.iter().any(|begin| line.starts_with(begin)) {
            Self::Noise
        } else {
            Self::Else
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_pulse_is_told_from_what_has_to_be_read() {
        let line = "#4096\tpulse  cov: 9041 ft: 16 corp: 5/2Kb lim: 9 exec/s: 461 rss: 470Mb";
        let pulse = "4096 inputs, 461 a second, 9041 edges".to_owned();
        assert_eq!(Heard::from(line), Heard::Pulse(pulse));
        assert_eq!(Heard::from("INFO: Seed: 1"), Heard::Noise);
        let line = "artifact_prefix='/a/'; Test unit written to /a/crash-0";
        assert_eq!(Heard::from(line), Heard::Input("/a/crash-0".into()));
        assert_eq!(
            Heard::from("###### End of recommended dictionary. ######"),
            Heard::Noise
        );
        assert_eq!(
            Heard::from("==7== ERROR: libFuzzer: deadly signal"),
            Heard::Else
        );
        assert_eq!(
            Heard::from("    #0 0x5581 in __sanitizer_print_stack_trace"),
            Heard::Else
        );
    }

    #[test]
    fn a_target_is_called_what_a_person_types_and_has_seeds() {
        for target in Target::ALL {
            assert_eq!(Target::from_str(&target.to_string(), false), Ok(target));
            let seeds = Workspace::here()
                .root()
                .join(format!("{DIR}/corpus/{target}"));
            assert!(fs::read_dir(seeds).unwrap().count() > 0, "{target}");
        }
        assert_eq!(Target::value_variants(), Target::ALL);
    }

    #[test]
    fn what_is_fuzzed_is_of_the_versions_that_run() {
        let packages = |lock: &str| -> BTreeSet<(String, String)> {
            let lock = fs::read_to_string(Workspace::here().root().join(lock)).unwrap();
            let entries = lock.split("[[package]]").skip(1);
            let field = |entry: &str, name: &str| {
                let mut lines = entry.lines();
                lines
                    .find_map(|line| Some(line.strip_prefix(name)?.to_owned()))
                    .unwrap()
            };
            entries
                .map(|entry| (field(entry, "name = "), field(entry, "version = ")))
                .collect()
        };
        let (run, fuzzed) = (
            packages("Cargo.lock"),
            packages(&format!("{DIR}/Cargo.lock")),
        );
        let known: BTreeSet<_> = run.iter().map(|(name, _)| name).collect();
        let mut others = fuzzed
            .difference(&run)
            .filter(|(name, _)| known.contains(name));
        assert_eq!(
            others.next(),
            None,
            "begin {DIR}/Cargo.lock with a copy of Cargo.lock"
        );
    }
}
