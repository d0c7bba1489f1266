//! `portcullis import`.

use std::fs;
use std::io::{self, Write as _};

use crate::import::{Imported, Outcome, human, import, json, to_yaml};
use crate::source::Source;
use clap::{Args, ValueEnum};

/// The examples of its help.
pub const EXAMPLES: &str = "\
Examples:
  portcullis import kong.yml > edge.yaml
  portcullis import --bare --output edge.yaml envoy.yaml
  portcullis import --for kong kong.yml > kong.new.yml
  portcullis import --descriptors ratelimit.yaml envoy.yaml
  portcullis import --report json kong.yml > edge.yaml 2> report.json

Exit codes:
  0  all was taken over, some of it perhaps with a difference
  1  something was not taken over
  2  a file can't be read, is no YAML, or holds nothing that can be taken over";

/// What it is told.
#[derive(Debug, Args)]
pub struct Import {
    /// Kong's declarative file, or what `deck dump` writes, or Envoy's bootstrap, listener or filter.
    #[arg(value_name = "FILE")]
    file: String,

    /// Write the whole file of this gateway, with `edge` in the place of what was taken over. It has to be the one that FILE
    /// is for.
    #[arg(
        long = "for",
        value_enum,
        value_name = "GATEWAY",
        conflicts_with = "bare"
    )]
    gateway: Option<GatewayName>,

    /// Write the configuration of `edge` alone. The default.
    #[arg(long)]
    bare: bool,

    /// The limits of Envoy's rate limit service, which the filter `ratelimit` asks.
    #[arg(long, value_name = "FILE")]
    descriptors: Option<String>,

    /// Write the configuration into this file, and not to the standard output.
    #[arg(long, short, value_name = "FILE")]
    output: Option<String>,

    /// How the report is written, to the standard error.
    #[arg(long, value_enum, default_value_t)]
    report: ReportName,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum GatewayName {
    Envoy,
    Kong,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum ReportName {
    #[default]
    Human,
    Json,
}

const ALL: u8 = 0;
const SOME: u8 = 1;
const NONE: u8 = 2;

/// Does it, and gives back the exit code.
///
/// # Errors
/// The standard output or error can't be written to.
pub fn run(arguments: &Import, read: impl Fn(&str) -> io::Result<String>) -> io::Result<u8> {
    let mut err = anstream::stderr().lock();
    let load = |name: &str| {
        let text = read(name)?;
        let name = if name == "-" { "stdin" } else { name }.to_owned();
        Ok::<_, io::Error>(Source { name, text })
    };
    let descriptors = arguments.descriptors.as_deref().map(load).transpose();
    let (source, descriptors) = match (load(&arguments.file), descriptors) {
        (Ok(source), Ok(descriptors)) => (source, descriptors),
        (Err(error), _) | (_, Err(error)) => {
            writeln!(err, "portcullis: {}: {error}", arguments.file)?;
            return Ok(NONE);
        }
    };
    let imported = match import(&source, descriptors.as_ref()) {
        Ok(imported) => imported,
        Err(error) => {
            let at = source.position(error.place.start);
            writeln!(
                err,
                "portcullis: {}:{}:{}: {}",
                source.name, at.line, at.column, error.reason
            )?;
            return Ok(NONE);
        }
    };
    match arguments.report {
        ReportName::Human => human(&source, &imported, &mut err)?,
        ReportName::Json => writeln!(err, "{:#}", json(&source, &imported))?,
    }
    let written = match arguments.gateway {
        None => imported.edge.as_ref(),
        Some(gateway) => {
            let is_kong = imported.file.as_ref().is_some_and(|file| {
                file.get("_format_version").is_some() || file.get("services").is_some()
            });
            if imported.file.is_none() || is_kong != (gateway == GatewayName::Kong) {
                writeln!(
                    err,
                    "portcullis: {}: no whole file of that gateway can be made of it: take --bare",
                    source.name
                )?;
                return Ok(NONE);
            }
            imported.file.as_ref()
        }
    };
    let Some(written) = written else {
        writeln!(
            err,
            "portcullis: {}: nothing in it can be taken over",
            source.name
        )?;
        return Ok(NONE);
    };
    let text = to_yaml(written);
    match &arguments.output {
        Some(path) => fs::write(path, text)?,
        None => write!(anstream::stdout().lock(), "{text}")?,
    }
    Ok(exit_code(&imported))
}

fn exit_code(imported: &Imported) -> u8 {
    let left = imported
        .notes
        .iter()
        .any(|note| note.outcome == Outcome::Left);
    if imported.errors.is_empty() && !left {
        ALL
    } else {
        SOME
    }
}
