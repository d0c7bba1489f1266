//! The options that say which requests are sent, with which tokens, and what the backend answers.

use std::collections::BTreeMap;
use std::fs;

use clap::ValueHint;
use portcullis_policy::Span;
use serde_json::Value;

use crate::moment;
use crate::requests::{Asked, access_log, curl, har, header, line};
use crate::token::key::SigningKey;
use crate::token::mint;
use crate::token::provider::Wanted;
use crate::trial::{Fails, Upstream};

/// Which requests.
#[derive(Debug, clap::Args)]
pub struct RequestArgs {
    /// A request, such as 'GET /search HTTP/1.1', a path or a URL.
    #[arg(short, long = "request", value_name = "REQUEST")]
    requests: Vec<String>,

    /// The method, in place of the request's own.
    #[arg(short = 'X', long, value_name = "METHOD")]
    method: Option<String>,

    /// A header line of all requests: 'name: value'.
    #[arg(short = 'H', long = "header", value_name = "LINE", value_parser = header)]
    headers: Vec<(String, String)>,

    /// The body of all requests; @FILE is what that file holds.
    #[arg(short = 'd', long, value_name = "TEXT")]
    body: Option<String>,

    /// A HAR file, whose requests are sent.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    har: Option<String>,

    /// An access log of Envoy's in JSON, whose requests are sent.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    access_log: Option<String>,

    /// A request in curl's words.
    #[arg(last = true, value_name = "CURL")]
    curl: Vec<String>,
}

/// With which token.
#[derive(Debug, clap::Args)]
pub struct TokenArgs {
    /// Send a token that is good for this provider of `jwt_auth`, signed with its secret.
    #[arg(long, value_name = "PROVIDER")]
    token: Option<String>,

    /// What that token says: a claim, such as sub=alice; null takes one away.
    #[arg(long = "claim", value_name = "NAME=VALUE", value_parser = mint::claim, requires = "token")]
    claims: Vec<(Vec<String>, Value)>,

    /// How long that token lives. Default: 1h.
    #[arg(long, value_name = "SPAN", requires = "token", value_parser = moment::parse_span)]
    ttl: Option<Span>,

    /// The private key that signs that token, in PEM or as a JWK: a file. Default: the provider's secret.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "token")]
    key: Option<String>,
}

/// Key sets that are not fetched.
#[derive(Debug, clap::Args)]
pub struct KeysArgs {
    /// What a key set's URL holds: a file. Nothing is asked for over the network.
    #[arg(long, value_name = "URL=FILE", value_parser = pair)]
    keys: Vec<(String, String)>,
}

impl KeysArgs {
    /// What each URL holds.
    ///
    /// # Errors
    /// A file can't be read.
    pub fn read(&self) -> Result<BTreeMap<String, Vec<u8>>, String> {
        let keys = self.keys.iter();
        let keys = keys.map(|(url, file)| Ok((url.clone(), read_bytes(file)?)));
        keys.collect()
    }
}

/// What the backend answers.
#[derive(Debug, clap::Args)]
pub struct UpstreamArgs {
    /// What the backend answers.
    #[arg(long, value_name = "STATUS", default_value_t = 200)]
    upstream_status: u16,

    /// A header line of its answers.
    #[arg(long, value_name = "LINE", value_parser = header)]
    upstream_header: Vec<(String, String)>,

    /// The body of its answers; @FILE is what that file holds.
    #[arg(long, value_name = "TEXT")]
    upstream_body: Option<String>,

    /// How long it takes.
    #[arg(long, value_name = "SPAN", value_parser = moment::parse_span)]
    upstream_delay: Option<Span>,

    /// How it fails, in place of an answer.
    #[arg(long, value_name = "HOW")]
    upstream_fails: Option<Fails>,
}

impl RequestArgs {
    /// The requests that are named, in the order of the options.
    ///
    /// # Errors
    /// One is none, or a file can't be read.
    pub fn read(&self) -> Result<Vec<Asked>, String> {
        let mut all = Vec::new();
        for text in &self.requests {
            all.push(line::parse(text)?);
        }
        if let Some(file) = &self.har {
            let text = read_text(file)?;
            all.extend(har::parse(&text).map_err(|error| format!("{file}: {error}"))?);
        }
        if let Some(file) = &self.access_log {
            let text = read_text(file)?;
            all.extend(access_log::parse(&text).map_err(|error| format!("{file}: {error}"))?);
        }
        if !self.curl.is_empty() {
            all.push(curl::parse(&self.curl, read_bytes)?);
        }
        let body = self.body.as_deref().map(text_or_file).transpose()?;
        for asked in &mut all {
            if let Some(method) = &self.method {
                method.clone_into(&mut asked.method);
            }
            for (name, value) in &self.headers {
                asked.add(name, value);
            }
            if let Some(body) = &body {
                body.clone_into(&mut asked.body);
            }
        }
        Ok(all)
    }
}

impl UpstreamArgs {
    /// What it answers.
    ///
    /// # Errors
    /// The file with its body can't be read.
    pub fn upstream(&self) -> Result<Upstream, String> {
        let body = self
            .upstream_body
            .as_deref()
            .map(text_or_file)
            .transpose()?;
        let headers = self.upstream_header.iter();
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
        Ok(Upstream {
            status: self.upstream_status,
            headers: headers.collect(),
            body: body.unwrap_or_default(),
            delay: self.upstream_delay.unwrap_or(Span::ZERO),
            fails: self.upstream_fails,
        })
    }
}

impl TokenArgs {
    /// The token that is wanted, if one is.
    #[must_use]
    pub fn wanted(&self) -> Option<Wanted> {
        self.token.as_ref().map(|provider| Wanted {
            provider: Some(provider.clone()),
            claims: self.claims.clone(),
            kid: None,
            ttl: self.ttl.map(Span::as_secs_ceil),
        })
    }

    /// What signs it, where that is not the provider's secret.
    ///
    /// # Errors
    /// The file can't be read, or holds no private key.
    pub fn key(&self) -> Result<Option<SigningKey>, String> {
        self.key.as_deref().map(read_key).transpose()
    }
}

/// A private key in a file.
///
/// # Errors
/// The file can't be read, or holds none.
pub fn read_key(file: &str) -> Result<SigningKey, String> {
    let key = SigningKey::parse(&read_text(file)?);
    key.map_err(|error| format!("{file}: {error}"))
}

pub(super) fn read_bytes(file: &str) -> Result<Vec<u8>, String> {
    fs::read(file).map_err(|error| format!("{file}: {error}"))
}

pub(super) fn read_text(file: &str) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))
}

fn text_or_file(text: &str) -> Result<Vec<u8>, String> {
    match text.strip_prefix('@') {
        Some(file) => read_bytes(file),
        None => Ok(text.as_bytes().to_vec()),
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    // A URL may have one of these too.
    let pair = text.rsplit_once('=');
    let (url, file) = pair.ok_or_else(|| format!("{text:?}: expected URL=FILE"))?;
    Ok((url.to_owned(), file.to_owned()))
}
