//! `portcullis try`.

use std::io::{self, Write as _};
use std::net::IpAddr;

use clap::{ValueEnum, ValueHint};
use portcullis_policy::{Span, Timestamp};

use super::chain_args::{ChainArgs, Secrets};
use super::request_args::{KeysArgs, RequestArgs, TokenArgs, UpstreamArgs};
use super::{DONE, FAILED, IMPOSSIBLE};
use crate::loaded::Loaded;
use crate::moment;
use crate::tell;
use crate::trial::record::Record;
use crate::trial::series::{Series, begin};
use crate::trial::{Setting, Trial};

/// What `--help` shows of it.
pub const EXAMPLES: &str = "\
Examples:
  portcullis try envoy/edge.yaml --request 'GET /api/v1/rag/search?q=x'
  portcullis try envoy/edge.yaml --request /api/v1/rag/search --token dashboard --claim sub=alice --claim scope=rag:read
  portcullis try kong/kong.yml --request /api/v1/rag/search --repeat 150 --over 30s --expect 429
  portcullis try envoy/edge.yaml --access-log access.log --token dashboard --claim scope=rag:read
  portcullis try envoy/edge.yaml -- curl -X POST --json '{}' http://localhost:8000/api/v1/rag/query

Exit codes:
  0  it was tried, and came to what is expected
  1  it came to something else
  2  it can't be tried";

/// How it is told what came of requests.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum Format {
    /// For a person.
    #[default]
    Human,
    /// For a machine.
    Json,
}

/// What is tried.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Envoy's or Kong's file, Kubernetes resources, or the configuration of a filter; - is what comes in.
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: String,

    #[command(flatten)]
    chain: ChainArgs,

    /// Take secrets that are named by `env` from this process's variables. Without it they are assumed to be there.
    #[arg(long)]
    env: bool,

    #[command(flatten)]
    requests: RequestArgs,

    #[command(flatten)]
    token: TokenArgs,

    #[command(flatten)]
    upstream: UpstreamArgs,

    /// When the first request is sent, such as 2026-01-01T00:00:00Z. Default: now, or when the HAR file or the log says.
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    at: Option<Timestamp>,

    /// How often the requests are sent.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    repeat: u32,

    /// Within how long all of them are sent, one as long after another.
    #[arg(long, value_name = "SPAN", value_parser = moment::parse_span)]
    over: Option<Span>,

    /// The address that requests come from.
    #[arg(long, value_name = "ADDRESS", default_value = "203.0.113.1")]
    client: IpAddr,

    /// The name of the route that the gateway has chosen for them.
    #[arg(long, value_name = "NAME")]
    route: Option<String>,

    #[command(flatten)]
    keys: KeysArgs,

    /// The status that the last answer must have.
    #[arg(long, value_name = "STATUS")]
    expect: Option<u16>,

    /// How it is told what came of them.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Tries requests, and tells what comes of them.
///
/// # Errors
/// What is told can't be written.
pub fn run(args: &Args) -> io::Result<u8> {
    let (loaded, records) = match tried(args) {
        Ok(tried) => tried,
        Err(error) => {
            writeln!(anstream::stderr().lock(), "portcullis: {error}")?;
            return Ok(IMPOSSIBLE);
        }
    };
    let mask = loaded.mask();
    let out = &mut anstream::stdout().lock();
    match args.format {
        Format::Human => tell::human::write(&records, &loaded, &mask, out)?,
        Format::Json => tell::json::write(&records, &loaded, &mask, out)?,
    }
    let last = records.last().map(|record| record.answer.status);
    match args.expect {
        Some(expected) if Some(expected) != last => {
            let found = last.unwrap_or_default();
            writeln!(
                anstream::stderr().lock(),
                "portcullis: the last answer is {found}; expected {expected}"
            )?;
            Ok(FAILED)
        }
        Some(_) | None => Ok(DONE),
    }
}

fn tried(args: &Args) -> Result<(Loaded, Vec<Record>), String> {
    let secrets = Secrets::by_option(args.env);
    let mut loaded = args.chain.load(&args.file, secrets)?;
    let answers = args.keys.read()?;
    let mut all = args.requests.read()?;
    if all.is_empty() {
        return Err(
            "no request; expected --request, --har, --access-log, or curl's words after --"
                .to_owned(),
        );
    }
    for asked in &mut all {
        asked.route.clone_from(&args.route);
    }
    let at = begin(&mut all, args.at, moment::now);
    if let Some(wanted) = args.token.wanted() {
        let key = args.token.key()?;
        if key.is_none() {
            loaded.stand_in(wanted.provider.as_deref())?;
        }
        for asked in &mut all {
            let now = asked.at.unwrap_or(at);
            let token = loaded.token(&wanted, key.as_ref(), now)?;
            token.carry(asked);
        }
    }
    let setting = Setting {
        at,
        client: args.client,
        answers,
    };
    let upstream = args.upstream.upstream()?;
    let mut trial = Trial::start(&loaded.chain, setting, |configured| {
        loaded.variables(configured)
    })?;
    let series = Series {
        from: at,
        repeat: args.repeat,
        over: args.over,
    };
    series.send(&all, &upstream, &mut trial);
    Ok((loaded, trial.finish()))
}
