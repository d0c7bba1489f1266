//! `portcullis keys`.

use std::io::{self, IsTerminal as _, Write};

use anstyle::{AnsiColor, Style};
use clap::{ValueEnum, ValueHint};
use portcullis_policy::Span;
use serde_json::Value;

use super::chain_args::{ChainArgs, Secrets};
use super::request_args::KeysArgs;
use super::{DONE, FAILED, IMPOSSIBLE};
use crate::fetch::{fetch, is_url};
use crate::key_set::{Group, Seen, of_configuration, of_document};
use crate::loaded::read_named;
use crate::moment::{self, shown_span};

/// What `--help` shows of it.
pub const EXAMPLES: &str = "\
Examples:
  portcullis keys https://issuer.example/.well-known/jwks.json
  portcullis keys jwks.json --algorithm RS256
  portcullis keys public.pem
  portcullis keys envoy.yaml --keys https://issuer.example/keys=jwks.json

Exit codes:
  0  there are keys that can be used, for each provider
  1  there are none
  2  nothing can be told of them";

/// How it is told.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum Format {
    /// For a person.
    #[default]
    Human,
    /// For a machine.
    Json,
}

/// Which keys are looked at.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A key set (JWKS), a public key in PEM, or a configuration with a `jwt_auth`: a file, - for what comes in, or the URL of a key set,
    /// which is asked for.
    #[arg(value_name = "FILE|URL", value_hint = ValueHint::FilePath)]
    source: String,

    /// Only algorithms that the provider takes, such as RS256. Default: all that are known.
    #[arg(long = "algorithm", value_name = "NAME")]
    algorithms: Vec<String>,

    /// How long an answer may take.
    #[arg(long, value_name = "SPAN", default_value = "10s", value_parser = moment::parse_span)]
    timeout: Span,

    /// The certificates that are trusted, in PEM, in place of the system's.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    ca: Option<String>,

    #[command(flatten)]
    chain: ChainArgs,

    #[command(flatten)]
    keys: KeysArgs,

    /// Take secrets that are named by `env` from this process's variables. Without it they are assumed to be there.
    #[arg(long)]
    env: bool,

    /// How it is told.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();

/// Tells which keys would be used, and why others not.
///
/// # Errors
/// What is told can't be written.
pub fn run(args: &Args) -> io::Result<u8> {
    let groups = match looked_at(args) {
        Ok(groups) => groups,
        Err(error) => {
            writeln!(anstream::stderr().lock(), "portcullis: {error}")?;
            return Ok(IMPOSSIBLE);
        }
    };
    let mut out = anstream::stdout().lock();
    match args.format {
        Format::Json => {
            let all: Value = groups.iter().map(Group::to_json).collect();
            writeln!(out, "{all:#}")?;
        }
        Format::Human => {
            for group in &groups {
                write_group(group, &mut out)?;
            }
        }
    }
    let is_lacking = groups.iter().any(|group| group.usable() == 0);
    Ok(if is_lacking { FAILED } else { DONE })
}

fn looked_at(args: &Args) -> Result<Vec<Group>, String> {
    let name = &args.source;
    if is_url(name) {
        if io::stderr().is_terminal() {
            let longest = shown_span(args.timeout);
            let mut err = anstream::stderr().lock();
            // Whoever reads may have gone away.
            let _told = writeln!(err, "portcullis: asking {name}, for {longest} at most …");
        }
        let fetched = fetch(name, args.timeout, args.ca.as_deref());
        let document = fetched.map_err(|error| format!("{name}: {error}"))?;
        return Ok(vec![of_document(name, &document, &args.algorithms)?]);
    }
    let source = read_named(name).map_err(|error| format!("{name}: {error}"))?;
    let text = &source.text;
    let is_configuration = text.contains("providers");
    let is_set = text.trim_start().starts_with('{') || text.contains("-----BEGIN ");
    if is_set && !is_configuration {
        let document = text.as_bytes();
        return Ok(vec![of_document(&source.name, document, &args.algorithms)?]);
    }
    let loaded = args
        .chain
        .load_source(source, Secrets::by_option(args.env))?;
    of_configuration(&loaded, &args.keys.read()?)
}

fn write_group(group: &Group, out: &mut dyn Write) -> io::Result<()> {
    let Group {
        name,
        algorithms,
        keys,
    } = group;
    let algorithms = algorithms.as_ref();
    let takes = algorithms.map_or_else(String::new, |names| format!(" ({})", names.join(", ")));
    let (all, usable) = (keys.len(), group.usable());
    writeln!(out, "{name}{takes}: {usable} of {all} can be used")?;
    for Seen { path, kid, usable } in keys {
        let kid = kid.as_ref();
        let called = kid.map_or_else(String::new, |kid| format!(" {kid:?}"));
        let path = if path.is_empty() { "the key" } else { path };
        match usable {
            Ok(what) => writeln!(out, "  {GOOD}used{GOOD:#}      {path}{called}  {what}")?,
            Err(why) => writeln!(out, "  {BAD}not used{BAD:#}  {path}{called}  {why}")?,
        }
    }
    Ok(())
}
