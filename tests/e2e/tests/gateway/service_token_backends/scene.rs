//! A backend in another language, what is sent to it, and the gateway before it.

use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis_e2e::backend::ReceivedRequest;
use portcullis_e2e::{Answer, Gateway, PATIENCE, exchange, repository};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

pub(super) const OLD: (&str, &str) = ("2026-11", "old-old-old-old-old-old-old-old-old");
pub(super) const NEW: (&str, &str) = ("2026-12", "new-new-new-new-new-new-new-new-new");

pub(super) const ISSUER: &str = "https://gateway.example";
pub(super) const AUDIENCE: &str = "rag";
pub(super) const HEADER: &str = "x-service-token";

#[derive(Clone, Copy, Debug)]
pub(super) enum Language {
    Node,
    Python,
}

impl Language {
    /// What starts a backend, or `None` where there is nothing to run it with, which is said aloud.
    fn command(self, folder: &Path) -> Result<Option<Command>> {
        let sources = repository().join("tests/backends");
        match self {
            Self::Node => {
                let Some((node, modules)) = prepared("PORTCULLIS_NODE", "PORTCULLIS_NODE_MODULES")?
                else {
                    return Ok(None);
                };
                // It looks for libraries beside the source, and nowhere else.
                for file in ["server.mjs", "verify.mjs"] {
                    fs::copy(sources.join("node").join(file), folder.join(file))?;
                }
                std::os::unix::fs::symlink(modules, folder.join("node_modules"))?;
                let mut command = Command::new(node);
                command.arg(folder.join("server.mjs"));
                Ok(Some(command))
            }
            Self::Python => {
                let Some((python, packages)) =
                    prepared("PORTCULLIS_PYTHON", "PORTCULLIS_PYTHON_PACKAGES")?
                else {
                    return Ok(None);
                };
                let mut command = Command::new(python);
                command.env("PYTHONPATH", packages);
                // Nothing is to appear in the repository.
                command.env("PYTHONDONTWRITEBYTECODE", "1");
                command.arg(sources.join("python/server.py"));
                Ok(Some(command))
            }
        }
    }
}

/// A program and its libraries, as `cargo xtask test --only e2e` has fetched them.
fn prepared(program: &str, libraries: &str) -> Result<Option<(PathBuf, PathBuf)>> {
    if let (Some(program), Some(libraries)) = (env::var_os(program), env::var_os(libraries)) {
        return Ok(Some((program.into(), libraries.into())));
    }
    let why = format!(
        "{program} and {libraries} are not set: `cargo xtask test --only e2e` fetches what they are \
         to name, and runs these tests"
    );
    if env::var_os("CI").is_some() {
        bail!(why);
    }
    // Not by a macro: what those write is shown of failed tests only.
    writeln!(io::stderr(), "a test of tests/backends did not run: {why}")?;
    Ok(None)
}

/// A backend in another language that asks for one kind of credential.
pub(super) struct Backend {
    address: SocketAddr,
    _process: Child,
    _files: TempDir,
}

impl Backend {
    pub(super) async fn start(language: Language, kind: &str) -> Result<Option<Self>> {
        let files = tempfile::tempdir()?;
        let Some(mut command) = language.command(files.path())? else {
            return Ok(None);
        };
        let secrets = [OLD, NEW].map(|(id, value)| format!("{id}={value}"));
        command
            .arg("0")
            .env("SERVICE_TOKEN_KIND", kind)
            .env("SERVICE_TOKEN_SECRETS", secrets.join(" "))
            .env("SERVICE_TOKEN_ISSUER", ISSUER)
            .env("SERVICE_TOKEN_AUDIENCE", AUDIENCE)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut process = command.spawn()?;
        let output = process.stdout.take().context("it has no output")?;
        let mut lines = BufReader::new(output).lines();
        let line = timeout(PATIENCE, lines.next_line()).await;
        let line = line.context("it does not say where it listens")??;
        let port = line
            .as_deref()
            .and_then(|line| line.strip_prefix("listening "));
        let port: u16 = port
            .with_context(|| format!("not a port: {line:?}"))?
            .parse()?;
        Ok(Some(Self {
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            _process: process,
            _files: files,
        }))
    }

