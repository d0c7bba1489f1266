//! `portcullis test`.

use std::io::{self, Write};
use std::path::Path;

use anstyle::{AnsiColor, Style};
use clap::{ValueEnum, ValueHint};

use super::{DONE, FAILED, IMPOSSIBLE};
use crate::cases::run::{Outcome, load, run as run_case};
use crate::cases::{Wrong, junit, read};
use crate::loaded::{Loaded, read_named};
use crate::source::Source;
use crate::tell::human;

/// What `--help` shows of it.
pub const EXAMPLES: &str = "\
Examples:
  portcullis test cases.yaml
  portcullis test --only 'without a token' cases.yaml
  portcullis test --format junit cases/*.yaml > report.xml

A file of cases names a configuration, and what is to come of requests:

  configuration: envoy/edge.yaml
  cases:
    - name: without a token nobody gets in
      request: GET /api/v1/rag/search
      expect: { status: 401 }

docs/try.md says what else may stand in it.

Exit codes:
  0  all came as expected
  1  something did not
  2  a file can't be read or run";

/// How it is told what came of cases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For a person.
    #[default]
    Human,
    /// For CI systems: JUnit's XML.
    Junit,
}

/// What is run.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files of cases; - is what comes in.
    #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    files: Vec<String>,

    /// Only cases whose name holds this.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,

    /// Take secrets that are named by `env` from this process's variables. Without it they are assumed to be there.
    #[arg(long)]
    env: bool,

    /// How it is told what came of them.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();

/// Runs cases, and tells which came otherwise.
///
/// # Errors
/// What is told can't be written.
pub fn run(args: &Args) -> io::Result<u8> {
    let mut exit = DONE;
    let mut suites = Vec::new();
    let mut out = anstream::stdout().lock();
    let mut counts = (0_usize, 0_usize);
    for name in &args.files {
        let source = match read_named(name) {
            Ok(source) => source,
            Err(error) => {
                writeln!(anstream::stderr().lock(), "portcullis: {name}: {error}")?;
                exit = IMPOSSIBLE;
                continue;
            }
        };
        let ran = run_file(&source, args);
        match &ran {
            Err(why) => {
                writeln!(anstream::stderr().lock(), "portcullis: {why}")?;
                exit = IMPOSSIBLE;
            }
            Ok((loaded, outcomes)) => {
                for outcome in outcomes {
                    counts.0 = counts.0.saturating_add(1);
                    if !outcome.failures.is_empty() {
                        counts.1 = counts.1.saturating_add(1);
                        exit = exit.max(FAILED);
                    }
                    if args.format == Format::Human {
                        tell(outcome, &source, loaded, &mut out)?;
                    }
                }
            }
        }
        suites.push((source, ran.map(|(_, outcomes)| outcomes)));
    }
    match args.format {
        Format::Junit => junit::write(&suites, &mut out)?,
        Format::Human => {
            let (all, failed) = counts;
            let cases = if all == 1 { "case" } else { "cases" };
            let color = if failed == 0 { GOOD } else { BAD };
            writeln!(out, "{color}{all} {cases}, {failed} failed{color:#}")?;
        }
    }
    Ok(exit)
}

/// All cases of a file, or why they can't be run.
fn run_file(source: &Source, args: &Args) -> Result<(Loaded, Vec<Outcome>), String> {
    let told = |wrong: &Wrong| {
        let line = source.line_of(wrong.place);
        format!("{}:{line}: {}", source.name, wrong.message)
    };
    let all_told = |wrong: Vec<Wrong>| wrong.iter().map(told).collect::<Vec<_>>().join("\n");
    let cases = read(&source.text).map_err(all_told)?;
    let folder = Path::new(&source.name).parent();
    let folder = folder.unwrap_or_else(|| Path::new(""));
    let loaded = load(&cases, folder, args.env).map_err(|wrong| told(&wrong))?;
    let mut outcomes = Vec::new();
    for case in &cases.cases {
        let is_meant = |only: &String| case.name.contains(only.as_str());
        if args.only.as_ref().is_none_or(is_meant) {
            let outcome = run_case(case, &cases, &loaded, folder);
            outcomes.push(outcome.map_err(|wrong| told(&wrong))?);
        }
    }
    Ok((loaded, outcomes))
}

fn tell(
    outcome: &Outcome,
    source: &Source,
    loaded: &Loaded,
    out: &mut dyn Write,
) -> io::Result<()> {
    let Outcome {
        name,
        place,
        failures,
    } = outcome;
    if failures.is_empty() {
        return writeln!(out, "{GOOD}ok{GOOD:#}      {name}");
    }
    let line = source.line_of(*place);
    writeln!(out, "{BAD}failed{BAD:#}  {name} ({}:{line})", source.name)?;
    for failure in failures {
        let line = source.line_of(failure.wrong.place);
        writeln!(out, "  {}:{line}: {}", source.name, failure.wrong.message)?;
    }
    let mut told: Vec<usize> = Vec::new();
    for record in failures
        .iter()
        .filter_map(|failure| failure.record.as_ref())
    {
        if !told.contains(&record.number) {
            human::in_full(record, loaded, &loaded.mask(), out)?;
            told.push(record.number);
        }
    }
    Ok(())
}
