//! A real Redis behind a real Webdis.

use std::env;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use portcullis_e2e::{repository, until};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// Where the programs are.
struct Programs {
    redis: PathBuf,
    webdis: PathBuf,
}

/// A Redis and its Webdis. Both end with it.
pub(crate) struct Redis {
    programs: Programs,
    folder: TempDir,
    port: u16,
    webdis_at: SocketAddr,
    server: Option<Child>,
    _webdis: Child,
}

impl Programs {
    /// Those that variables name, or those on `PATH`.
    fn find() -> Option<Self> {
        let named = |variable: &str, name: &str| {
            let named = env::var_os(variable).map(|file| repository().join(file));
            let path = env::var_os("PATH").unwrap_or_default();
            named.filter(|file| file.is_file()).or_else(|| {
                env::split_paths(&path)
                    .map(|folder| folder.join(name))
                    .find(|file| file.is_file())
            })
        };
        Some(Self {
            redis: named("PORTCULLIS_REDIS", "redis-server")?,
            webdis: named("PORTCULLIS_WEBDIS", "webdis")?,
        })
    }
}

fn program(file: &PathBuf) -> Command {
    let mut command = Command::new(file);
    if let Some(libraries) = env::var_os("PORTCULLIS_REDIS_LIBRARIES") {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    command.kill_on_drop(true);
    command.stdout(std::process::Stdio::null());
    command.stderr(std::process::Stdio::null());
    command
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

impl Redis {
    /// Starts both. `None` where this machine has none, which is said aloud.
    pub(crate) async fn start() -> Result<Option<Self>> {
        let Some(programs) = Programs::find() else {
            // Not by a macro: what those write is shown of failed tests only.
            writeln!(
                io::stderr(),
                "a test with Redis did not run: there is no redis-server and webdis; on Debian `apt-get install redis-server webdis` brings them"
            )?;
            return Ok(None);
        };
        let folder = TempDir::new()?;
        let (port, http) = (free_port()?, free_port()?);
        let file = folder.path().join("webdis.json");
        let config = json!({
            "redis_host": "127.0.0.1", "redis_port": port, "http_host": "127.0.0.1", "http_port": http, "threads": 2, "pool_size": 4,
            "daemonize": false, "websockets": false, "database": 0,
            "acl": [{ "disabled": ["*"] }, { "enabled": ["EVAL", "EVALSHA"] }], "verbosity": 0,
            "logfile": folder.path().join("webdis.log"),
        });
        std::fs::write(&file, config.to_string())?;
        let webdis = program(&programs.webdis).arg(&file).spawn()?;
        let mut redis = Self {
            programs,
            folder,
            port,
            webdis_at: SocketAddr::from(([127, 0, 0, 1], http)),
            server: None,
            _webdis: webdis,
        };
        redis.start_again().await?;
        let at = redis.webdis_at;
        let client = reqwest::Client::builder().no_proxy().build()?;
        until("Webdis answers", async || {
            let asked = client
                .post(format!("http://{at}/"))
                .body("EVAL/return%201/0");
            let answer = asked.send().await;
            Ok(answer.is_ok_and(|answer| answer.status() == 200))
        })
        .await?;
        Ok(Some(redis))
    }

    /// Where Webdis listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.webdis_at
    }

    /// Ends the server, at once.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        if let Some(mut server) = self.server.take() {
            server.kill().await?;
        }
        Ok(())
    }

    /// Starts a server that knows nothing.
    pub(crate) async fn start_again(&mut self) -> Result<()> {
        let mut command = program(&self.programs.redis);
        command.args([
            "--port",
            &self.port.to_string(),
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        command.arg("--dir").arg(self.folder.path());
        self.server = Some(command.spawn()?);
        let this = &*self;
        until("Redis answers", async || {
            Ok(this
                .command(&["PING"])
                .await
                .is_ok_and(|answer| answer.starts_with("+PONG")))
        })
        .await
    }

    /// Has the server stand still, or go on.
    pub(crate) async fn signal(&self, signal: &str) -> Result<()> {
        let server = self.server.as_ref().and_then(Child::id);
        let server = server.context("there is no server")?;
        Command::new("kill")
            .args([signal, &server.to_string()])
            .status()
            .await?;
        Ok(())
    }

    /// What the server answers to a command.
    pub(crate) async fn command(&self, words: &[&str]) -> Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let mut sent = format!("*{}\r\n", words.len());
        for word in words {
            sent.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        stream.write_all(sent.as_bytes()).await?;
        let mut answer = vec![0; 4_096];
        let reading = tokio::time::timeout(Duration::from_secs(2), stream.read(&mut answer));
        let length = reading.await??;
        answer.truncate(length);
        Ok(String::from_utf8(answer)?)
    }
}
