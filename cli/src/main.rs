//! `portcullis`: what a person types.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use portcullis_cli::check::{Options, check_all};
use portcullis_cli::commands::{completions, import, keys, man, test_cases, token, try_request};
use portcullis_cli::explain::explain;
use portcullis_cli::filter::{FILTERS, Filter, Host};
use portcullis_cli::finding::Code;
use portcullis_cli::report::{self, Format, Looked};
use portcullis_cli::source::Source;

/// Looks after the filters' configurations.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Tell what is wrong with configurations, and what will not do what it seems to.
    #[command(after_help = EXAMPLES)]
    Check(Check),
    /// Make a configuration of ours of Kong's and Envoy's own plugins.
    #[command(after_help = import::EXAMPLES)]
    Import(import::Import),
    /// Explain a finding.
    #[command(after_help = "Examples:\n  portcullis explain P002")]
    Explain {
        /// Its code, such as P002.
        code: String,
    },
    /// Try requests on a configuration, and see step by step what becomes of them.
    #[command(after_help = try_request::EXAMPLES)]
    Try(Box<try_request::Args>),
    /// Run tables of requests and of what is to come of them.
    #[command(after_help = test_cases::EXAMPLES)]
    Test(test_cases::Args),
    /// Make tokens, and explain them.
    #[command(subcommand)]
    Token(Box<token::Command>),
    /// Tell which keys would be used, and why others not.
    #[command(after_help = keys::EXAMPLES)]
    Keys(keys::Args),
    /// Write what a shell completes this command by.
    #[command(after_help = completions::EXAMPLES)]
    Completions(completions::Args),
    /// Write a manual page.
    #[command(after_help = man::EXAMPLES)]
    Man(man::Args),
}

const EXAMPLES: &str = "\
Examples:
  portcullis check envoy/edge.yaml kong/kong.yml
  portcullis check --filter rate_limit limits.yaml
  portcullis check --env envoy.yaml                with the secrets of this machine
  portcullis check --format sarif envoy.yaml > portcullis.sarif
  kustomize build | portcullis check -

Exit codes:
  0  nothing was found
  1  something was found
  2  a file can't be read, or is no YAML";

#[derive(Debug, clap::Args)]
struct Check {
    /// Envoy's or Kong's files, Kubernetes resources, or configurations of a filter; - is what comes in.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,

    /// The files hold the configuration of this filter, and nothing around it.
    #[arg(long, value_name = "NAME", value_parser = FILTERS.map(|filter| filter.name))]
    filter: Option<String>,

    /// What loads the filter of --filter.
    #[arg(long, value_enum, default_value_t, requires = "filter")]
    host: Host,

    /// Take secrets that are named by `env` from this process's variables. Without it they are assumed to be there, and long
    /// enough.
    #[arg(long)]
    env: bool,

    /// How findings are written.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Nothing was found; something was; something could not be looked at.
const CLEAN: u8 = 0;
const FOUND: u8 = 1;
const UNREADABLE: u8 = 2;

fn main() -> ExitCode {
    let code = match Cli::parse().command {
        Command::Check(arguments) => run(&arguments),
        Command::Import(arguments) => import::run(&arguments, read),
        Command::Explain { code } => tell(&code),
        Command::Try(arguments) => try_request::run(&arguments),
        Command::Test(arguments) => test_cases::run(&arguments),
        Command::Token(command) => token::run(&command),
        Command::Keys(arguments) => keys::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments, Cli::command()),
        Command::Man(arguments) => man::run(&arguments, Cli::command()),
    };
    // Whoever reads may have gone away.
    ExitCode::from(code.unwrap_or(UNREADABLE))
}

fn run(arguments: &Check) -> io::Result<u8> {
    let filter = arguments.filter.as_deref().and_then(Filter::named);
    let options = Options {
        filter: filter.map(|filter| (filter, arguments.host)),
        real_variables: arguments.env,
    };
    let mut exit = CLEAN;
    let mut sources: Vec<Source> = Vec::new();
    let mut err = anstream::stderr().lock();
    for name in &arguments.files {
        match read(name) {
            Err(error) => {
                writeln!(err, "portcullis: {name}: {error}")?;
                exit = UNREADABLE;
            }
            Ok(text) => {
                let name = if name == "-" { "stdin" } else { name }.to_owned();
                sources.push(Source { name, text });
            }
        }
    }
    let checked = check_all(&sources, options);
    let looked: Vec<Looked> = sources.into_iter().zip(checked).collect();
    for (source, checked) in &looked {
        let mut findings = checked.findings.iter();
        let is_read = findings.all(|finding| finding.code != Code::Unreadable);
        if is_read && checked.filters == 0 && !checked.is_conf {
            writeln!(
                err,
                "portcullis: {}: no filter is configured in it (a filter's configuration by itself: --filter NAME)",
                source.name
            )?;
        }
        exit = exit.max(match checked.findings.is_empty() {
            _ if !is_read => UNREADABLE,
            true => CLEAN,
            false => FOUND,
        });
    }
    report::write(arguments.format, &looked, &mut anstream::stdout().lock())?;
    Ok(exit)
}

fn read(name: &str) -> io::Result<String> {
    if name != "-" {
        return fs::read_to_string(name);
    }
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

fn tell(code: &str) -> io::Result<u8> {
    let explained = Code::named(code).and_then(explain);
    match explained {
        Some(text) => {
            writeln!(anstream::stdout().lock(), "{text}")?;
            Ok(CLEAN)
        }
        None => {
            let known = Code::ALL.map(Code::id).join(", ");
            writeln!(
                anstream::stderr().lock(),
                "portcullis: {code} is no code; expected one of {known}"
            )?;
            Ok(UNREADABLE)
        }
    }
}
