//! `portcullis token`.

use std::env;
use std::io::{self, Write as _};

use clap::{Subcommand, ValueEnum, ValueHint};
use portcullis_policy::{Span, Timestamp};
use serde_json::{Map, Value};

use super::chain_args::{ChainArgs, Secrets};
use super::request_args::{KeysArgs, read_key, read_text};
use super::{DONE, FAILED, IMPOSSIBLE};
use crate::filter::Variables;
use crate::loaded::read_named;
use crate::moment;
use crate::token::explain::explain;
use crate::token::key::SigningKey;
use crate::token::provider::{self, TTL, Wanted};
use crate::token::{mint, told};

/// What `--help` shows of `token mint`.
const MINT_EXAMPLES: &str = "\
Examples:
  portcullis token mint --config envoy/edge.yaml --claim sub=alice --claim scope=rag:read
  portcullis token mint --secret-env JWT_SECRET_KEY --issuer https://issuer.example --audience rag-api --claim sub=alice
  portcullis token mint --key private.pem --algorithm RS256 --kid k1 --issuer https://issuer.example --ttl 5m
  curl -H \"authorization: Bearer $(portcullis token mint --config envoy/edge.yaml --claim scope=rag:read)\" http://localhost:8000/

Exit codes:
  0  the token is printed, and nothing else
  2  it can't be made";

/// What `--help` shows of `token explain`.
const EXPLAIN_EXAMPLES: &str = "\
Examples:
  pbpaste | portcullis token explain envoy/edge.yaml
  portcullis token explain envoy/edge.yaml token.txt --env
  portcullis token explain envoy.yaml token.txt --keys https://issuer.example/keys=keys.json

Exit codes:
  0  the token is good
  1  it is not
  2  it can't be explained";

/// What is done with tokens.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print a token for trying things out.
    #[command(after_help = MINT_EXAMPLES)]
    Mint(Mint),
    /// Tell what a configuration makes of a token: which check fails, and what would be required.
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(Explain),
}

/// What the token says, and what signs it.
#[derive(Debug, clap::Args)]
pub struct Mint {
    /// A configuration with a `jwt_auth`, whose provider says what its tokens are: issuer, audience, algorithm, `kid` and secret.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    config: Option<String>,

    #[command(flatten)]
    chain: ChainArgs,

    /// Which provider of the configuration, where it has several.
    #[arg(long, value_name = "NAME", requires = "config")]
    provider: Option<String>,

    /// The variable that holds the secret that signs.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["secret_file", "key"])]
    secret_env: Option<String>,

    /// The file that holds the secret that signs.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "key")]
    secret_file: Option<String>,

    /// The file with the private key that signs, in PEM or as a JWK.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    key: Option<String>,

    /// How it is signed. Default: as the provider's first algorithm that the key signs by, or the key's own first.
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    algorithm: Option<String>,

    /// Which key signs it: `kid`. Default: that of the provider's secret.
    #[arg(long, value_name = "NAME")]
    kid: Option<String>,

    /// Who issued it: `iss`.
    #[arg(long, value_name = "TEXT")]
    issuer: Option<String>,

    /// Whom it is for: `aud`.
    #[arg(long, value_name = "TEXT")]
    audience: Option<String>,

    /// What else it says, such as sub=alice; null takes a claim away.
    #[arg(long = "claim", value_name = "NAME=VALUE", value_parser = mint::claim)]
    claims: Vec<(Vec<String>, Value)>,

    /// How long it lives. Default: 1h.
    #[arg(long, value_name = "SPAN", value_parser = moment::parse_span)]
    ttl: Option<Span>,

    /// When it was issued. Default: now.
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    at: Option<Timestamp>,
}

/// Which token, and by what it is judged.
#[derive(Debug, clap::Args)]
pub struct Explain {
    /// A configuration with a `jwt_auth`.
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    config: String,

    /// The file with the token; - is what comes in.
    #[arg(value_name = "TOKEN", value_hint = ValueHint::FilePath, default_value = "-")]
    token: String,

    #[command(flatten)]
    chain: ChainArgs,

    #[command(flatten)]
    keys: KeysArgs,

    /// Take secrets that are named by `env` from this process's variables. Without it signatures by them are not looked at.
    #[arg(long)]
    env: bool,

    /// When it is judged. Default: now.
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    at: Option<Timestamp>,

    /// How it is told.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// How it is told what becomes of a token.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum Format {
    /// For a person.
    #[default]
    Human,
    /// For a machine.
    Json,
}