    /// The status that a request is answered with which comes past the gateway.
    pub(super) async fn status(&self, request: &Direct) -> Result<u16> {
        let answer = exchange(self.address, request.text().as_bytes()).await?;
        let expected = if answer.status == 200 {
            "key_id"
        } else {
            "reason"
        };
        assert!(answer.body.contains(expected), "{answer:?}");
        Ok(answer.status)
    }
}

/// A request that comes past the gateway.
#[derive(Clone, Debug)]
pub(super) struct Direct {
    pub(super) method: String,
    pub(super) target: String,
    headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Direct {
    pub(super) fn get(headers: &[(&str, &str)]) -> Self {
        let owned = |header: &(&str, &str)| (header.0.to_owned(), header.1.to_owned());
        Self {
            method: "GET".to_owned(),
            target: "/api/v1/rag".to_owned(),
            headers: [("host", "gateway")]
                .iter()
                .chain(headers)
                .map(owned)
                .collect(),
            body: String::new(),
        }
    }

    /// One that the gateway has made, and somebody has seen on the way.
    pub(super) fn captured(received: &ReceivedRequest, body: &str) -> Self {
        let query = received.query.iter().map(|query| format!("?{query}"));
        let hop = |name: &str| matches!(name, "connection" | "transfer-encoding");
        let headers = received.headers.iter().filter(|(name, _)| !hop(name));
        Self {
            method: received.method.clone(),
            target: query.fold(received.path.clone(), |path, query| path + &query),
            headers: headers.cloned().collect(),
            body: body.to_owned(),
        }
    }

    pub(super) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// With other values of a header.
    pub(super) fn with_header(self, name: &str, values: &[&str]) -> Self {
        self.with(|request| {
            request.headers.retain(|(other, _)| other != name);
            let lines = values
                .iter()
                .map(|value| (name.to_owned(), (*value).to_owned()));
            request.headers.extend(lines);
        })
    }

    pub(super) fn header(&self, name: &str) -> Result<&str> {
        let mut headers = self.headers.iter();
        let header = headers.find(|(other, _)| other == name);
        Ok(&header.with_context(|| format!("no {name}: {self:?}"))?.1)
    }

    fn text(&self) -> String {
        let Self {
            method,
            target,
            headers,
            body,
        } = self;
        let lines = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"));
        let lines: String = lines.collect();
        format!("{method} {target} HTTP/1.1\r\n{lines}connection: close\r\n\r\n{body}")
    }
}

/// The plugin's configuration. The first secret is used.
fn credential(kind: &str) -> Value {
    let secrets = [NEW, OLD].map(|(id, value)| json!({ "id": id, "value": value }));
    match kind {
        "jwt" => json!({
            "kind": kind, "issuer": ISSUER, "subject": "gateway", "audience": AUDIENCE,
            "caller_header": "x-user-id", "secrets": secrets,
        }),
        _ => json!({ "kind": kind, "secrets": secrets }),
    }
}

/// A gateway, in front of `upstream` or of what records requests.
pub(super) async fn gateway(kind: &str, upstream: Option<&Backend>) -> Result<Gateway> {
    let gateway = Gateway::with("service_token").edit(|bootstrap| {
        bootstrap.filter("service_token")?["credential"] = credential(kind);
        Ok(())
    });
    match upstream {
        Some(backend) => gateway.upstream(backend.address).start().await,
        None => gateway.start().await,
    }
}

#[track_caller]
pub(super) fn assert_accepted(answer: &Answer, sub: Option<&str>, act: Option<&str>) {
    assert_eq!(answer.status, 200, "{answer:?}");
    let expected = json!({ "key_id": NEW.0, "sub": sub, "act": act });
    assert_eq!(answer.json().unwrap(), expected);
}

/// `content-digest` (RFC 9530).
pub(super) fn digest(body: &str) -> String {
    format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(body)))
}