/// Mints or explains a token.
///
/// # Errors
/// What is told can't be written.
pub fn run(command: &Command) -> io::Result<u8> {
    let done = match command {
        Command::Mint(args) => match minted(args) {
            Ok(token) => {
                writeln!(anstream::stdout().lock(), "{token}")?;
                return Ok(DONE);
            }
            Err(error) => Err(error),
        },
        Command::Explain(args) => run_explain(args)?,
    };
    match done {
        Ok(exit) => Ok(exit),
        Err(error) => {
            writeln!(anstream::stderr().lock(), "portcullis: {error}")?;
            Ok(IMPOSSIBLE)
        }
    }
}

fn minted(args: &Mint) -> Result<String, String> {
    let now = args.at.unwrap_or_else(moment::now);
    let key = args.signing_key()?;
    let claims = args.claims();
    let Some(file) = &args.config else {
        let key =
            key.ok_or("nothing signs it; expected --config, --secret-env, --secret-file or --key")?;
        return args.of_nobody(&key, &claims, now);
    };
    // Of its secrets only the one that signs has to be there.
    let loaded = args.chain.load(file, Secrets::Assumed)?;
    let (_, jwt_auth) = loaded.jwt_auth()?;
    let wanted = Wanted {
        provider: args.provider.clone(),
        claims,
        kid: args.kid.clone(),
        ttl: args.ttl.map(Span::as_secs_ceil),
    };
    let token = provider::token(&jwt_auth, &wanted, key.as_ref(), &Variables::real(), now)?;
    Ok(token.text)
}

impl Mint {
    fn signing_key(&self) -> Result<Option<SigningKey>, String> {
        let secret = match (&self.secret_env, &self.secret_file) {
            (Some(name), _) => match env::var(name) {
                Ok(secret) => secret,
                Err(_) => return Err(format!("the variable {name} is not set")),
            },
            (None, Some(file)) => read_text(file)?,
            (None, None) => return self.key.as_deref().map(read_key).transpose(),
        };
        // As the filter does: a secret read from a file ends in a line break.
        let secret = secret.trim_end_matches(['\r', '\n']);
        if secret.is_empty() {
            return Err("the secret is empty".to_owned());
        }
        Ok(Some(SigningKey::secret(secret.as_bytes().to_vec())))
    }

    /// All that is said of claims. What is said by name comes last.
    fn claims(&self) -> Vec<(Vec<String>, Value)> {
        let named = [("iss", &self.issuer), ("aud", &self.audience)];
        let named = named
            .into_iter()
            .filter_map(|(name, value)| Some((vec![name.to_owned()], Value::from(value.clone()?))));
        named.chain(self.claims.iter().cloned()).collect()
    }

    /// A token of no provider that is configured.
    fn of_nobody(
        &self,
        key: &SigningKey,
        wanted: &[(Vec<String>, Value)],
        now: Timestamp,
    ) -> Result<String, String> {
        let first = key.algorithms().first().copied().unwrap_or_default();
        let algorithm = self.algorithm.as_deref().unwrap_or(first);
        let mut header = Map::new();
        header.insert("alg".to_owned(), algorithm.into());
        header.insert("typ".to_owned(), "JWT".into());
        if let Some(kid) = &self.kid {
            header.insert("kid".to_owned(), kid.as_str().into());
        }
        let ttl = self.ttl.map_or(TTL, Span::as_secs_ceil);
        let issued = now.unix_secs();
        let mut claims = Map::new();
        claims.insert("iat".to_owned(), issued.into());
        claims.insert("exp".to_owned(), issued.saturating_add(ttl).into());
        for (path, value) in wanted {
            mint::set(&mut claims, path, value);
        }
        mint::mint(&header, &claims, key)
    }
}

fn run_explain(args: &Explain) -> io::Result<Result<u8, String>> {
    let now = args.at.unwrap_or_else(moment::now);
    let asked = || {
        // Of the secrets only those of its tokens have to be there.
        let mut loaded = args.chain.load(&args.config, Secrets::Assumed)?;
        loaded.given.are_real = args.env;
        let source = read_named(&args.token);
        let source = source.map_err(|error| format!("{}: {error}", args.token))?;
        let token = source.text.trim();
        let token = token.strip_prefix("Bearer ").unwrap_or(token).trim();
        let explained = explain(token, &loaded, &args.keys.read()?, now)?;
        Ok((loaded, explained))
    };
    let (loaded, explained) = match asked() {
        Ok(explained) => explained,
        Err(error) => return Ok(Err(error)),
    };
    let out = &mut anstream::stdout().lock();
    match args.format {
        Format::Human => told::human(&explained, &loaded, now, out)?,
        Format::Json => told::json(&explained, out)?,
    }
    Ok(Ok(match explained.fails {
        None => DONE,
        Some(_) => FAILED,
    }))
}
